"""One line of chrome: pieces of text on the left and on the right, some of them buttons."""

from __future__ import annotations

from typing import ClassVar, NamedTuple

from rich.cells import cell_len
from rich.segment import Segment
from textual import events, on
from textual.strip import Strip
from textual.widget import Widget


class Piece(NamedTuple):
    """Some text.

    Attributes:
        tone: A component class without its prefix.
        action: What a click does, if anything.
        keep: When room is short, all pieces of the lowest `keep` go together.
    """

    text: str
    tone: str = "text"
    action: str = ""
    keep: int = 0


class Line(Widget):
    """A line of pieces. Subclasses say which; what has no room is left out, least kept first."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        f"line--{tone}"
        for tone in ("text", "key", "dim", "here", "brand", "ok", "warn", "bad", "busy")
    }

    def pieces(self) -> tuple[list[Piece], list[Piece]]:
        """What to show, left and right."""
        raise NotImplementedError

    _last: tuple[list[Piece], list[Piece]] | None = None

    def follow(self) -> None:
        """Paint it anew, if it says something else by now."""
        pieces = self.pieces()
        if pieces != self._last:
            self._last = pieces
            self.refresh()

    def laid_out(self) -> list[tuple[int, Piece]]:
        """The pieces there is room for, each with its first cell."""
        left, right = self.pieces()
        width = self.size.width
        while length(left) + length(right) > width and len(keeps := _keeps(left, right)) > 1:
            left = [piece for piece in left if piece.keep != min(keeps)]
            right = [piece for piece in right if piece.keep != min(keeps)]
        placed: list[tuple[int, Piece]] = []
        at = 0
        for piece in left:
            placed.append((at, piece))
            at += cell_len(piece.text)
        at = max(at, width - length(right))
        for piece in right:
            placed.append((at, piece))
            at += cell_len(piece.text)
        return placed

    def render_line(self, y: int) -> Strip:
        """The line."""
        base = self.get_component_rich_style("line--text")
        segments: list[Segment] = []
        at = 0
        for begin, piece in self.laid_out():
            if begin > at:
                segments.append(Segment(" " * (begin - at), base))
            style = self.get_component_rich_style(f"line--{piece.tone}")
            segments.append(Segment(piece.text, style))
            at = begin + cell_len(piece.text)
        return Strip(segments).adjust_cell_length(self.size.width, base).simplify()

    @on(events.Click)
    async def _clicked(self, event: events.Click) -> None:
        for begin, piece in self.laid_out():
            if piece.action and begin <= event.x < begin + cell_len(piece.text):
                await self.run_action(piece.action)
                return


def _keeps(left: list[Piece], right: list[Piece]) -> set[int]:
    return {piece.keep for piece in (*left, *right)}


def length(pieces: list[Piece]) -> int:
    """How many cells they take."""
    return sum(cell_len(piece.text) for piece in pieces)
