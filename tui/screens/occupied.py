"""Asking what to do when somebody is at a console already. The safe answer has the focus."""

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
from broker.model import Session
from broker.view import Way


class OccupiedScreen(ModalScreen[Way | None]):
    """Watch, take over, or neither."""

    CSS_PATH = "../styles/live.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("w", "answer('watch')", show=False),
        Binding("t", "answer('take-over')", show=False),
        Binding("escape,n,q", "answer('')", show=False),
        Binding("left,h", "app.focus_previous", show=False),
        Binding("right,l", "app.focus_next", show=False),
    ]

    def __init__(self, name: str, there: Sequence[Session], *, can_watch: bool) -> None:
        super().__init__()
        self._machine = human.one_line(name)
        self._there = there
        self._can_watch = can_watch

    def compose(self) -> ComposeResult:
        """Who is there, and what can be done."""
        who = "\n".join(human.one_line(f"{one.label}  {one.client}") for one in self._there)
        with Vertical(classes="dialog"):
            yield Static(f"{self._machine} is in use", classes="title", markup=False)
            yield Static(who, classes="names", markup=False)
            yield Static(
                "Watching disturbs nobody. Taking over ends their session."
                if self._can_watch
                else "It serves one viewer at a time. Taking over ends their session.",
                classes="consequence",
                markup=False,
            )
            with Horizontal(classes="buttons"):
                yield Button("Cancel  Esc", id="no", compact=True)
                if self._can_watch:
                    yield Button("Watch  w", id="watch", variant="primary", compact=True)
                yield Button("Take over  t", id="take-over", variant="error", compact=True)

    def on_mount(self) -> None:
        """What harms nobody first."""
        self.set_focus(self.query_one("#watch" if self._can_watch else "#no", Button))

    @on(Button.Pressed)
    def _pressed(self, event: Button.Pressed) -> None:
        self.action_answer({"no": ""}.get(event.button.id or "", event.button.id or ""))

    def action_answer(self, way: str) -> None:
        """Close, with the way that was chosen."""
        if way == Way.WATCH and not self._can_watch:
            return
        self.dismiss(Way(way) if way else None)
