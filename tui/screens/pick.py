"""One of a few things, from a list: a letterless menu for what differs from host to host."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from broker import human


class PickScreen(ModalScreen[str]):
    """Dismissed with the id of what was picked, or None."""

    CSS_PATH = "../styles/dialogs.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q", "close", "Close", id="pick.close"),
        Binding("j", "move(1)", show=False, id="pick.down"),
        Binding("k", "move(-1)", show=False, id="pick.up"),
    ]

    def __init__(self, title: str, choices: Sequence[tuple[str, str]], hint: str = "") -> None:
        """Offer `choices`: ids, and the lines to show for them."""
        super().__init__()
        self._head = title
        self._choices = choices
        self._hint = hint

    def compose(self) -> ComposeResult:
        """A line per choice."""
        with Vertical(classes="dialog"):
            yield Static(self._head, classes="title", markup=False)
            options = [Option(human.one_line(line), id=id_) for id_, line in self._choices]
            yield OptionList(*options, compact=True, markup=False)
            yield Static(self._hint or "Enter picks. Esc closes.", classes="consequence")

    @on(OptionList.OptionSelected)
    def _selected(self, event: OptionList.OptionSelected) -> None:
        self.dismiss(event.option_id)

    def action_move(self, by: int) -> None:
        """Another line."""
        options = self.query_one(OptionList)
        if by > 0:
            options.action_cursor_down()
        else:
            options.action_cursor_up()

    def action_close(self) -> None:
        """Pick none."""
        self.dismiss(None)
