"""A page that is one filtered list: sessions, sources, events."""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from functools import partial
from typing import Any, ClassVar, Generic, TypeVar

from textual import on
from textual.app import ComposeResult

from broker.model import MachineKey
from tui import keys
from tui.query import Query, parse
from tui.rows import Column
from tui.screens.listing import Listing, sorted_keys
from tui.snapshot import Snapshot
from tui.widgets.filter_bar import FilterBar
from tui.widgets.table import VirtualTable

K = TypeVar("K", bound=Hashable)
R = TypeVar("R")


class ListPage(Listing, Generic[K, R]):
    """Rows of one kind with a filter over them. The cursor stays on its row."""

    FOLLOW: ClassVar[bool] = False
    EMPTY: ClassVar[str]
    """What is said where there is nothing; `{}` for each key of `EMPTY_NAMES`."""
    EMPTY_NAMES: ClassVar[tuple[keys.Act, ...]] = ()

    rows: dict[K, R]
    _by: tuple[Column[R] | None, bool] = (None, False)

    def read(self, snapshot: Snapshot) -> Sequence[tuple[K, R]]:
        """The rows and their keys, in the order to show them."""
        raise NotImplementedError

    def compose_page(self) -> ComposeResult:
        """The filter line over the table."""
        self.rows = {}
        yield FilterBar(self.EXAMPLE)
        yield VirtualTable[K, R](
            self.columns(), self.rows.__getitem__, glyphs=self.host.glyphs, follow=self.FOLLOW
        )

    @property
    def selected(self) -> R | None:
        """The row under the cursor."""
        key = self.table.key
        return None if key is None else self.rows.get(key)

    def chosen(self) -> list[K]:
        """The marked rows that are there, or the one under the cursor."""
        self.settle()
        marked = [key for key in self.rows if key in self.table.marks]
        return marked or ([] if self.table.key is None else [self.table.key])

    def show(self, snapshot: Snapshot, /) -> None:
        """Show the rows of a snapshot; all on screen are painted again, for ages move on."""
        self.rows.clear()
        self.rows.update(self.read(snapshot))
        self.table.show_unasked(self.refilter)
        self.table.rows_changed(self.rows)
        self.changed()

    def sort(self, column: Column[R] | None, *, down: bool) -> None:
        """Order by that column."""
        self._by = (column, down)

    def find(self, text: str) -> tuple[Sequence[K], Query]:
        """The rows that match, by what their cells say; a column's title is a field."""
        columns = self.columns()
        fields = _fields(columns)
        query = parse(text, frozenset(fields))
        asked = {name for name, _ in (*query.fields, *query.fields_without)}
        found = [
            key
            for key, row in self.rows.items()
            if query.is_empty
            or query.matches(
                _hay(columns, row), {name: _plain(fields[name], row) for name in asked}
            )
        ]
        column, down = self._by
        return sorted_keys(found, self.rows.__getitem__, column, down=down), query

    def known(self) -> Mapping[str, Callable[[], Collection[str]]]:
        """Fields are the columns' titles."""
        return {
            name: partial(self._values, column) for name, column in _fields(self.columns()).items()
        }

    def _values(self, column: Column[R]) -> Collection[str]:
        return {_plain(column, row) for row in self.rows.values()}

    def total(self) -> int:
        """All rows."""
        return len(self.rows)

    def when_empty(self, text: str) -> str:
        """Whether there is nothing, nothing that matches, or nothing yet."""
        if not self.host.snapshot.connected:
            return f"Starting up{self.host.glyphs.dots}"
        if self.rows:
            return self.nothing_matches(text)
        return self.EMPTY.format(*(act.sign for act in self.EMPTY_NAMES))

    def action_back(self) -> None:
        """Take the marks off, clear the filter, or go to the consoles."""
        if not self.step_back():
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


def _fields(columns: Sequence[Column[Any]]) -> dict[str, Column[Any]]:
    """Columns that can be asked for: those whose title is one word."""
    return {name: column for column in columns if (name := column.title.lower()).isalpha()}


def _plain(column: Column[Any], row: Any) -> str:
    """What a cell says, in lower case, without the mark before it."""
    text = column.cell(row).text.lower()
    mark, _, words = text.partition(" ")
    return words if words and len(mark) == 1 and not mark.isalnum() else text


def _hay(columns: Sequence[Column[Any]], row: Any) -> str:
    return "\n".join(column.cell(row).text for column in columns).lower()
