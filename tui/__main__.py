"""Starting the terminal face: the one module of it that knows `runtime`.

Textual is imported inside `run`, so that whoever only looks at this module pays nothing for it.
"""

from __future__ import annotations

import contextlib
import gc
import logging
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from broker import giveback
from broker.clock import SystemClock
from broker.errors import UsageError

if TYPE_CHECKING:
    from textual.driver import Driver

    from broker.model import MachineSpec
    from broker.service.port import ConsoleInfo, Service

GIVE_WAY_SECONDS = 0.0005
"""How long a thread that reads or writes the store keeps the interpreter when there is something to
paint; with Python's own 5 ms, a few of them took longer in turn than a frame may."""
COLLECT_AFTER = 10_000
"""New objects after which garbage is looked for: a picture makes some thousands that stay for a
while, and many rows come at once."""
FIRST_ROWS = 128
"""As many rows are painted first, more than a screen shows: each one has to be waited for."""
EARLY_ROWS = 2000
"""As many are read when these stand there; the others come with the service, a moment later."""


class TuiOptions(NamedTuple):
    """How the app is started.

    Attributes:
        log_path: Where the log goes; None for none.
        log_filter: Takes secrets out of log records.
        verbose: 1 and more log what a developer follows.
        demo: Gives the demo guest, offered as the image `demo` when a VM is made.
        start_demo: Define the demo guest when there is none, and start it.
        readonly: Nothing may be changed, and viewers may look only.
        keys: Other keys, by id.
        theme: `dark`, `light`, `contrast`, `ansi` or `ansi-light`.
        glyphs: `auto`, `unicode` or `ascii`.
        columns: Titles of the columns of the list; None shows all there is room for.
        warnings: What was odd about the person's files.
    """

    log_path: Path | None = None
    log_filter: logging.Filter | None = None
    verbose: int = 0
    demo: Callable[[], MachineSpec | None] = lambda: None
    start_demo: bool = False
    readonly: bool = False
    keys: Mapping[str, str] = MappingProxyType({})
    theme: str = "dark"
    glyphs: str = "auto"
    columns: tuple[str, ...] | None = None
    warnings: tuple[str, ...] = ()


def run(options: TuiOptions) -> int:
    """Run the app on this terminal until the person quits; the exit code.

    Raises:
        UsageError: There is no terminal to draw on.
    """
    _check_terminal()
    _draw_on_stdout()
    gc.disable()  # most of what is made from here on stays; looking through it again is waste
    sys.setswitchinterval(GIVE_WAY_SECONDS)
    os.environ.setdefault("ESCDELAY", "25")  # milliseconds that a lone Esc is waited for
    if in_a_browser():
        return _run(options, lambda: None)
    from tui import probe

    with giveback.kept(0), contextlib.ExitStack() as quiet:
        drawn_on = (sys.__stderr__ or sys.stderr).fileno()
        asked = quiet.enter_context(probe.asking(screen=drawn_on))

        def driver() -> type[Driver]:
            answers = asked.answers()
            quiet.close()
            from tui.driver import driver_for

            return driver_for(answers)

        return _run(options, driver)


def _run(options: TuiOptions, driver: Callable[[], type[Driver] | None]) -> int:
    from broker import runtime
    from tui import glyphs, logfile

    logfile.configure(options.log_path, verbose=options.verbose, clean=options.log_filter)
    initial = runtime.quick_list(FIRST_ROWS)
    from tui import keymap

    odd = [f"keys.yaml: {problem}" for problem in keymap.remap(options.keys)]
    from tui.app import BrokerApp

    app = BrokerApp(
        _open_service,
        initial=initial,
        more=_more if initial is not None and len(initial) == FIRST_ROWS else None,
        now=SystemClock().now,
        preload=_preload,
        glyphs=glyphs.chosen(options.glyphs),
        demo=options.demo,
        start_demo=options.start_demo,
        log_path=options.log_path,
        obey_signals=True,
        readonly=options.readonly,
        theme=f"broker-{options.theme}",
        columns=options.columns,
        warnings=(*options.warnings, *odd),
        driver_class=driver(),
    )
    app.run()
    if app.farewell:
        sys.stderr.write(f"broker: {app.farewell}\n")
    return app.return_code or 0


def _more() -> tuple[Sequence[ConsoleInfo], bool] | None:
    from broker import runtime

    early = runtime.quick_list(EARLY_ROWS)
    return None if early is None else (early, len(early) == EARLY_ROWS)


def serve_browsers(port: int, arguments: tuple[str, ...], say: Callable[[str], None]) -> None:
    """Serve the interface to browsers of this host until told to end.

    Args:
        port: On the loopback; 0 takes a free one.
        arguments: Of `broker tui`, for each tab's app.
        say: Told the address to open.

    Raises:
        UsageError: textual-serve is not installed, or the port cannot be used.
    """
    try:
        from tui import web
    except ModuleNotFoundError as exc:
        raise UsageError(
            "To serve browsers, broker needs textual-serve, which is not installed",
            fix="Install it: pip install 'console-broker[web]'",
        ) from exc
    try:
        web.serve(port, arguments, say)
    except (OSError, OverflowError) as exc:
        raise UsageError(
            f"Port {port} of the loopback cannot be used ({exc})",
            fix="Leave the port out, and a free one is taken",
        ) from exc


def _open_service() -> AbstractAsyncContextManager[Service]:
    from broker import runtime

    return runtime.open_service()


def _preload() -> None:
    """The heavy imports, after the first paint and in a thread."""
    import broker.runtime.wiring  # noqa: F401 - imported for what it brings along

    mind_garbage()


def mind_garbage() -> None:
    """Look for garbage from now on, and not in what is there."""
    gc.freeze()
    gc.set_threshold(COLLECT_AFTER)
    gc.enable()


def in_a_browser() -> bool:
    """Whether a browser is the terminal; see `web`."""
    return os.environ.get("TEXTUAL_DRIVER", "").endswith(":WebDriver")


def _check_terminal() -> None:
    if in_a_browser():
        return
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise UsageError(
            "The terminal interface needs a terminal",
            fix="In a script use the commands: broker list, broker export-vv, broker --help",
        )
    if os.environ.get("TERM", "dumb") in ("", "dumb"):
        raise UsageError(
            "This terminal says that it cannot draw (TERM is dumb or not set)",
            fix="Set TERM, for example TERM=xterm-256color, or use the commands: broker --help",
        )


def _draw_on_stdout() -> None:
    """Textual draws on stderr; where that goes to a file (`2>errors`), draw where it is seen."""
    if not sys.stderr.isatty() and sys.stdout.isatty():
        sys.__stderr__ = os.fdopen(os.dup(1), "w", encoding="utf-8")  # type: ignore[misc] # Textual's


if __name__ == "__main__":
    sys.exit(run(TuiOptions()))
