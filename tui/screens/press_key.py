"""Asking for a key by having it pressed, so that it is one that this terminal can send."""

from __future__ import annotations

from typing import ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Static

from tui import keymap
from tui.act import Act, display


class PressKeyScreen(ModalScreen[str]):
    """Dismissed with a key that does nothing else there, or None."""

    CSS_PATH = "../styles/dialogs.tcss"
    BINDINGS: ClassVar[list[BindingType]] = []

    def __init__(self, act: Act) -> None:
        super().__init__()
        self._act = act

    def compose(self) -> ComposeResult:
        """What for, and what came of the last one."""
        with Vertical(classes="dialog"):
            yield Static(f"Press the key for: {self._act.label}", classes="title", markup=False)
            yield Static(f"{self._act.help}.", classes="names", markup=False)
            now = " ".join(self._act.keys)
            yield Static(f"Now: {now}. Esc leaves it so.", classes="consequence", markup=False)
            yield Static("", classes="wrong", markup=False)

    def on_key(self, event: events.Key) -> None:
        """Take it, unless it means something else where this can be done."""
        if not self.is_current:
            event.stop()  # pressed behind the key that answered
            return
        event.stop()
        event.prevent_default()
        if event.key == "escape":
            self.dismiss(None)
            return
        taken = keymap.taken_by(self._act.id, event.key)
        if not taken:
            self.dismiss(event.key)
            return
        name, other = taken[0]
        self.query_one(".wrong", Static).update(
            f"{display(event.key)} is {other.label} ({other.id}) on {name}. Press another one, "
            "or give that one another key first."
        )
