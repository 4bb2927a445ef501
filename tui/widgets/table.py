"""A table that draws only what can be seen, over any number of rows.

Textual's DataTable pays for every row when the list is filled or filtered; this one holds a list
of keys and asks for a row when it is drawn. The cursor is a *key*, not a position: a new view
puts it back on the same key and the same line of the screen, so nothing moves under the hand.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Sequence
from typing import ClassVar, Final, Generic, TypeVar

from rich.segment import Segment
from rich.style import Style
from textual import events, on
from textual.geometry import Region, Size
from textual.message import Message
from textual.reactive import var
from textual.scroll_view import ScrollView
from textual.strip import Strip

from tui import keys
from tui.glyphs import UNICODE, Glyphs
from tui.rows import Column
from tui.widgets.fit import Fitted, fit, pad, split_hits

K = TypeVar("K", bound=Hashable)
R = TypeVar("R")

_STRIPS_KEPT: Final = 3000
_TONES: Final = ("header", "cursor", "match", "ok", "warn", "bad", "busy", "dim", "empty")


class VirtualTable(ScrollView, Generic[K, R], can_focus=True):
    """Rows by key; the header is its first line."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {f"table--{tone}" for tone in _TONES}
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
        self._columns = columns
        self._row = row
        self._glyphs = glyphs
        self._follow = follow
        self._view: Sequence[K] = ()
        self._where: dict[K, int] | None = None
        self._words: tuple[str, ...] = ()
        self._empty = ""
        self._fit: Fitted = []
        self._fit_for = -1
        self._strips: dict[tuple[K, bool], Strip] = {}
        self._styles: dict[tuple[str, ...], Style] = {}

    # -- what is shown -----------------------------------------------------------------------

    @property
    def key(self) -> K | None:
        """The row under the cursor."""
        return self._view[self.cursor] if 0 <= self.cursor < len(self._view) else None

    def show_view(
        self, view: Sequence[K], *, words: tuple[str, ...] = (), empty: str = "", top: bool = False
    ) -> None:
        """Show these rows. The cursor stays on its row and that row on its line, if it is there.

        Args:
            words: Marked in the columns that say `hits`.
            empty: What to say when there are no rows.
            top: Forget the cursor and begin at the top.
        """
        key, line = self.key, self.cursor - round(self.scroll_offset.y)
        at_end = self._follow and (not self._view or self.cursor == len(self._view) - 1)
        self._view, self._where, self._empty = view, None, empty
        if words != self._words:
            self._words = words
            self._strips.clear()
        self.virtual_size = Size(self.size.width, len(view) + 1)
        position = 0
        if at_end:
            position = max(0, len(view) - 1)
        elif key is not None and not top:
            found = self.position(key)
            position = min(self.cursor, max(0, len(view) - 1)) if found is None else found
        self.set_reactive(VirtualTable.cursor, position)
        self.scroll_to(y=max(0, position - line), animate=False, immediate=True, force=True)
        self._bring(position)
        self.refresh()
        if self.key != key:
            self.post_message(self.Moved())

    def rows_changed(self, changed: Collection[K]) -> None:
        """These rows look different: forget their pictures, repaint those on screen."""
        for key in changed:
            self._strips.pop((key, False), None)
            self._strips.pop((key, True), None)
        top, width = round(self.scroll_offset.y), self.size.width
        regions = [
            Region(0, line + 1, width, 1)
            for line, key in enumerate(self._view[top : top + self._lines])
            if key in changed
        ]
        if regions:
            self.refresh(*regions)

    def forget(self) -> None:
        """Everything may look different: a minute has passed, or the theme changed."""
        self._strips.clear()
        self.refresh()

    def position(self, key: K) -> int | None:
        """Where a row is in the view."""
        if self._where is None:
            self._where = {key: index for index, key in enumerate(self._view)}
        return self._where.get(key)

    def select(self, key: K) -> bool:
        """Put the cursor on that row; false when it is not in the view."""
        found = self.position(key)
        if found is not None:
            self.cursor = found
        return found is not None

    # -- painting ----------------------------------------------------------------------------

    def render_line(self, y: int) -> Strip:
        """One line of the widget; line 0 is the header."""
        width = self.size.width
        if width != self._fit_for:  # a scrollbar that comes or goes sends no event
            self._fit, self._fit_for = fit(self._columns, width - 2), width  # 2: the cursor's mark
            self._strips.clear()
        if y == 0:
            return self._header(width)
        index = y - 1 + round(self.scroll_offset.y)
        if index >= len(self._view):
            return self._blank(y, width)
        key, current = self._view[index], index == self.cursor
        strip = self._strips.get((key, current))
        if strip is None:
            if len(self._strips) > _STRIPS_KEPT:
                self._strips.clear()
            strip = self._strips[key, current] = self._paint(self._row(key), current, width)
        return strip

    def _header(self, width: int) -> Strip:
        style = self._style("header")
        titles = "".join(pad(c.title, room, right=c.right) + " " for c, room in self._fit)
        return Strip([Segment("  " + titles, style)]).adjust_cell_length(width, style)

    def _blank(self, y: int, width: int) -> Strip:
        if self._view or y < 2 or not (lines := self._empty.splitlines()) or y - 2 >= len(lines):
            return Strip.blank(width, self._style())
        style = self._style("empty")
        return Strip([Segment("  " + pad(lines[y - 2], max(1, width - 2)), style)])

    def _paint(self, row: R, current: bool, width: int) -> Strip:
        over = ("cursor",) if current else ()
        base = self._style(*over)
        segments = [Segment(f"{self._glyphs.cursor} " if current else "  ", base)]
        for column, room in self._fit:
            cell = column.cell(row)
            style = self._style(*over, cell.tone) if cell.tone else base
            text = pad(cell.text, room, right=column.right) + " "  # the gap belongs to the cell:
            if self._words and column.hits:  # a segment of its own would cost 35 bytes
                marked = self._style(*over, "match")
                segments += [
                    Segment(piece, marked if hit else style)
                    for piece, hit in split_hits(text, self._words)
                ]
            else:
                segments.append(Segment(text, style))
        return Strip(segments).adjust_cell_length(width, base).simplify()

    def _style(self, *tones: str) -> Style:
        """The table's style with those of its parts laid over it; alpha is blended here."""
        style = self._styles.get(tones)
        if style is None:
            background, colour, text = self.background_colors[1], self.styles.color, Style.null()
            for tone in tones:
                part = self.get_component_styles(f"table--{tone}")
                if part.has_rule("background"):
                    background += part.background
                if part.has_rule("color"):
                    colour = part.color
                if part.has_rule("text_style"):
                    text += part.text_style
            plain = Style.from_color((background + colour).rich_color, background.rich_color)
            style = self._styles[tones] = plain + text
        return style

    def notify_style_update(self) -> None:
        """The theme or the focus changed."""
        super().notify_style_update()
        self._styles.clear()
        self._strips.clear()

    # -- moving ------------------------------------------------------------------------------

    @property
    def _lines(self) -> int:
        return max(1, self.size.height - 1)

    @on(events.Resize)
    def _resized(self) -> None:
        self.virtual_size = Size(self.size.width, len(self._view) + 1)
        self._bring(self.cursor)

    def _bring(self, position: int) -> None:
        top = round(self.scroll_offset.y)
        if position < top:
            self.scroll_to(y=position, animate=False, immediate=True, force=True)
        elif position >= top + self._lines:
            y = position - self._lines + 1
            self.scroll_to(y=y, animate=False, immediate=True, force=True)

    def watch_cursor(self, old: int, new: int) -> None:
        """Repaint the two lines it touches, and scroll if it left the screen."""
        top, width = round(self.scroll_offset.y), self.size.width
        self.refresh(Region(0, old - top + 1, width, 1), Region(0, new - top + 1, width, 1))
        self._bring(new)
        self.post_message(self.Moved())

    def _go(self, position: int) -> None:
        if self._view:
            self.cursor = max(0, min(len(self._view) - 1, position))

    def action_move(self, rows: int) -> None:
        """Up or down."""
        self._go(self.cursor + rows)

    def action_page(self, pages: float) -> None:
        """Up or down by screens."""
        self._go(self.cursor + int(pages * self._lines))

    def action_edge(self, end: int) -> None:
        """To the first or the last row."""
        self._go(len(self._view) - 1 if end else 0)

    @on(events.Click)
    def _click(self, event: events.Click) -> None:
        if event.y == 0:
            return
        index = event.y - 1 + round(self.scroll_offset.y)
        if index < len(self._view):
            self.cursor = index
            if event.chain == 2:
                self.post_message(self.Chosen())
