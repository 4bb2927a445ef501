"""Coming to a guest from the list: its screen live, its serial port, and whose place that takes."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from textual.app import App

from broker import human
from broker.errors import BrokerError
from broker.model import MachineKey, Session
from broker.service.info import ConsoleInfo
from broker.view import Way
from tui.background import begin
from tui.host import Host

if TYPE_CHECKING:
    from tui.screens.live import LiveScreen

_ENTRY: Final = "from broker.cli.main import entry; entry()"
SERIAL: Final = (sys.executable, "-c", _ENTRY, "vm", "serial")


class Looks:
    """The verbs `live` and `serial`. Screens are imported when they are first needed."""

    def __init__(self, app: App[Any], host: Host) -> None:
        self._app = app
        self._host = host
        self._left: dict[MachineKey, LiveScreen] = {}
        """Views that were left here, the last one of each machine."""

    # -- the screen

    def live(self, info: ConsoleInfo) -> None:
        """Show its screen; when somebody is there, ask first."""
        if self._host.readonly:
            self._show(info, Way.WATCH)
        elif info.sessions and not self._only_ours(info):
            self.ask(info, partial(self._show, info))
        else:
            self._show(info, Way.USE)

    def watch(self, info: ConsoleInfo) -> None:
        """Look on, which disturbs nobody."""
        self._show(info, Way.WATCH)

    def _only_ours(self, info: ConsoleInfo) -> bool:
        """Whether who is listed there is only ourselves, by a view that was left here just now.

        A machine serves one viewer, so whoever is there since before we left is we. The list is
        behind by a moment; the service has the last word, and tells when it is somebody else.
        """
        if (left := self._left.get(info.machine.key)) is None:
            return False
        at = left.closed_at
        return at is None or all(one.started_at <= at for one in self._there(info))

    def _there(self, info: ConsoleInfo) -> list[Session]:
        return [one for one in self._host.snapshot.sessions if one.key == info.machine.key]

    def _show(self, info: ConsoleInfo, way: Way) -> None:
        from tui.screens.live import LiveScreen

        key = info.machine.key
        before = self._left.pop(key, None)
        screen = LiveScreen(self._host, info, way, before.closed if before else None)

        def left(problem: BrokerError | None) -> None:
            if problem is None:
                if way is not Way.WATCH:
                    self._left[key] = screen
                return
            if problem.code == "occupied" and way is Way.USE:
                self.ask(info, partial(self._show, info))  # somebody came between the list and us
                return
            self._app.notify(
                "\n".join(
                    filter(None, (human.one_line(problem.what), human.one_line(problem.fix)))
                ),
                title=human.one_line(info.machine.name),
                severity="warning",
                markup=False,
            )

        self._app.push_screen(screen, left)

    def ask(self, info: ConsoleInfo, chosen: Callable[[Way], None]) -> None:
        """Say who is there, and do what is chosen: to watch, or to take over."""
        from tui.screens.occupied import OccupiedScreen

        def answered(way: Way | None) -> None:
            if way is not None:
                chosen(way)

        self._app.push_screen(
            OccupiedScreen(info.machine.name, self._there(info), can_watch=info.watchable),
            answered,
        )

    # -- the serial port

    def serial(self, info: ConsoleInfo) -> None:
        """Lend the terminal to it; where there is none to lend, show it below the list."""
        driver = self._app._driver  # whether the terminal can be lent
        if driver is None or not driver.can_suspend:
            self.serial_below(info)
        elif self._host.may_change():
            begin(self._app, partial(self._lend, info), name="serial")

    def serial_below(self, info: ConsoleInfo) -> None:
        """Show it below the list."""
        if self._host.may_change():
            from tui.screens.serial import SerialScreen

            self._app.push_screen(SerialScreen(self._host, info))

    async def _lend(self, info: ConsoleInfo) -> None:
        machine = info.machine
        words = [*SERIAL, f"{machine.key.source}/{machine.key.uuid}"]
        # Without the batch, painting fills the queue of a writer that has stopped, for good; the
        # bridge is a process of its own, so that here everything goes on meanwhile.
        with self._app.batch_update(), self._app.suspend():
            code = await asyncio.to_thread(_run, words)
        self._app.refresh()
        if code:
            from shlex import quote

            by_hand = f"broker vm serial {quote(machine.name)}"
            self._app.notify(
                f"The serial bridge ended with {code}; in a shell: {by_hand}",
                title=human.one_line(machine.name),
                severity="warning",
                markup=False,
            )


def _run(words: list[str]) -> int:
    try:
        return subprocess.run(words, check=False).returncode  # noqa: S603 - our own command
    except OSError:
        return -1
