"""Some lines to read, and to copy."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Static

from tui import keys
from tui.copying import copy
from tui.widgets.reading import Reading


class TextScreen(ModalScreen[None]):
    """A title and a text that scrolls."""

    CSS_PATH = "../styles/dialogs.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [act.binding() for act in keys.TEXT]

    def __init__(self, title: str, text: str) -> None:
        super().__init__()
        self._title = title
        self._text = text

    def compose(self) -> ComposeResult:
        """The text."""
        with Vertical(classes="dialog large"):
            yield Static(self._title, classes="title", markup=False)
            with Reading(classes="text"):
                yield Static(self._text, markup=False)
            yield Static(
                f"{keys.COPY.sign} copies, {keys.CLOSE.sign} closes",
                classes="consequence",
                markup=False,
            )

    def on_mount(self) -> None:
        """Arrow keys scroll."""
        self.query_one(Reading).focus()

    def action_copy(self) -> None:
        """Through the terminal's own clipboard (OSC 52)."""
        copy(self.app, self._text)

    def action_close(self) -> None:
        """Go on."""
        self.dismiss(None)
