"""One line to fill in: a name, a path, a number."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Input, Static

from tui.widgets.field import Field


class AskLineScreen(ModalScreen[str]):
    """Dismissed with what was typed, or None.

    Args:
        wrong: Says what is wrong with a text; empty when nothing is.
    """

    CSS_PATH = "../styles/dialogs.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "close", "Close", id="line.close")]

    def __init__(self, title: str, value: str, hint: str, wrong: Callable[[str], str]) -> None:
        super().__init__()
        self._title = title
        self._value = value
        self._hint = hint
        self._wrong = wrong

    def compose(self) -> ComposeResult:
        """A line."""
        with Vertical(classes="dialog"):
            yield Static(self._title, classes="title", markup=False)
            yield Field(self._value)
            yield Static("", classes="wrong", markup=False)
            yield Static(f"{self._hint} Enter does it, Esc closes.", classes="consequence")

    @on(Input.Submitted)
    def _typed(self, event: Input.Submitted) -> None:
        problem = self._wrong(event.value.strip())
        self.query_one(".wrong", Static).update(problem)
        if not problem:
            self.dismiss(event.value.strip())

    def action_close(self) -> None:
        """Do nothing."""
        self.dismiss(None)
