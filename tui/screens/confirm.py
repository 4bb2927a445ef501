"""Asking before something that cannot be taken back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.screen import ModalScreen
from textual.widgets import Button, Static


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked.

    Attributes:
        names: The things it would be done to, a line each.
        consequence: What happens then.
        verb: The button that does it.
    """

    title: str
    names: tuple[str, ...]
    consequence: str
    verb: str


class ConfirmScreen(ModalScreen[bool]):
    """Yes or no; the safe answer has the focus. `y` acts, escape does not.

    It holds text only: whoever asks keeps the ids, so that a list that moves meanwhile changes
    nothing about what is done.
    """

    CSS_PATH = "../styles/dialogs.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y", "answer(True)", "Yes", id="confirm.yes"),
        Binding("escape,n", "answer(False)", "No", id="confirm.no"),
        Binding("left,right,h,l", "app.focus_next", show=False, id="confirm.other"),
    ]

    def __init__(self, question: Question) -> None:
        super().__init__()
        self._question = question

    def compose(self) -> ComposeResult:
        """The names, what happens, two buttons."""
        question = self._question
        with Vertical(classes="dialog"):
            yield Static(question.title, classes="title", markup=False)
            yield Static("\n".join(question.names), classes="names", markup=False)
            yield Static(question.consequence, classes="consequence", markup=False)
            with Horizontal(classes="buttons"):
                yield Button("No  Esc", id="no", compact=True)
                yield Button(f"{question.verb}  y", id="yes", variant="error", compact=True)

    def on_mount(self) -> None:
        """The safe answer first."""
        self.set_focus(self.query_one("#no", Button))

    @on(Button.Pressed, "#yes")
    def _yes(self) -> None:
        self.dismiss(True)

    @on(Button.Pressed, "#no")
    def _no(self) -> None:
        self.dismiss(False)

    def action_answer(self, yes: bool) -> None:
        """Answer by key."""
        self.dismiss(yes)
