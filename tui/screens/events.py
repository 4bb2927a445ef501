"""What happened, newest at the end; the cursor follows it while it is on the last line."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import VerticalScroll
from textual.widgets import Static

from broker import human
from broker.events import Event
from broker.human import counted
from broker.service.port import Service
from broker.typed_path import expanded, is_missing
from tui import audit, keys, vvfile
from tui.rows import Column, event_columns, moment
from tui.screens.ask_line import AskLineScreen
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

    def compose_page(self) -> ComposeResult:
        """The list, and the selected event whole under it."""
        yield from super().compose_page()
        with VerticalScroll(id="advice", can_focus=False):
            yield Static("", markup=False)

    def changed(self) -> None:
        """Say the selected event whole: the list has no room for that."""
        event = self.selected
        self.query_one("#advice Static", Static).update(whole(event) if event is not None else "")

    def columns(self) -> Sequence[Column[Event]]:
        """When, what, where."""
        return event_columns(self.host.glyphs)

    def read(self, snapshot: Snapshot) -> Sequence[tuple[int, Event]]:
        """The newest events, oldest first."""
        return [(event.id, event) for event in snapshot.events]

    def action_follow(self) -> None:
        """To the newest line, which is followed from there."""
        self.table.action_edge(1)
        self.notify("Following: the cursor stays on the newest line")

    def action_export(self) -> None:
        """Write what is listed now; more may come while one types."""
        found, _ = self.find(self.filter.text)
        events = [self.rows[key] for key in found]

        def answered(path: str | None) -> None:
            if path is not None:
                place = expanded(path).absolute()

                async def write(_: Service) -> None:
                    await asyncio.to_thread(audit.write, place, events)

                self.host.ask(
                    f"Writing {place.name}",
                    write,
                    lambda _: self.app.notify(
                        f"{counted(len(events), 'event')}", title=f"Wrote {place}", markup=False
                    ),
                )

        title = f"Write {counted(len(events), 'event')} to a file"
        hint = "An ending of .json makes it JSON, any other CSV."
        self.app.push_screen(AskLineScreen(title, "audit.csv", hint, _wrong), answered)

    def dimmed(self, act: keys.Act) -> bool:
        """Enter needs an event that is about a machine."""
        return act is keys.EVENT_CONSOLE and self.machine() is None


def whole(event: Event) -> Text:
    """All that is known of an event."""
    text = Text(f"{human.one_line(event.text)}\n{moment(event.at)}  ")
    text.append(event.kind.value, "bold")
    where = (
        (event.key and f"{event.source}/{event.console}", ""),
        (event.client, "from "),
        (event.label, "for "),
        (event.channel, "channel "),
        (event.reason, ""),
    )
    for value, lead in where:
        if value:
            text.append(f"  {lead}{human.one_line(value)}", "dim")
    return text


def _wrong(path: str) -> str:
    if wrong := vvfile.problem_with(path):
        return wrong
    return "" if is_missing(expanded(path)) else f"{path} exists"
