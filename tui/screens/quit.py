"""Leaving while people are connected through the proxy that this app hosts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.screen import ModalScreen
from textual.widgets import Button, Static

from broker import human
from broker.human import counted
from broker.model import Session
from tui.life import Leave
from tui.people import person

_SHOWN = 6


class QuitScreen(ModalScreen[Leave]):
    """Keep them, end them, or stay. Dismissed with None when the person stays."""

    CSS_PATH = "../styles/dialogs.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("k", "leave('keep')", "Keep", id="quit.keep"),
        Binding("e", "leave('end')", "End", id="quit.end"),
        Binding("escape,q", "stay", "Stay", id="quit.stay"),
        Binding("left", "app.focus_previous", show=False, id="quit.left"),
        Binding("right", "app.focus_next", show=False, id="quit.right"),
    ]

    def __init__(self, sessions: Sequence[Session]) -> None:
        super().__init__()
        self._sessions = sessions

    def compose(self) -> ComposeResult:
        """Who is connected, and three buttons."""
        lines = [
            f"{human.one_line(session.console)}  {person(session)}"
            for session in self._sessions[:_SHOWN]
        ]
        if len(self._sessions) > _SHOWN:
            lines.append(f"and {len(self._sessions) - _SHOWN} more")
        with Vertical(classes="dialog"):
            running = counted(len(self._sessions), "session")
            yield Static(f"Quit with {running} running?", classes="title", markup=False)
            yield Static("\n".join(lines), classes="names", markup=False)
            yield Static(
                "Kept sessions go on until their viewers close, and the proxy with them.",
                classes="consequence",
            )
            with Horizontal(classes="buttons"):
                yield Button("Keep them  k", id="keep", variant="primary", compact=True)
                yield Button("End them  e", id="end", variant="error", compact=True)
                yield Button("Stay  Esc", id="stay", compact=True)

    def on_mount(self) -> None:
        """The answer that loses nothing first."""
        self.set_focus(self.query_one("#keep", Button))

    @on(Button.Pressed, "#keep")
    def _keep(self) -> None:
        self.dismiss(Leave.KEEP)

    @on(Button.Pressed, "#end")
    def _end(self) -> None:
        self.dismiss(Leave.END)

    @on(Button.Pressed, "#stay")
    def action_stay(self) -> None:
        """Do not quit."""
        self.dismiss(None)

    def action_leave(self, how: str) -> None:
        """Answer by key."""
        self.dismiss(Leave(how))
