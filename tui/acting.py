"""What screens ask the app to do to machines: now, in a moment, or not at all."""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import Callable, Hashable, Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Final, cast

from broker import human
from broker.model import Machine, MachineKey
from broker.service.info import ConsoleInfo
from tui.catalog import Catalog
from tui.crash import Crashing
from tui.life import have_running
from tui.screens.page import Page
from tui.undo import Undo

if TYPE_CHECKING:
    from tui.host import Host
    from tui.verbs import Verbs

HAD_BACK_SECONDS: Final = 1.0
"""How long after another program has ended a Ctrl-C may still be one of its."""
_CHANGING: Final = frozenset({"power", "edit", "clone"})
"""Verbs that read-only refuses, besides those of power."""


class Acting(Crashing):
    """The half of the app that acts. Machines are named by key and taken as they are by then."""

    catalog: Catalog
    readonly: bool
    _undo: Undo
    lent_until = -math.inf
    """The event loop's time until which Ctrl-C was another program's, which has the terminal."""

    @cached_property
    def _verbs(self) -> Verbs:
        from tui.verbs import Verbs

        return Verbs(self, cast("Host", self), self._undo)

    def do(self, verb: str, key: MachineKey) -> None:
        """Do a verb to a machine as it is now."""
        from tui.power import ACTS

        if (verb in _CHANGING or verb in ACTS) and not self.may_change():
            return
        for info in self._as_they_are([key]):
            self._verbs.do(verb, info)

    def do_all(self, verb: str, held: Sequence[MachineKey]) -> None:
        """Do a verb of power to machines as they are now."""
        if self.may_change():
            self._verbs.power.do(verb, self._as_they_are(held))

    def power_menu(self, held: Sequence[MachineKey]) -> None:
        """The menu of what can be done to their power."""
        if self.may_change() and (infos := self._as_they_are(held)):
            self._verbs.menu(infos)

    def new_vm(self) -> None:
        """The form for a new VM of this host."""
        if self.may_change():
            self._verbs.new_vm()

    @contextlib.contextmanager
    def suspend(self) -> Iterator[None]:
        """Lend the terminal to another program: what Ctrl-C ends meanwhile is that one alone."""
        self.lent_until = math.inf
        try:
            with super().suspend():
                yield
        finally:  # what was pressed just before may be heard of later
            self.lent_until = asyncio.get_running_loop().time() + HAD_BACK_SECONDS

    def start_demo(self) -> None:
        """Have the demo guest running, and go to it, unless the person went elsewhere meanwhile."""
        host = cast("Host", self)
        spec = host.demo
        if spec is None:
            self.notify("The demo guest did not come with this installation", severity="warning")
            return
        begun_at = self._pointed_at()

        def runs(machine: Machine) -> None:
            stayed = begun_at in (None, self._pointed_at()) and isinstance(self.screen, Page)
            if stayed and self.current_mode == "consoles":
                host.show_console(machine.key)
            else:
                self.notify("runs", title=human.one_line(machine.name), markup=False)

        host.ask(f"Starting {spec.name}", lambda service: have_running(service, spec), runs)

    def _pointed_at(self) -> MachineKey | None:
        """The console under the cursor, on the consoles' page."""
        selected = getattr(self.screen, "selected", None)
        return selected.machine.key if isinstance(selected, ConsoleInfo) else None

    def _as_they_are(self, held: Sequence[MachineKey]) -> list[ConsoleInfo]:
        numbers = (self.catalog.number(key) for key in held)
        return [self.catalog.row(number) for number in numbers if number is not None]

    def may_change(self) -> bool:
        """Whether anything may be changed; says that not when it may not."""
        if self.readonly:
            self.notify("Started with --readonly: look, do not touch", severity="warning")
        return not self.readonly

    def later(self, label: str, act: Callable[[], None], of: Hashable) -> None:
        """Do it in a few seconds, unless it is undone."""
        self._undo.later(label, act, of)

    def action_undo(self) -> None:
        """Take back what was asked for last, while it waits."""
        label = self._undo.take_back()
        if label:
            self.notify("Not done", title=label, markup=False)
        else:
            self.notify("Nothing waits to be undone", markup=False)

    def action_failures(self) -> None:
        """What failed in the last work on many machines."""
        if self._verbs.power.failures:
            from tui.screens.text import TextScreen

            self.push_screen(TextScreen("What failed", "\n\n".join(self._verbs.power.failures)))
        else:
            self.notify("Nothing has failed", markup=False)
