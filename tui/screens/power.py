"""What can be done to one VM's power: a menu of letters that names the VM."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from broker import human
from broker.service.port import ConsoleInfo
from tui import keys
from tui.allowed import why_not
from tui.glyphs import Glyphs
from tui.rows import state_cell

_VERBS = {
    "start": keys.POWER_START,
    "stop": keys.STOP,
    "reboot": keys.REBOOT,
    "pause": keys.PAUSE,
    "resume": keys.RESUME,
    "reset": keys.RESET,
    "kill": keys.KILL,
    "delete": keys.DELETE,
}


_OF_HYPERVISORS = frozenset({"reboot"})
"""Left out where all are VMs of this host, which know no such verb."""


class PowerScreen(ModalScreen[str]):
    """Dismissed with the verb, or None. What cannot be done now says why."""

    CSS_PATH = "../styles/dialogs.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [act.binding() for act in keys.POWER_MENU]

    def __init__(self, infos: Sequence[ConsoleInfo], glyphs: Glyphs) -> None:
        super().__init__()
        self._infos = infos
        self._glyphs = glyphs

    def compose(self) -> ComposeResult:
        """A line per verb."""
        with Vertical(classes="dialog"):
            yield Static(self._title(), classes="title", markup=False)
            yield OptionList(
                *(
                    Option(
                        f"{act.sign}  {act.label:<10} {self._says(verb, act)}",
                        id=verb,
                        disabled=all(why_not(verb, info) for info in self._infos),
                    )
                    for verb, act in self._verbs()
                ),
                compact=True,
                markup=False,
            )
            yield Static(f"{keys.CLOSE.sign} closes", classes="consequence", markup=False)

    def _verbs(self) -> Iterable[tuple[str, keys.Act]]:
        foreign = any(info.abilities for info in self._infos)
        return (each for each in _VERBS.items() if foreign or each[0] not in _OF_HYPERVISORS)

    def _title(self) -> str:
        if len(self._infos) > 1:
            return f"Power: {len(self._infos)} machines"
        info = self._infos[0]
        name = human.one_line(info.machine.name)
        return f"Power: {name}   {state_cell(info, self._glyphs).text}"

    def _says(self, verb: str, act: keys.Act) -> str:
        """Why not, what it does, or for how many it can be done."""
        if len(self._infos) == 1:
            return why_not(verb, self._infos[0]) or act.help
        able = sum(not why_not(verb, info) for info in self._infos)
        return (
            f"{able} of {len(self._infos)}: {act.help}" if able else f"none of {len(self._infos)}"
        )

    @on(OptionList.OptionSelected)
    def _selected(self, event: OptionList.OptionSelected) -> None:
        self.dismiss(event.option_id)

    def action_choose(self, verb: str) -> None:
        """Answer by letter; a verb that cannot be done is answered too, and explained outside."""
        self.dismiss(verb)

    def action_close(self) -> None:
        """Do nothing."""
        self.dismiss(None)
