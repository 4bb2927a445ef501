"""Rows as strips: columns fitted into a width, words marked, styles blended. Pictures are kept."""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Iterator, Sequence
from typing import Any, Final, Generic, TypeVar

from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip
from textual.widget import Widget

from tui.glyphs import Glyphs
from tui.rows import Column
from tui.widgets.fit import Fitted, fit, pad, split_hits

K = TypeVar("K", bound=Hashable)

_STRIPS_KEPT: Final = 3000
MARGIN: Final = 3
"""Cells before the first column: the cursor, the mark, a gap."""
TONES: Final = (
    "header",
    "cursor",
    "marked",
    "match",
    "ok",
    "warn",
    "bad",
    "busy",
    "dim",
    "empty",
)


class Painter(Generic[K]):
    """Paints rows for one table.

    Attributes:
        words: Marked in the columns that say `hits`.
        sorted_by: Title of the column the rows are sorted by, and whether downwards.
    """

    def __init__(self, widget: Widget, columns: Sequence[Column[Any]], glyphs: Glyphs) -> None:
        self.words: tuple[str, ...] = ()
        self.sorted_by: tuple[str, bool] | None = None
        self._widget = widget
        self._columns = columns
        self._glyphs = glyphs
        self._fit: Fitted = []
        self._fit_for = -1
        self._strips: dict[tuple[K, bool, bool], Strip] = {}
        self._styles: dict[tuple[str, ...], Style] = {}
        self._alike: dict[Style, Style] = {}

    def show_columns(self, columns: Sequence[Column[Any]]) -> None:
        """Other columns from now on."""
        self._columns, self._fit_for = columns, -1

    def forget(self) -> None:
        """Every row may look different."""
        self._strips.clear()

    def forget_styles(self) -> None:
        """The theme or the focus changed."""
        self._styles.clear()
        self._alike.clear()
        self._strips.clear()

    def fit(self, width: int) -> None:
        """Use that width; a scrollbar that comes or goes sends no event, so ask every time."""
        if width != self._fit_for:
            self._fit, self._fit_for = fit(self._columns, width - MARGIN), width
            self._strips.clear()

    def changed(self, keys: Collection[K], shown: Collection[K], row: Callable[[K], Any]) -> set[K]:
        """Forget the pictures of these rows; those of `shown` that look different now."""
        different: set[K] = set()
        for place in [place for place in self._strips if place[0] in keys]:
            old = self._strips.pop(place)
            if place[0] in shown and place[0] not in different:
                key, current, marked = place
                new = self.row(key, row(key), current=current, marked=marked)
                if new != old:  # an age or a counter may have moved by less than is shown
                    different.add(key)
        return different

    def row(self, key: K, row: Any, *, current: bool, marked: bool) -> Strip:
        """A row's strip; `row` is what the key stands for."""
        place = (key, current, marked)
        strip = self._strips.get(place)
        if strip is None:
            if len(self._strips) > _STRIPS_KEPT:
                self._strips.clear()
            strip = self._strips[place] = self._paint(row, current=current, marked=marked)
        return strip

    def is_kept(self, key: K, *, current: bool, marked: bool) -> bool:
        """Whether that row is painted already."""
        return (key, current, marked) in self._strips

    def kept(self, key: K, *, current: bool, marked: bool) -> Strip | None:
        """A row's strip if it is painted already."""
        return self._strips.get((key, current, marked))

    def header(self) -> Strip:
        """The titles, an arrow at the one that is sorted by."""
        style = self.style("header")
        titles = "".join(
            pad(self._title(column, room), room, right=column.right) + " "
            for column, room in self._fit
        )
        text = Segment(" " * MARGIN + titles, style)
        return Strip([text]).adjust_cell_length(self._fit_for, style)

    def column_at(self, x: int) -> Column[Any] | None:
        """The column at that cell of a line."""
        at = MARGIN
        for column, room in self._fit:
            if at <= x < at + room + 1:
                return column
            at += room + 1
        return None

    def _title(self, column: Column[Any], room: int) -> str:
        if self.sorted_by is None or self.sorted_by[0] != column.title:
            return column.title
        arrow = self._glyphs.down if self.sorted_by[1] else self._glyphs.up
        if len(column.title) + 2 <= room:
            return f"{column.title} {arrow}"
        return f"{column.title[: max(0, room - 1)]}{arrow}"

    def _paint(self, row: Any, *, current: bool, marked: bool) -> Strip:
        over = ("cursor",) if current else ("marked",) if marked else ()
        base = self.style(*over)
        segments: list[Segment] = []
        cursor, mark = self._glyphs.cursor, self._glyphs.mark
        text, style = f"{cursor if current else ' '}{mark if marked else ' '} ", base
        for piece, other in self._pieces(row, over, base):
            if other is style:  # one segment for neighbours of one style: each costs 35 bytes
                text += piece
            else:
                segments.append(Segment(text, style))
                text, style = piece, other
        segments.append(Segment(text, style))
        used = MARGIN + sum(room + 1 for _, room in self._fit)
        return Strip(segments, used).adjust_cell_length(self._fit_for, base)

    def _pieces(self, row: Any, over: tuple[str, ...], base: Style) -> Iterator[tuple[str, Style]]:
        """What its cells say; the gap behind a cell belongs to it."""
        for column, room in self._fit:
            cell = column.cell(row)
            style = self.style(*over, cell.tone) if cell.tone else base
            text = pad(cell.text, room, right=column.right) + " "
            if self.words and column.hits:
                hit_style = self.style(*over, "match")
                for piece, hit in split_hits(text, self.words):
                    yield piece, hit_style if hit else style
            else:
                yield text, style

    def style(self, *tones: str) -> Style:
        """The table's style with those of its parts laid over it; alpha is blended here."""
        style = self._styles.get(tones)
        if style is None:
            widget = self._widget
            background, colour, text = (
                widget.background_colors[1],
                widget.styles.color,
                Style.null(),
            )
            for tone in tones:
                part = widget.get_component_styles(f"table--{tone}")
                if part.has_rule("background"):
                    background += part.background
                if part.has_rule("color"):
                    colour = part.color
                if part.has_rule("text_style"):
                    text += part.text_style
            plain = Style.from_color((background + colour).rich_color, background.rich_color)
            style = plain + text
            style = self._styles[tones] = self._alike.setdefault(style, style)
        return style
