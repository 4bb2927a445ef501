"""A page that is one filtered list: sessions, sources, events."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any, ClassVar, Generic, TypeVar

from textual import on
from textual.app import ComposeResult
from textual.widgets import Input

from broker.model import MachineKey
from tui.query import parse
from tui.rows import Column
from tui.screens.page import Page
from tui.snapshot import Snapshot
from tui.widgets.filter_bar import FilterBar, FilterInput
from tui.widgets.table import VirtualTable

K = TypeVar("K", bound=Hashable)
R = TypeVar("R")


class ListPage(Page, Generic[K, R]):
    """Rows of one kind with a filter over them. The cursor stays on its row."""

    EXAMPLE: ClassVar[str] = "type to narrow: words  -word"
    FOLLOW: ClassVar[bool] = False
    EMPTY: ClassVar[str]

    rows: dict[K, R]

    def columns(self) -> Sequence[Column[R]]:
        """What is shown of a row."""
        raise NotImplementedError

    def read(self, snapshot: Snapshot) -> Sequence[tuple[K, R]]:
        """The rows and their keys, in the order to show them."""
        raise NotImplementedError

    def changed(self) -> None:
        """Another row is under the cursor, or it looks different."""

    def compose_page(self) -> ComposeResult:
        """The filter line over the table."""
        self.rows = {}
        yield FilterBar(self.EXAMPLE)
        yield VirtualTable[K, R](
            self.columns(), self.rows.__getitem__, glyphs=self.host.glyphs, follow=self.FOLLOW
        )

    def on_mount(self) -> None:
        """Begin in the table."""
        self.set_focus(self.table)

    @property
    def table(self) -> VirtualTable[K, R]:
        """The list."""
        return self.query_one(VirtualTable)

    @property
    def filter(self) -> FilterBar:
        """The filter line."""
        return self.query_one(FilterBar)

    @property
    def selected(self) -> R | None:
        """The row under the cursor."""
        key = self.table.key
        return None if key is None else self.rows.get(key)

    def show(self, snapshot: Snapshot, /) -> None:
        """Show the rows of a snapshot; all on screen are painted again, for ages move on."""
        self.rows.clear()
        self.rows.update(self.read(snapshot))
        self._refilter()
        self.table.forget()
        self.changed()

    def _refilter(self, *, top: bool = False) -> None:
        query = parse(self.filter.text, frozenset())
        columns = self.columns()
        found = [
            key
            for key, row in self.rows.items()
            if query.is_empty or query.matches(_hay(columns, row), {})
        ]
        empty = self.EMPTY if not self.rows else "Nothing matches this filter.\n\nEsc clears it."
        if not self.host.snapshot.connected:
            empty = f"Starting up{self.host.glyphs.dots}"
        self.table.show_view(found, words=query.words, empty=empty, top=top)
        total = f"{len(self.rows):,}"
        self.filter.count(total if query.is_empty else f"{len(found):,} of {total}")

    @on(FilterBar.Changed)
    def _filter_changed(self) -> None:
        self._refilter(top=True)

    @on(VirtualTable.Moved)
    def _moved(self) -> None:
        self.hints_changed()
        self.changed()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """`/` is a letter while one types."""
        return not (action == "find" and isinstance(self.focused, Input))

    def action_find(self) -> None:
        """To the filter."""
        self.set_focus(self.filter.input)

    @on(FilterInput.Left)
    def _to_list(self) -> None:
        self.set_focus(self.table)

    def action_back(self) -> None:
        """Clear the filter; without one, go to the consoles."""
        if self.filter.text:
            self.filter.write("")
        else:
            self.app.switch_mode("consoles")

    def machine(self) -> MachineKey | None:
        """The machine the selected row is about."""
        return getattr(self.selected, "key", None)

    def action_console(self) -> None:
        """Select its machine in the consoles."""
        if (key := self.machine()) is not None:
            self.host.show_console(key)

    @on(VirtualTable.Chosen)
    def _chosen(self) -> None:
        self.action_console()


def _hay(columns: Sequence[Column[Any]], row: Any) -> str:
    return "\n".join(column.cell(row).text for column in columns).lower()
