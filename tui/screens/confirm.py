"""Asking before something that cannot be taken back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.screen import ModalScreen
from textual.widgets import Button, Input, Static

from tui.widgets.field import Field


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked.

    Attributes:
        names: The things it would be done to, a line each.
        consequence: What happens then.
        verb: The button that does it.
        type_first: What must be typed before it does; empty when a key will do.
    """

    title: str
    names: tuple[str, ...]
    consequence: str
    verb: str
    type_first: str = ""


class ConfirmScreen(ModalScreen[bool]):
    """Yes or no; the safe answer has the focus. `y` acts, escape does not.

    It holds text only: whoever asks keeps the ids, so that a list that moves meanwhile changes
    nothing about what is done.
    """

    CSS_PATH = "../styles/dialogs.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y", "answer(True)", "Yes", id="confirm.yes"),
        Binding("escape,n,q", "answer(False)", "No", id="confirm.no"),
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
            if question.names:
                yield Static("\n".join(question.names), classes="names", markup=False)
            yield Static(question.consequence, classes="consequence", markup=False)
            if question.type_first:
                yield Field(placeholder=f"type {question.type_first}, then Enter", id="typed")
            with Horizontal(classes="buttons"):
                yield Button("No  Esc", id="no", compact=True)
                key = "⏎" if question.type_first else "y"
                yield Button(f"{question.verb}  {key}", id="yes", variant="error", compact=True)

    def on_mount(self) -> None:
        """The safe answer first."""
        if self._question.type_first:
            self.set_focus(self.query_one(Field))
        else:
            self.set_focus(self.query_one("#no", Button))

    @on(Input.Submitted)
    @on(Button.Pressed, "#yes")
    def _yes(self) -> None:
        if self._is_sure():
            self.dismiss(True)

    def _is_sure(self) -> bool:
        wanted = self._question.type_first
        return not wanted or self.query_one(Field).value.strip() == wanted

    @on(Button.Pressed, "#no")
    def _no(self) -> None:
        self.dismiss(False)

    def action_answer(self, yes: bool) -> None:
        """Answer by key."""
        if not yes or self._is_sure():
            self.dismiss(yes)
