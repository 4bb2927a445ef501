"""What happened, newest at the end; the cursor follows it while it is on the last line."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual.binding import BindingType

from broker.events import Event
from tui import keys
from tui.rows import Column, event_columns
from tui.screens.list_page import ListPage
from tui.snapshot import Snapshot


class EventsScreen(ListPage[int, Event]):
    """The audit log's newest thousand lines."""

    NAME = "events"
    CSS_PATH = "../styles/lists.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [act.binding() for act in keys.EVENTS]
    EXAMPLE = "type to narrow: words  -word  (session.refused, a console, an address)"
    FOLLOW = True
    EMPTY = "Nothing has happened yet."

    def columns(self) -> Sequence[Column[Event]]:
        """When, what, where."""
        return event_columns(self.host.glyphs)

    def read(self, snapshot: Snapshot) -> Sequence[tuple[int, Event]]:
        """The newest events, oldest first."""
        return [(event.id, event) for event in snapshot.events]

    def dimmed(self, act: keys.Act) -> bool:
        """Enter needs an event that is about a machine."""
        return act is keys.EVENT_CONSOLE and self.machine() is None
