"""A table that draws only what can be seen, over any number of rows.

Textual's DataTable pays for every row when the list is filled or filtered; this one holds a list
of keys and asks for a row when it is drawn. The cursor is a *key*, not a position: a new view
puts it back on the same key and the same line of the screen, so nothing moves under the hand. When
its row goes, it rests between rows, on none, until the person moves it: what was meant for a row
that has gone must not hit its neighbour.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Iterator, Sequence
from functools import partial
from itertools import zip_longest
from typing import ClassVar, Generic, TypeVar

from rich.segment import Segment
from textual import events, on
from textual.geometry import Offset, Region, Size
from textual.message import Message
from textual.reactive import var
from textual.scroll_view import ScrollView
from textual.strip import Strip

from tui import keys
from tui.glyphs import UNICODE, Glyphs
from tui.jumping import Place
from tui.pressed import pressed_at
from tui.rows import Column
from tui.widgets.fit import pad
from tui.widgets.painter import TONES, Painter

K = TypeVar("K", bound=Hashable)
R = TypeVar("R")


class VirtualTable(ScrollView, Generic[K, R], can_focus=True):
    """Rows by key; the header is its first line."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {f"table--{tone}" for tone in TONES}
    BINDINGS = [act.binding() for act in keys.TABLE]  # noqa: RUF012 - Textual's own declaration

    cursor: var[int] = var(0, init=False)
    """The cursor's position in the view."""

    class Moved(Message):
        """The cursor is on another row, or on none."""

        def can_replace(self, message: Message) -> bool:
            """Only where it came to rest matters."""
            return isinstance(message, VirtualTable.Moved)

    class Chosen(Message):
        """A row was clicked twice."""

    class Asked(Message):
        """Somebody wants to know what can be done to the row under the cursor, or the marked."""

    class Marked(Message):
        """Other rows are marked."""

        def can_replace(self, message: Message) -> bool:
            """Only the newest marks matter."""
            return isinstance(message, VirtualTable.Marked)

    class SortBy(Message):
        """A column's title was clicked."""

        def __init__(self, title: str) -> None:
            super().__init__()
            self.title = title

    def __init__(
        self,
        columns: Sequence[Column[R]],
        row: Callable[[K], R],
        *,
        glyphs: Glyphs = UNICODE,
        follow: bool = False,
        id: str | None = None,  # noqa: A002 - Textual's name for it
    ) -> None:
        """Show nothing yet.

        Args:
            row: What a key stands for; asked when the row is drawn.
            follow: A cursor on the last row stays on the last row when rows are added.
        """
        super().__init__(id=id)
        self._row = row
        self._glyphs = glyphs
        self._follow = follow
        self._view: Sequence[K] = ()
        self._empty = ""
        self._titles: tuple[str, bool] | None = None
        self._gone: K | None = None
        self._undrawn = False
        self._drawn_at = 0.0
        self._anchor: K | None = None
        self._sizes: tuple[Size, Size] | None = None
        self.marks: set[K] = set()
        """Rows that were marked, also those that a filter hides."""
        self.painter = Painter[K](self, columns, glyphs)

    # -- what is shown -----------------------------------------------------------------------

    @property
    def key(self) -> K | None:
        """The row under the cursor; None when there is none, it has gone, or was not drawn yet.

        To who serves a key it is None also when the row was drawn after the key was pressed.
        """
        return None if self._undrawn or pressed_at() < self._drawn_at else self._under

    @property
    def _under(self) -> K | None:
        if self._gone is not None or not 0 <= self.cursor < len(self._view):
            return None
        return self._view[self.cursor]

    def show_view(
        self, view: Sequence[K], *, words: tuple[str, ...] = (), empty: str = "", top: bool = False
    ) -> None:
        """Show these rows. The cursor stays on its row and that row on its line, if it is there.

        Args:
            words: Marked in the columns that say `hits`.
            empty: What to say when there are no rows.
            top: Forget the cursor and begin at the top.
        """
        seen = self._seen()
        before, line = self._under, self.cursor - round(self.scroll_offset.y)
        key = self._gone if before is None else before
        at_end = self._follow and (not self._view or self.cursor == len(self._view) - 1)
        self._view, self._empty, self._gone = view, empty, None
        self._undrawn, self._drawn_at = False, 0.0  # who asks for a view types ahead of it
        if words != self.painter.words:
            self.painter.words = words
            self.painter.forget()
        self._measure()
        position = 0
        if at_end:
            position = max(0, len(view) - 1)
        elif key is not None and not top:
            found = self.position(key)
            if found is None:
                self._gone = key
                found = min(self.cursor, max(0, len(view) - 1))
            position = found
        self.set_reactive(VirtualTable.cursor, position)
        self.scroll_to(y=max(0, position - line), animate=False, immediate=True, force=True)
        self._bring(position)
        self._repaint_what_differs(seen)
        if self._under != before:
            self.post_message(self.Moved())

    def _seen(self) -> tuple[object, list[tuple[K, bool, bool]]]:
        """What the screen shows: what all lines have in common, and each row as it is painted."""
        top, cursor = round(self.scroll_offset.y), self.cursor if self._gone is None else -1
        rows = [
            (key, index == cursor, key in self.marks)
            for index, key in enumerate(self._view[top : top + self._lines], top)
        ]
        return (self.size, self.painter.words, rows == [] and self._empty), rows

    def _repaint_what_differs(self, seen: tuple[object, list[tuple[K, bool, bool]]]) -> None:
        """The lines that show another row than they did; all of them where more is different."""
        (common, rows), (common_now, rows_now) = seen, self._seen()
        titles, self._titles = self._titles, self.painter.sorted_by
        if common != common_now or titles != self._titles:
            self.refresh()
            return
        pairs = enumerate(zip_longest(rows, rows_now), 1)
        changed = [Region(0, y, self.size.width, 1) for y, (old, new) in pairs if old != new]
        if changed:
            self.refresh(*changed)

    def show_unasked(self, show: Callable[[], None]) -> None:
        """Have a view shown that nobody asked for: a first row has to be seen to be acted on."""
        before, kept = self._under, (self._undrawn, self._drawn_at)
        show()
        self._undrawn, self._drawn_at = kept
        if before is None and self._under is not None:
            self._undrawn = True
            self.call_after_refresh(self._drawn)

    def _drawn(self) -> None:
        moved = self.Moved()
        self._undrawn, self._drawn_at = False, moved.time
        self.post_message(moved)

    def rows_changed(self, changed: Collection[K]) -> None:
        """These rows look different: forget their pictures, repaint those on screen that do."""
        top, width = round(self.scroll_offset.y), self.size.width
        shown = self._view[top : top + self._lines]
        kept = {
            key: self.painter.is_kept(key, current=key == self.key, marked=key in self.marks)
            for key in shown
            if key in changed
        }
        different = self.painter.changed(changed, kept, self._row)
        regions = [
            Region(0, line + 1, width, 1)
            for line, key in enumerate(shown)
            if key in different or not kept.get(key, True)
        ]
        if regions:
            self.refresh(*regions)

    def show_columns(self, columns: Sequence[Column[R]]) -> None:
        """Show other columns."""
        self.painter.show_columns(columns)
        self.refresh()

    def forget(self) -> None:
        """Everything may look different: a minute has passed, or the theme changed."""
        self.painter.forget()
        self.refresh()

    def position(self, key: K) -> int | None:
        """Where a row is in the view."""
        view = self._view
        if self.cursor < len(view) and view[self.cursor] == key:
            return self.cursor
        try:
            return view.index(key)
        except ValueError:
            return None

    def select(self, key: K) -> bool:
        """Put the cursor on that row; false when it is not in the view."""
        found = self.position(key)
        if found is not None:
            self._go(found)
        return found is not None

    # -- painting ----------------------------------------------------------------------------

    def render_line(self, y: int) -> Strip:
        """One line of the widget; line 0 is the header."""
        painter, width = self.painter, self.size.width
        painter.fit(width)
        if y == 0:
            return painter.header()
        index = y - 1 + round(self.scroll_offset.y)
        if index >= len(self._view):
            return self._blank(y, width)
        key = self._view[index]
        current, marked = index == self.cursor and self._gone is None, key in self.marks
        strip = painter.kept(key, current=current, marked=marked)
        return strip or painter.row(key, self._row(key), current=current, marked=marked)

    def _blank(self, y: int, width: int) -> Strip:
        if self._view or y < 2 or not (lines := self._empty.splitlines()) or y - 2 >= len(lines):
            return Strip.blank(width, self.painter.style())
        style = self.painter.style("empty")
        return Strip([Segment("  " + pad(lines[y - 2], max(1, width - 2)), style)])

    def notify_style_update(self) -> None:
        """The theme or the focus changed."""
        super().notify_style_update()
        self.painter.forget_styles()

    # -- moving ------------------------------------------------------------------------------

    @property
    def _lines(self) -> int:
        return max(1, self.size.height - 1)

    @on(events.Resize)
    def _resized(self) -> None:
        self._measure()
        self._bring(self.cursor)

    def _measure(self) -> None:
        """As high as the rows are; a scrollbar that comes or goes is worth a layout, no other."""
        size = Size(self.size.width, len(self._view) + 1)
        self.set_reactive(VirtualTable.virtual_size, size)
        self._scroll_update(size)

    def _scroll_update(self, virtual_size: Size) -> None:
        """Textual asks for this at each layout of the screen, and paints the scrollbar for it."""
        sizes = (virtual_size, self.container_size)
        if sizes != self._sizes:
            self._sizes = sizes
            super()._scroll_update(virtual_size)

    def _bring(self, position: int) -> None:
        top = round(self.scroll_offset.y)
        if position < top:
            self.scroll_to(y=position, animate=False, immediate=True, force=True)
        elif position >= top + self._lines:
            y = position - self._lines + 1
            self.scroll_to(y=y, animate=False, immediate=True, force=True)

    def watch_cursor(self, old: int, new: int) -> None:
        """Repaint the two lines it touches, and scroll if it left the screen."""
        self._repaint(old, new)
        self._bring(new)
        self.post_message(self.Moved())

    def _repaint(self, *positions: int) -> None:
        top, width = round(self.scroll_offset.y), self.size.width
        self.refresh(*(Region(0, position - top + 1, width, 1) for position in positions))

    def _go(self, position: int) -> None:
        if not self._view:
            return
        position = max(0, min(len(self._view) - 1, position))
        if self._gone is not None:
            self._gone = None
            if position == self.cursor:  # the cursor comes back to where it rests
                self._repaint(position)
                self.post_message(self.Moved())
        self.cursor = position

    def action_move(self, rows: int) -> None:
        """Up or down; from between rows, to the next one that way."""
        self._go(self.cursor + (rows - 1 if self._gone is not None and rows > 0 else rows))

    def action_page(self, pages: float) -> None:
        """Up or down by screens."""
        self._go(self.cursor + int(pages * self._lines))

    def action_edge(self, end: int) -> None:
        """To the first or the last row."""
        self._go(len(self._view) - 1 if end else 0)

    def action_menu(self) -> None:
        """Ask what can be done, as the right button does."""
        self.post_message(self.Asked())

    # -- marking -----------------------------------------------------------------------------

    def _mark(self, keys: Collection[K], *, on: bool) -> None:
        before = len(self.marks)
        (self.marks.update if on else self.marks.difference_update)(keys)
        if len(self.marks) != before:
            self.refresh()
            self.post_message(self.Marked())

    def action_mark(self) -> None:
        """Mark the row or take its mark off, and go on to the next one."""
        if (key := self.key) is not None:
            self._anchor = key
            self._mark([key], on=key not in self.marks)
            self._go(self.cursor + 1)

    def action_mark_range(self) -> None:
        """Mark from the row that was marked last to this one."""
        if self.key is None:
            return
        begin = None if self._anchor is None else self.position(self._anchor)
        begin = self.cursor if begin is None else begin
        low, high = sorted((begin, self.cursor))
        self._anchor = self.key
        self._mark(self._view[low : high + 1], on=True)

    def action_mark_all(self) -> None:
        """Mark every row that is listed now; when all are, take their marks off."""
        self._mark(self._view, on=not self.marks.issuperset(self._view))

    def unmark(self) -> None:
        """Take all marks off."""
        self._mark(set(self.marks), on=False)

    def places(self) -> Iterator[Place]:
        """The rows that can be seen, by their keys (jumping.Places)."""
        top, region = round(self.scroll_offset.y), self.region
        for line, key in enumerate(self._view[top : top + self._lines], 1):
            yield Place(Offset(region.x, region.y + line), partial(self._jump, key))

    def _jump(self, key: K) -> None:
        self.screen.set_focus(self)
        self.select(key)

    # -- the mouse ---------------------------------------------------------------------------

    @on(events.Click)
    def _click(self, event: events.Click) -> None:
        if event.y == 0:
            if (column := self.painter.column_at(event.x)) is not None:
                self.post_message(self.SortBy(column.title))
            return
        index = event.y - 1 + round(self.scroll_offset.y)
        if index >= len(self._view):
            return
        self._go(index)
        if event.button == 3:
            if self._view[index] not in self.marks:
                self.unmark()  # it is this row that is meant
            self.post_message(self.Asked())
        elif event.ctrl:
            key = self._view[index]
            self._mark([key], on=key not in self.marks)
        elif event.chain == 2:
            self.post_message(self.Chosen())
