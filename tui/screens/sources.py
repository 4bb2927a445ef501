"""How every source does, what is wrong with it and what to do about it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Final

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import VerticalScroll
from textual.widgets import Static

from broker import human
from broker.human import counted
from broker.model import LOCAL_TYPE, Health, SourceName, SourceStatus
from tui import keys
from tui.rows import Column, source_columns
from tui.screens.list_page import ListPage
from tui.screens.source_acts import SourceActs
from tui.snapshot import Snapshot
from tui.widgets.table import VirtualTable

FILE: Final = "file"
"""The type of the row that stands for a sources.yaml which cannot be read."""
_ON_ONE: Final = (
    keys.SOURCE_CONSOLES,
    keys.SOURCE_EDIT,
    keys.SOURCE_PAUSE,
    keys.SOURCE_RETRY,
    keys.SOURCE_CHECK,
    keys.SOURCE_REMOVE,
)


class SourcesScreen(ListPage[SourceName, SourceStatus]):
    """Sources in the order of sources.yaml, the selected one explained below."""

    NAME = "sources"
    CSS_PATH = "../styles/lists.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [act.binding() for act in keys.SOURCES]
    EMPTY = "No sources.\n\n{} adds one: a console whose address you know, or a hypervisor."
    EMPTY_NAMES = (keys.SOURCE_ADD,)

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
            if status.health is Health.PAUSED:
                text.append(
                    "Paused: nobody asks it for anything. What was known is kept; "
                    f"{keys.SOURCE_PAUSE.sign} goes on.\n"
                )
            elif not (status.problem or status.warnings):
                text.append("Nothing is wrong with it.\n", "dim")
        self.query_one("#advice Static", Static).update(text)

    def dimmed(self, act: keys.Act) -> bool:
        """All but adding need a source; this host is not paused."""
        if act not in _ON_ONE:
            return False
        if self.selected is None:
            return True
        return act is keys.SOURCE_PAUSE and self.selected.type == LOCAL_TYPE

    @property
    def _acts(self) -> SourceActs:
        return SourceActs(self.app, self.host)

    def action_add_source(self) -> None:
        """A console elsewhere, or a hypervisor."""
        self._acts.add()

    def action_edit(self) -> None:
        """Its entry in sources.yaml."""
        if (status := self._chosen_one()) is not None:
            self._acts.edit(status)

    def action_pause(self) -> None:
        """Leave it alone, or go on with it."""
        ones = self._chosen_ones()
        for status in [one for one in ones if one.health is not Health.PAUSED] or ones:
            self._acts.pause(status)

    def action_retry(self) -> None:
        """Ask it now."""
        for status in self._chosen_ones():
            self._acts.retry(status.name)

    def action_check(self) -> None:
        """Look into it."""
        if (status := self._chosen_one()) is not None:
            self._acts.check(status.name)

    def action_remove(self) -> None:
        """Take it out of sources.yaml."""
        if (status := self._chosen_one()) is not None:
            self._acts.remove(status)

    def action_file(self) -> None:
        """All of sources.yaml, in the person's own editor."""
        self._acts.edit_file()

    def _chosen_ones(self) -> list[SourceStatus]:
        """The marked sources, or the selected one; never the file's own row."""
        if not self.table.marks:
            return [status] if (status := self._chosen_one()) is not None else []
        return [one for one in map(self.rows.get, self.chosen()) if one and one.type != FILE]

    def _chosen_one(self) -> SourceStatus | None:
        """The selected source, once the list shows what was typed; never the file's own row."""
        self.settle()
        if len(marked := self.table.marks) > 1:
            self.notify(f"One at a time, please: {len(marked)} are marked", severity="warning")
            return None
        if self.selected is not None and self.selected.type == FILE:
            text = f"Mend sources.yaml first, see below; {keys.SOURCE_FILE.sign} opens it"
            self.notify(text, severity="warning", markup=False)
            return None
        return self.selected

    @on(VirtualTable.Chosen)
    def action_consoles(self) -> None:
        """Show only its consoles."""
        if self.selected is not None:
            self.host.show_filtered(f"source:{self.selected.name}")
