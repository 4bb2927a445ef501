"""The VMs of this host: what they are made of, and what can be done to them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Final

from textual import events, on, work
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import VerticalScroll
from textual.timer import Timer
from textual.widgets import Static

from broker.errors import BrokerError
from broker.model import MachineKey
from broker.provisioning import VmFacts
from broker.service.port import ConsoleInfo
from tui import keys
from tui.allowed import why_not
from tui.host import Host
from tui.machine_rows import Vm, explained, machine_columns
from tui.rows import Column
from tui.screens.list_page import ListPage
from tui.snapshot import Snapshot

AGAIN_SECONDS: Final = 2.0
"""Files of disks are looked at no more often than this, however much changes."""
_VERB: Final = {
    keys.LIVE.id: "live",
    keys.START.id: "start",
    keys.POWER.id: "power",
    keys.LOG.id: "log",
    keys.EDIT.id: "edit",
    keys.CLONE.id: "clone",
    keys.SNAPSHOTS.id: "snapshots",
}


class MachinesScreen(ListPage[MachineKey, Vm]):
    """VMs defined here or adopted, by name; the selected one explained below."""

    NAME = "machines"
    CSS_PATH = "../styles/lists.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [act.binding() for act in keys.MACHINES]
    EMPTY = (
        "No VMs of this host yet.\n\n  {:<3} make one\n  {:<3} the consoles: other ways to begin"
    )
    EMPTY_NAMES = (keys.NEW, keys.GO_CONSOLES)

    def __init__(self, host: Host) -> None:
        super().__init__(host)
        self._facts: dict[MachineKey, VmFacts] = {}
        self._looking = False
        self._soon: Timer | None = None
        self._wanted: MachineKey | None = None

    def compose_page(self) -> ComposeResult:
        """The list, and the selected VM under it."""
        yield from super().compose_page()
        with VerticalScroll(id="advice", can_focus=False):
            yield Static("", markup=False)

    def columns(self) -> Sequence[Column[Vm]]:
        """What it is made of."""
        return machine_columns(self.host.now, self.host.glyphs)

    def read(self, snapshot: Snapshot) -> Sequence[tuple[MachineKey, Vm]]:
        """The VMs of this host."""
        return [
            (info.machine.key, Vm(info, self._facts.get(info.machine.key)))
            for info in snapshot.consoles or ()
            if info.machine.defined or info.machine.adopted
        ]

    def show(self, snapshot: Snapshot, /) -> None:
        """Show the list, and look at what the VMs are made of, now and then."""
        super().show(snapshot)
        if self._wanted is not None:
            self.select(self._wanted)
        if self._soon is None and snapshot.connected:
            self._soon = self.set_timer(AGAIN_SECONDS, self._rested)
            self.look()

    def _rested(self) -> None:
        self._soon = None

    @on(events.ScreenResume)
    def look(self) -> None:
        """Read the facts, unless that is under way."""
        if not self._looking and self.host.snapshot.connected:
            self._looking = True
            self._look()

    @work(exit_on_error=False, name="facts of VMs")
    async def _look(self) -> None:
        try:
            service = await self.host.served()
            self._facts = {facts.key: facts for facts in await service.local_vms()}
        except BrokerError as problem:  # the list itself is there all the same
            self.log(problem)
        finally:
            self._looking = False
        if self.is_attached:
            super().show(self.host.snapshot)

    def changed(self) -> None:
        """Explain the selected VM."""
        vm = self.selected
        text = explained(vm, self.host.glyphs) if vm is not None else ""
        self.query_one("#advice Static", Static).update(text)

    def machines(self) -> Sequence[ConsoleInfo]:
        """For the menu of a row."""
        return [self.rows[key].info for key in self.chosen()]

    # -- doing -------------------------------------------------------------------------------

    def dimmed(self, act: keys.Act) -> bool:
        """What cannot be done to the selected VM."""
        verb = _VERB.get(act.id)
        if verb is None:
            return act is keys.MACHINE_CONSOLE and self.selected is None
        return self.selected is None or bool(why_not(verb, self.selected.info))

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Keys with priority are letters while one types, and nothing behind a dialog."""
        return not (action in ("find", "new_vm") and self.types_or_waits())

    def action_verb(self, verb: str) -> None:
        """Do it to the selected VM, or to the marked ones where that can be."""
        held = self.chosen()
        if verb == "power":
            self.host.power_menu(held)
        elif verb == "start" and held:
            self.host.do_all(verb, held)
        elif self.table.key is not None:
            self.host.do(verb, self.table.key)

    def action_new_vm(self) -> None:
        """The form for a new one."""
        self.host.new_vm()

    def select(self, key: MachineKey) -> None:
        """Put the cursor on that one, now or when the list has it; no filter hides it then."""
        if key in self.rows and not self.table.select(key):
            self.filter.write("")
            self.refilter()
        self._wanted = None if self.table.select(key) else key
