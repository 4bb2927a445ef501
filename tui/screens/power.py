"""What can be done to one VM's power: a menu of letters that names the VM."""

from __future__ import annotations

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
    "pause": keys.PAUSE,
    "resume": keys.RESUME,
    "reset": keys.RESET,
    "kill": keys.KILL,
    "delete": keys.DELETE,
}


class PowerScreen(ModalScreen[str]):
    """Dismissed with the verb, or None. What cannot be done now says why."""

    CSS_PATH = "../styles/dialogs.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [act.binding() for act in keys.POWER_MENU]

    def __init__(self, info: ConsoleInfo, glyphs: Glyphs) -> None:
        super().__init__()
        self._info = info
        self._glyphs = glyphs

    def compose(self) -> ComposeResult:
        """A line per verb."""
        name = human.one_line(self._info.machine.name)
        with Vertical(classes="dialog"):
            title = f"Power: {name}   {state_cell(self._info, self._glyphs).text}"
            yield Static(title, classes="title", markup=False)
            yield OptionList(
                *(
                    Option(
                        f"{act.keys[0]}  {act.label:<10} {why_not(verb, self._info) or act.help}",
                        id=verb,
                        disabled=bool(why_not(verb, self._info)),
                    )
                    for verb, act in _VERBS.items()
                ),
                compact=True,
                markup=False,
            )
            yield Static("Esc closes", classes="consequence")

    @on(OptionList.OptionSelected)
    def _selected(self, event: OptionList.OptionSelected) -> None:
        self.dismiss(event.option_id)

    def action_choose(self, verb: str) -> None:
        """Answer by letter; a verb that cannot be done is answered too, and explained outside."""
        self.dismiss(verb)

    def action_close(self) -> None:
        """Do nothing."""
        self.dismiss(None)
