"""What can be done to a row, and why not the rest: behind the right button, and behind a key."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, NamedTuple

from textual import events, on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from tui.act import Act


class Item(NamedTuple):
    """A line of the menu.

    Attributes:
        says: What it does, or why it cannot be done.
        off: It cannot be done.
    """

    act: Act
    says: str
    off: bool


class MenuScreen(ModalScreen[Act]):
    """Dismissed with what to do, or None. Letters are the usual keys where they are free."""

    CSS_PATH = "../styles/dialogs.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,q", "close", "Close", id="menu.close")]

    def __init__(self, title: str, items: Sequence[Item]) -> None:
        super().__init__()
        self._title = title
        self._items = dict(zip(letters_for([item.act for item in items]), items, strict=True))
        self._over = False

    def compose(self) -> ComposeResult:
        """A line per act."""
        with Vertical(classes="dialog large"):
            yield Static(self._title, classes="title", markup=False)
            yield OptionList(
                *(
                    Option(f"{letter}  {item.act.label:<13} {item.says}", disabled=item.off)
                    for letter, item in self._items.items()
                ),
                compact=True,
                markup=False,
            )
            yield Static("Esc closes", classes="consequence")

    def on_key(self, event: events.Key) -> None:
        """An act's letter; of one that cannot be done the line says why, so it stays open."""
        if (item := self._items.get(event.character or "")) is not None:
            event.stop()
            if not item.off:
                self._choose(item)

    @on(OptionList.OptionSelected)
    def _selected(self, event: OptionList.OptionSelected) -> None:
        self._choose(list(self._items.values())[event.option_index])

    def _choose(self, item: Item) -> None:
        if not self._over:  # typed twice, it is done once
            self._over = True
            self.dismiss(item.act)

    @on(events.Click)
    def _beside(self, event: events.Click) -> None:
        if event.widget is self:
            self.action_close()

    def action_close(self) -> None:
        """Do nothing."""
        if not self._over:
            self._over = True
            self.dismiss(None)


def letters_for(acts: Sequence[Act]) -> list[str]:
    """A letter for each, its own key before any other."""
    taken: list[str] = []
    for act in acts:
        own = [key for key in act.key_now.split(",") if len(key) == 1]
        spare = "abcdefghilmnoprstuvwxyzABCDEFGHILMNOPQRSTUVWXYZ"
        taken.append(next(each for each in (*own, *act.label, *spare) if _free(each, taken)))
    return taken


def _free(letter: str, taken: Sequence[str]) -> bool:
    return letter.isalpha() and letter not in taken
