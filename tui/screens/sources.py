"""How every source does, what is wrong with it and what to do about it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import VerticalScroll
from textual.widgets import Static

from broker import human
from broker.model import Health, SourceName, SourceStatus
from tui import keys
from tui.rows import Column, counted, source_columns
from tui.screens.list_page import ListPage
from tui.snapshot import Snapshot
from tui.widgets.table import VirtualTable


class SourcesScreen(ListPage[SourceName, SourceStatus]):
    """Sources in the order of sources.yaml, the selected one explained below."""

    NAME = "sources"
    CSS_PATH = "../styles/lists.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [act.binding() for act in keys.SOURCES]
    EMPTY = "No sources.\n\nThey come from sources.yaml. Where it is: broker config path"

    def compose_page(self) -> ComposeResult:
        """The list, and the advice under it."""
        yield from super().compose_page()
        with VerticalScroll(id="advice", can_focus=False):
            yield Static("", markup=False)

    def columns(self) -> Sequence[Column[SourceStatus]]:
        """Name, health, count."""
        return source_columns(self.host.now, self.host.glyphs)

    def read(self, snapshot: Snapshot) -> Sequence[tuple[SourceName, SourceStatus]]:
        """The configured sources."""
        return [(status.name, status) for status in snapshot.sources]

    def show(self, snapshot: Snapshot, /) -> None:
        """Begin on what needs a person."""
        first = not self.rows
        super().show(snapshot)
        failed = (status.name for status in snapshot.sources if status.health is Health.FAILED)
        if first and (name := next(failed, None)) is not None:
            self.table.select(name)

    def changed(self) -> None:
        """Explain the selected source."""
        status = self.selected
        text = Text()
        if status is not None:
            text.append(human.one_line(status.name), "bold")
            text.append(f"  {status.type}, {counted(status.machines, 'machine')} known\n")
            if status.problem:
                text.append(f"{human.one_line(status.problem)}\n")
            if status.health is Health.FAILED and status.machines:
                text.append("What was known before is kept and shown as stale.\n", "dim")
            if status.fix:
                text.append("Fix: ", "bold").append(f"{human.one_line(status.fix)}\n")
            for warning in status.warnings:
                text.append(f"{self.host.glyphs.half} {human.one_line(warning)}\n")
            if not (status.problem or status.warnings):
                text.append("Nothing is wrong with it.\n", "dim")
        self.query_one("#advice Static", Static).update(text)

    def dimmed(self, act: keys.Act) -> bool:
        """Enter needs a source."""
        return act is keys.SOURCE_CONSOLES and self.selected is None

    @on(VirtualTable.Chosen)
    def action_consoles(self) -> None:
        """Show only its consoles."""
        if self.selected is not None:
            self.host.show_filtered(f"source:{self.selected.name}")
