"""What all pages with a list share: the filter, the order, the marks, and stepping back."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, ClassVar

from textual import events, on
from textual._time import get_time
from textual.timer import Timer
from textual.widgets import Input

from tui import keys
from tui.query import Query, doubt
from tui.rows import Column
from tui.screens.row_menu import RowMenu
from tui.widgets.filter_bar import FilterBar
from tui.widgets.table import VirtualTable

REST_SECONDS = 0.5
"""Least time between two lists that nobody asked for: rows that change places all the time are
followed by no eye, and painting them costs."""
REST_FACTOR = 20
"""Rest this many times as long as filtering took, where that is longer."""


class Listing(RowMenu):
    """A page with a filter line over a table."""

    AUTO_FOCUS = "VirtualTable"
    EXAMPLE: ClassVar[str] = "type to narrow: words  -word"

    def __init__(self, host: Any) -> None:
        super().__init__(host)
        self._applied = ""
        self._bare = False
        self._again: Timer | None = None
        self._rests_until = 0.0

    # -- what a page says of itself ----------------------------------------------------------

    def columns(self) -> Sequence[Column[Any]]:
        """What is shown of a row."""
        raise NotImplementedError

    def sort(self, column: Column[Any] | None, *, down: bool) -> None:
        """Order the rows by that column, or as the service gives them."""
        raise NotImplementedError

    def find(self, text: str) -> tuple[Sequence[Any], Query]:
        """The keys that match a filter, in order."""
        raise NotImplementedError

    def total(self) -> int:
        """How many rows there are in all."""
        raise NotImplementedError

    def when_empty(self, text: str) -> str:
        """What to say when there are no rows."""
        raise NotImplementedError

    def known(self) -> Mapping[str, Callable[[], Collection[str]]]:
        """The filter's fields, each with what gives the values that rows have in it."""
        return {}

    def nothing_matches(self, text: str) -> str:
        """What to say of a filter that finds nothing: what looks like a slip, and the way back."""
        slip = doubt(text, self.known())
        return "\n\n".join(
            filter(None, ["Nothing matches this filter.", slip, f"{keys.BACK.sign} clears it."])
        )

    def changed(self) -> None:
        """Another row is under the cursor, or it looks different."""

    # -- showing -----------------------------------------------------------------------------

    def on_mount(self) -> None:
        """Begin in the table, also where nobody looks yet."""
        self.set_focus(self.table)

    @property
    def table(self) -> VirtualTable[Any, Any]:
        """The list."""
        return self.query_one(VirtualTable)

    @property
    def filter(self) -> FilterBar:
        """The filter line."""
        return self.query_one(FilterBar)

    def refilter(self, *, top: bool = False) -> None:
        """Find anew, now."""
        if self._again is not None:
            self._again.stop()
            self._again = None
        begun = get_time()
        text = self._applied = self.filter.text
        found, query = self.find(text)
        self.table.show_view(found, words=query.words, empty=self.when_empty(text), top=top)
        self._bare = not found
        self._count(len(found), query)
        now = get_time()
        self._rests_until = now + max(REST_SECONDS, REST_FACTOR * (now - begun))

    @on(events.ScreenResume)
    def _name_keys_anew(self) -> None:
        """What is said where there are no rows names keys, which may be other ones by now."""
        if self._bare:
            self.refilter()

    def refilter_soon(self) -> None:
        """Find anew when that does not keep the machine busy: changes come all the time."""
        if self._again is None:
            delay = max(0.01, self._rests_until - get_time())
            self._again = self.set_timer(delay, self._refilter_now)

    def _refilter_now(self) -> None:
        self._again = None
        if self.is_attached:
            self.table.show_unasked(self.refilter)

    def _count(self, found: int, query: Query) -> None:
        total, marks = f"{self.total():,}", len(self.table.marks)
        listed = total if query.is_empty else f"{found:,} of {total}"
        marked = f"{self.host.glyphs.mark} {marks:,} marked  " if marks else ""
        more = f" so far, reading{self.host.glyphs.dots}" if self.host.snapshot.partial else ""
        self.filter.count(f"{marked}{listed}{more}")

    @on(FilterBar.Changed)
    def _filter_changed(self) -> None:
        self.settle()

    def settle(self) -> None:
        """Have the list follow what was typed, before anything is done to a row of it."""
        if self.query(VirtualTable) and self.filter.text != self._applied:
            self.refilter(top=True)

    @on(VirtualTable.Moved)
    def _moved(self) -> None:
        self.hints_changed()
        self.changed()

    @on(VirtualTable.Marked)
    def _marked(self) -> None:
        found, query = self.find(self._applied)
        self._count(len(found), query)
        self.hints_changed()

    # -- keys --------------------------------------------------------------------------------

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """`/` is a letter while one types, and nothing behind a dialog."""
        return not (action == "find" and self.types_or_waits())

    def types_or_waits(self) -> bool:
        """Whether keys with priority must not act: one types, or a dialog is open."""
        return not self.is_current or isinstance(self.focused, Input)

    def action_find(self) -> None:
        """To the filter. `set_focus` and not `focus()`: the next key may be here already."""
        self.set_focus(self.filter.input)

    def leave_filter(self) -> None:
        """From the filter to the list, which by then shows what was typed."""
        self.settle()
        self.set_focus(self.table)

    def step_back(self) -> bool:
        """Take the marks off, else clear the filter; False when there was neither."""
        if self.table.marks:
            self.table.unmark()
        elif self.filter.text:
            self.filter.write("")
            self.settle()
        else:
            return False
        return True

    # -- order -------------------------------------------------------------------------------

    def action_sort(self) -> None:
        """Choose what to sort by."""
        from tui.screens.sort import SortScreen

        sorted_by = self.table.painter.sorted_by
        titles = [column.title for column in self.columns() if column.title]
        self.app.push_screen(SortScreen(titles, sorted_by, self.host.glyphs), self._sort_chosen)

    def _sort_chosen(self, chosen: tuple[str, bool] | None) -> None:
        if chosen is not None:
            self._sort_by(*chosen)

    @on(VirtualTable.SortBy)
    def _title_clicked(self, event: VirtualTable.SortBy) -> None:
        now = self.table.painter.sorted_by
        if now == (event.title, True):
            self._sort_by("", down=False)
        else:
            self._sort_by(event.title, now == (event.title, False))

    def _sort_by(self, title: str, down: bool) -> None:
        column = next((c for c in self.columns() if title and c.title == title), None)
        self.table.painter.sorted_by = None if column is None else (title, down)
        self.sort(column, down=down)
        self.refilter()


def sorted_keys(
    keys: Sequence[Any], row: Callable[[Any], Any], column: Column[Any] | None, *, down: bool
) -> Sequence[Any]:
    """The keys in the order of a column; the order they came in without one."""
    if column is None:
        return keys
    return sorted(keys, key=lambda key: column.order(row(key)), reverse=down)
