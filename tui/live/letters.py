"""Text screens of guests, read from their pixels: what is letters there becomes letters here.

A screen of text is cells of one size with two colours each, and what is drawn in them stands in a
table that was learnt from QEMU itself (`vga.txt`: a digest for each glyph of its VGA font, in the
order of code page 437). Linux's console on a framebuffer has the same font, a column narrower.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources
from typing import Final

from broker.view import Frame
from tui.live.cells import BLANK, COLOUR, LETTER, Row

HEIGHT: Final = 16
WIDTHS: Final = (9, 8)
CURSOR_TOP: Final = 12
"""From that row of a cell on, a cursor may lie over what is drawn."""
DIGEST_BYTES: Final = 6
SAMPLED: Final = 61
"""Of every so many cells one is looked at first; a prime, so that columns do not repeat."""
ENOUGH: Final = 0.9
KNOWN: Final = 0.95
"""Shares of cells with two colours at most, and of cells whose glyph is known, of a text screen."""
UNKNOWN: Final = "\N{WHITE VERTICAL RECTANGLE}"
CP437: Final = (
    "\0☺☻♥♦♣♠•◘○◙♂♀♪♫☼►◄↕‼¶§▬↨↑↓→←∟↔▲▼"
    + bytes(range(32, 127)).decode("ascii")
    + "⌂"
    + bytes(range(128, 256)).decode("cp437")
)
_ASCII: Final = range(32, 127)


@dataclass(slots=True)
class Page:
    """A text screen.

    Attributes:
        rows: Its cells.
        glyph: Pixels of one cell, across and down.
        text: What stands there, a line each, without blanks at the ends.
        cursor: Column and line of the cursor, when it shows.
    """

    rows: list[Row]
    glyph: tuple[int, int]
    text: str
    cursor: tuple[int, int] | None = None


@functools.cache
def glyphs(width: int) -> tuple[Mapping[bytes, str], Mapping[bytes, str]]:
    """Letters by the digest of their pixels: of all rows, and of those above a cursor."""
    text = resources.files("tui.live").joinpath("vga.txt").read_text("ascii")
    lines = [line.split() for line in text.splitlines() if not line.startswith("#")]
    column = 2 * WIDTHS.index(width)
    tables: tuple[dict[bytes, str], dict[bytes, str]] = ({}, {})
    for place, (char, line) in enumerate(zip(CP437, lines, strict=True)):
        shown = " " if place in (0, 255) else char
        for table, digest in zip(tables, line[column : column + 2], strict=True):
            key = bytes.fromhex(digest)
            if key not in table or (place in _ASCII and not table[key].isascii()):
                table[key] = shown
    return tables


def digest(ink: bytes) -> bytes:
    """What a glyph is known by; `ink` has a byte for each pixel, 0 or 1."""
    return hashlib.blake2s(ink, digest_size=DIGEST_BYTES).digest()


@dataclass
class Reader:
    """Reads one guest's frames; remembers what each pattern means."""

    _seen: dict[bytes, int] = field(default_factory=dict)
    _lines: dict[int, tuple[bytes, list[int]]] = field(default_factory=dict)
    _of: tuple[int, int, int] = (0, 0, 0)

    def read(self, frame: Frame) -> Page | None:
        """The text that a frame shows; None when it shows something else."""
        for width in WIDTHS:
            if frame.width % width == 0 and frame.height % HEIGHT == 0:
                page = self._read(frame, width)
                if page is not None:
                    return page
        return None

    def _read(self, frame: Frame, width: int) -> Page | None:
        columns, count = frame.width // width, frame.height // HEIGHT
        step = 3 if frame.form == "RGB" else 4
        stride = frame.width * step
        data, size = frame.data, width * step

        def cell(place: int) -> bytes:
            line, column = divmod(place, columns)
            begin = line * HEIGHT * stride + column * size
            return b"".join(
                data[at : at + size] for at in range(begin, begin + HEIGHT * stride, stride)
            )

        sampled = range(0, columns * count, SAMPLED)
        allowed = (1 - ENOUGH) * len(sampled)
        for place in sampled:
            allowed -= self._cell(cell(place), step, width) < 0
            if allowed < 0:
                return None
        if self._of != (frame.width, frame.height, step):
            self._of = (frame.width, frame.height, step)
            self._lines.clear()
        rows: list[Row] = []
        unknown = 0
        for line in range(count):
            band = data[line * HEIGHT * stride : (line + 1) * HEIGHT * stride]
            before = self._lines.get(line)
            if before is None or before[0] != band:
                cells = [
                    self._cell(cell(line * columns + column), step, width)
                    for column in range(columns)
                ]
                self._lines[line] = before = (band, cells)
            unknown += sum(1 for each in before[1] if each < 0)
            rows.append([BLANK if each < 0 else each & _SHOWN for each in before[1]])
        if unknown > (1 - KNOWN) * columns * count:
            return None
        marked = [
            (column, line)
            for line, (_, cells) in self._lines.items()
            for column, each in enumerate(cells)
            if each >= 0 and each & _CURSOR
        ]
        text = "\n".join("".join(chr(each >> LETTER) for each in row).rstrip() for row in rows)
        return Page(rows, (width, HEIGHT), text, marked[0] if len(marked) == 1 else None)

    def _cell(self, pixels: bytes, step: int, width: int) -> int:
        """A cell from its pixels; below zero when it is none of a text screen."""
        found = self._seen.get(pixels)
        if found is None:
            if len(self._seen) > 65536:
                self._seen.clear()
            found = self._seen[pixels] = _recognised(pixels, step, width)
        return found


_CURSOR: Final = 1 << 72
_SHOWN: Final = _CURSOR - 1


def _recognised(pixels: bytes, step: int, width: int) -> int:
    points = [pixels[at : at + 3] for at in range(0, len(pixels), step)]
    found = set(points)
    if len(found) > 2:
        return -1
    # The rarer colour is ink; of two that are as rare, the brighter one.
    colours = sorted(found, key=lambda colour: (points.count(colour), -sum(colour)))
    order = (0, 1, 2) if step == 3 else (2, 1, 0)
    paper, ink = colours[-1], colours[0]
    whole, above = glyphs(width)
    if len(colours) == 1:
        return _cell(" ", ink, paper, order)
    for front, back in ((ink, paper), (paper, ink)):
        drawn = bytes(point == front for point in points)
        if (char := whole.get(digest(drawn))) is not None:
            return _cell(char, front, back, order)
    for front, back in ((ink, paper), (paper, ink)):
        drawn = bytes(point == front for point in points)
        if (char := above.get(digest(drawn[: CURSOR_TOP * width]))) is not None:
            # A cursor lies over its lower part: shown as a block, the other way round.
            return _cell(char, back, front, order) | _CURSOR
    return -1


def _cell(char: str, front: bytes, back: bytes, order: tuple[int, int, int]) -> int:
    red, green, blue = order
    return (
        ord(char) << LETTER
        | (front[red] << 16 | front[green] << 8 | front[blue]) << COLOUR
        | back[red] << 16
        | back[green] << 8
        | back[blue]
    )
