"""`broker tui`, which is also what `broker` alone does on a terminal."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from broker.cli.diagnostics import Exit
from broker.cli.verb import Verb
from broker.errors import ConfigError, StoreError

if TYPE_CHECKING:
    from argparse import Namespace

    from broker.cli.args import Parser
    from broker.cli.call import Call
    from broker.model import MachineSpec


def _arguments(parser: Parser) -> None:
    parser.add_argument(
        "--demo", action="store_true", help="have the demo guest that comes with broker running"
    )
    parser.add_argument(
        "--readonly",
        action="store_true",
        help="change nothing: no power, no definitions, nobody disconnected; viewers may look only",
    )
    parser.add_argument(
        "--web",
        type=int,
        nargs="?",
        const=0,
        metavar="PORT",
        help="serve it to browsers of this host; the address it prints has the token in it",
    )


def _run(call: Call, args: Namespace) -> Exit:
    if args.web is not None:
        return _serve(call, args)
    from broker import logs
    from broker.config.keys_file import read_keys
    from broker.config.load import load_settings
    from broker.config.locations import Locations
    from broker.config.settings import TuiSettings
    from tui.__main__ import TuiOptions, run

    locations = Locations.from_env()
    warnings: list[str] = []
    keys: dict[str, str] = {}
    looks = TuiSettings()
    try:
        keys = read_keys(locations.keys_yaml)
        loaded = load_settings(locations)
        looks = loaded.settings.tui
        warnings += loaded.warnings
    except ConfigError as problem:  # the interface says so, and everything else about it, itself
        warnings.append(str(problem))
    code = run(
        TuiOptions(
            log_path=locations.logs_dir / "tui.log",
            log_filter=logs.Redaction(),
            verbose=call.verbose,
            demo=_demo_now() if args.demo else _demo_if_any,
            start_demo=args.demo,
            readonly=args.readonly,
            keys=keys,
            theme=looks.theme,
            glyphs=looks.glyphs,
            columns=looks.columns,
            warnings=tuple(warnings),
        )
    )
    return Exit.DONE if code == 0 else Exit.FAILED


def _serve(call: Call, args: Namespace) -> Exit:
    from tui.__main__ import serve_browsers

    given = {"--demo": args.demo, "--readonly": args.readonly}
    tabs = [word for word, is_given in given.items() if is_given]
    louder = ["-v"] * call.verbose
    serve_browsers(args.web, (*tabs, *louder), call.out.text)
    return Exit.DONE


def _demo_now() -> Callable[[], MachineSpec]:
    """The demo guest, seen to before the interface begins.

    Raises:
        StoreError: Its image cannot be written.
    """
    from broker.cli.demo_guest import demo_spec

    spec = demo_spec()
    return lambda: spec


def _demo_if_any() -> MachineSpec | None:
    """The demo guest; without it there is one image less to offer."""
    from broker.cli.demo_guest import demo_spec

    try:
        return demo_spec()
    except StoreError:
        return None


TUI = Verb(
    _arguments,
    _run,
    "Its keys are explained by ? in it.",
    unasked={"demo": False, "readonly": False, "web": None},
)
