"""What the forms have alike: how one moves from field to field."""

from __future__ import annotations

from typing import TypeVar

from textual.screen import ModalScreen
from textual.widgets import Button

T = TypeVar("T")


class FormScreen(ModalScreen[T]):
    """A dialog of fields, dismissed with what came of them. The keys are its own."""

    def finish(self, result: T) -> bool:
        """Close, with what lies over it; False when it was closed before."""
        if self not in self.app.screen_stack:
            return False
        while not self.is_active:
            self.app.pop_screen()
        self.dismiss(result)
        return True

    def action_step(self, by: int) -> None:
        """To another field, at once."""
        chain = self.focus_chain
        here = chain.index(self.focused) if self.focused in chain else -by
        self.set_focus(chain[(here + by) % len(chain)])

    def action_enter(self) -> None:
        """Press the button, or go to the next field."""
        if isinstance(self.focused, Button):
            self.focused.press()
        else:
            self.action_step(1)
