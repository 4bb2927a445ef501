"""Where to write a .vv file. Never over a file without a second Enter."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Final

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.screen import ModalScreen
from textual.widgets import Button, Input, Label, Static

from broker import human
from broker.typed_path import expanded
from tui import vvfile
from tui.widgets.choice import Choice
from tui.widgets.field import Field

_HERE: Final = "here"


@dataclass(frozen=True, slots=True)
class Answer:
    """What to write.

    Attributes:
        replace: The person said that the file there may go.
        elsewhere: It is meant for another machine.
    """

    path: Path
    replace: bool
    elsewhere: bool


class ExportScreen(ModalScreen[Answer]):
    """A path, and whether the viewer runs on another machine."""

    CSS_PATH = "../styles/dialogs.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "close", "Close", id="export.close"),
    ]

    def __init__(self, name: str) -> None:
        super().__init__()
        self._machine = name
        self._replace = ""

    def compose(self) -> ComposeResult:
        """The form."""
        with Vertical(classes="dialog"):
            title = f"Write a .vv file for {human.one_line(self._machine)}"
            yield Static(title, classes="title", markup=False)
            yield Field(vvfile.default_path(self._machine))
            yield Static("", classes="wrong", markup=False)
            with Horizontal(classes="field"):
                yield Label("The viewer runs ")
                yield Choice((_HERE, "on another machine"), id="where")
            yield Static(
                "It opens one session, holds a secret, and only you can read it.",
                classes="consequence",
            )
            with Horizontal(classes="buttons"):
                yield Button("Write  ⏎", id="write", variant="primary", compact=True)
                yield Button("Close  Esc", id="close", compact=True)

    @property
    def path(self) -> Path:
        """The file as typed."""
        return expanded(self.query_one(Input).value.strip())

    def _say(self, text: str) -> None:
        self.query_one(".wrong", Static).update(text)

    @on(Input.Changed)
    def _typed(self) -> None:
        self._replace = ""
        self._say("")

    @on(Input.Submitted)
    @on(Button.Pressed, "#write")
    def _write(self) -> None:
        text = self.query_one(Input).value
        wrong = vvfile.problem_with(text)
        if wrong:
            self._say(wrong)
        elif self.path.exists() and self._replace != text:
            self._replace = text
            self._say(f"{text} exists. Enter again replaces it")
        else:
            elsewhere = self.query_one(Choice).value != _HERE
            self.dismiss(Answer(self.path.absolute(), self._replace == text, elsewhere))

    @on(Button.Pressed, "#close")
    def action_close(self) -> None:
        """Write nothing."""
        self.dismiss(None)
