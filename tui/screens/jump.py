"""Jumping: a letter at every place one can go, and the letter that is typed goes there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Final

from textual import events
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.screen import ModalScreen
from textual.widgets import Static

from tui.jumping import LETTERS, Place, names_for

MOST: Final = len(LETTERS) ** 2


class JumpScreen(ModalScreen[Place]):
    """Dismissed with the place to go, or None. Places were where they are drawn when it opened."""

    CSS_PATH = "../styles/jump.tcss"
    BINDINGS: ClassVar[list[BindingType]] = []
    AUTO_FOCUS = ""
    CAN_JUMP: ClassVar[bool] = False
    """Its places are those of the screen below."""

    def __init__(self, places: Sequence[Place]) -> None:
        """Offer these; those beyond what two letters can name are left out."""
        super().__init__()
        shown = places[:MOST]
        self._places = dict(zip(names_for(len(shown)), shown, strict=True))
        self._typed = ""
        self._over = False

    def compose(self) -> ComposeResult:
        """A name over each place."""
        for name, place in self._places.items():
            label = Static(name, markup=False, classes="jump")
            label.styles.offset = place.at
            yield label

    def on_key(self, event: events.Key) -> None:
        """A letter of a name; anything else goes nowhere."""
        event.stop()
        event.prevent_default()
        if self._over:
            return  # typed ahead: it is not for whoever is under this
        self._typed += event.character or "?"
        if self._typed in self._places:
            self._leave(self._places[self._typed])
            return
        left = [name for name in self._places if name.startswith(self._typed)]
        if not left:
            self._leave(None)
        for label, name in zip(self.query(".jump"), self._places, strict=True):
            label.display = name in left

    def on_click(self) -> None:
        """Never mind."""
        if not self._over:
            self._leave(None)

    def _leave(self, place: Place | None) -> None:
        self._over = True
        self.dismiss(place)
