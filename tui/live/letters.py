"""Text screens of guests, read from their pixels: what is letters there becomes letters here.

A screen of text is cells of one size with two colours each, and what is drawn in them stands in
tables that were learnt from the screens themselves: a digest for each glyph, no font. `vga.txt` has
QEMU's VGA font in the order of code page 437; Linux's console on a framebuffer has the same, a
column narrower. `uefi.txt` has that of UEFI's graphics console (EDK II).
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

DIGEST_BYTES: Final = 6
SAMPLED: Final = 61
"""Of every so many cells one is looked at first; a prime, so that columns do not repeat."""
ENOUGH: Final = 0.9
KNOWN: Final = 0.95
"""Shares of cells with two colours at most, and of drawn cells whose glyph is known, of a text
screen."""
FEW: Final = 8
"""So many unknown cells more than known ones say that the rest need not be looked at."""
UNKNOWN: Final = "\N{WHITE VERTICAL RECTANGLE}"
CP437: Final = (
    "\0☺☻♥♦♣♠•◘○◙♂♀♪♫☼►◄↕‼¶§▬↨↑↓→←∟↔▲▼"
    + bytes(range(32, 127)).decode("ascii")
    + "⌂"
    + bytes(range(128, 256)).decode("cp437")
)
_ASCII: Final = range(32, 127)


@dataclass(frozen=True, slots=True)
class Face:
    """A font that guests draw text with.

    Attributes:
        width, height: Pixels of a cell.
        cursor_top: From that row of a cell on, a cursor may lie over what is drawn.
    """

    width: int
    height: int
    cursor_top: int


VGA: Final = Face(9, 16, 12)
FRAMEBUFFER: Final = Face(8, 16, 12)
UEFI: Final = Face(8, 19, 16)
UEFI_MODES: Final = ((80, 25), (80, 50), (100, 31), (128, 40), (160, 42), (240, 56))
"""Columns and lines, in the middle of the screen; or as many as fit.

Source: EDK II, MdeModulePkg, GraphicsConsole.c."""


@dataclass(frozen=True, slots=True)
class Grid:
    """Where on a screen a text's cells lie.

    Attributes:
        left, top: The first pixel of the first cell.
    """

    face: Face
    columns: int
    lines: int
    left: int = 0
    top: int = 0


@functools.lru_cache(maxsize=64)
def grids(width: int, height: int) -> tuple[Grid, ...]:
    """All that a text on a screen of that size may lie in."""
    found = []
    if width % VGA.width == 0 and height % VGA.height == 0:
        found.append(Grid(VGA, width // VGA.width, height // VGA.height))
    small = FRAMEBUFFER
    if width >= small.width and height >= small.height:
        found.append(Grid(small, width // small.width, height // small.height))
    across, down = UEFI.width, UEFI.height
    for columns, lines in dict.fromkeys(((width // across, height // down), *UEFI_MODES)):
        left, top = width - columns * across, height - lines * down
        if columns and lines and left >= 0 and top >= 0:
            found.append(Grid(UEFI, columns, lines, left // 2, top // 2))
    return tuple(found)


@dataclass(slots=True)
class Page:
    """A text screen.

    Attributes:
        rows: Its cells.
        glyph: Pixels of one cell, across and down.
        text: What stands there, a line each, without blanks at the ends.
        cursor: Column and line of the cursor, when it shows.
        origin: The first pixel of its first cell.
    """

    rows: list[Row]
    glyph: tuple[int, int]
    text: str
    cursor: tuple[int, int] | None = None
    origin: tuple[int, int] = (0, 0)


@functools.cache
def glyphs(face: Face) -> tuple[Mapping[bytes, str], Mapping[bytes, str]]:
    """Letters by the digest of their pixels: of all rows, and of those above a cursor."""
    file = "uefi.txt" if face == UEFI else "vga.txt"
    text = resources.files("tui.live").joinpath(file).read_text("ascii")
    lines = [line.split() for line in text.splitlines() if not line.startswith("#")]
    tables: tuple[dict[bytes, str], dict[bytes, str]] = ({}, {})
    if face == UEFI:
        for code, *both in lines:
            for table, one in zip(tables, both, strict=True):
                table.setdefault(bytes.fromhex(one), chr(int(code, 16)))
        return tables
    column = 2 * (VGA, FRAMEBUFFER).index(face)
    for place, (char, line) in enumerate(zip(CP437, lines, strict=True)):
        shown = " " if place in (0, 255) else char
        for table, one in zip(tables, line[column : column + 2], strict=True):
            key = bytes.fromhex(one)
            if key not in table or (place in _ASCII and not table[key].isascii()):
                table[key] = shown
    return tables


def digest(ink: bytes) -> bytes:
    """What a glyph is known by; `ink` has a byte for each pixel, 0 or 1."""
    return hashlib.blake2s(ink, digest_size=DIGEST_BYTES).digest()


@dataclass
class Reader:
    """Reads one guest's frames; remembers what each pattern means."""

    _seen: dict[tuple[Face, bytes], int] = field(default_factory=dict)
    _lines: dict[int, tuple[bytes, list[int]]] = field(default_factory=dict)
    _of: tuple[Grid, int, int] | None = None

    def read(self, frame: Frame) -> Page | None:
        """The text that a frame shows; None when it shows something else."""
        known = grids(frame.width, frame.height)
        last = self._of[0] if self._of is not None else None
        # What it was last it is most often again.
        for grid in sorted(known, key=lambda each: each != last):
            page = self._read(frame, grid)
            if page is not None:
                return page
        return None

    def _read(self, frame: Frame, grid: Grid) -> Page | None:
        face, columns = grid.face, grid.columns
        step = 3 if frame.form == "RGB" else 4
        stride, size = frame.width * step, face.width * step
        data = memoryview(frame.data)
        first, deep = grid.top * stride, face.height * stride

        def band_of(line: int) -> memoryview:
            return data[first + line * deep : first + (line + 1) * deep]

        def cell(band: bytes | memoryview, column: int) -> bytes:
            begin = grid.left * step + column * size
            return b"".join(band[at : at + size] for at in range(begin, begin + deep, stride))

        sampled = range(0, columns * grid.lines, SAMPLED)
        allowed = (1 - ENOUGH) * len(sampled)
        for place in sampled:
            line, column = divmod(place, columns)
            allowed -= self._cell(cell(band_of(line), column), step, face) < 0
            if allowed < 0:
                return None
        if self._of != (of := (grid, frame.width, step)):
            self._of = of
            self._lines.clear()
        rows: list[Row] = []
        unknown, known = 0, 0
        for line in range(grid.lines):
            band = bytes(band_of(line))
            before = self._lines.get(line)
            if before is None or before[0] != band:
                if band[step:] == band[:-step]:
                    cells = [self._cell(cell(band, 0), step, face)] * columns
                else:
                    cells = [self._cell(cell(band, at), step, face) for at in range(columns)]
                self._lines[line] = before = (band, cells)
            unknown += sum(1 for each in before[1] if each < 0)
            known += sum(1 for each in before[1] if each >= 0 and each >> LETTER & _CHAR != _SPACE)
            if unknown > FEW + known:
                return None
            rows.append([BLANK if each < 0 else each & _SHOWN for each in before[1]])
        if unknown > max(known > 0, (1 - KNOWN) * known) or not _is_bare_around(frame, grid):
            return None
        marked = [
            (column, line)
            for line, (_, cells) in self._lines.items()
            for column, each in enumerate(cells)
            if each >= 0 and each & _CURSOR
        ]
        text = "\n".join("".join(chr(each >> LETTER) for each in row).rstrip() for row in rows)
        return Page(
            rows,
            (face.width, face.height),
            text,
            marked[0] if len(marked) == 1 else None,
            (grid.left, grid.top),
        )

    def _cell(self, pixels: bytes, step: int, face: Face) -> int:
        """A cell from its pixels; below zero when it is none of a text screen."""
        if _is_colourful(pixels, step):  # most cells of a picture: not worth remembering
            return -1
        found = self._seen.get((face, pixels))
        if found is None:
            if len(self._seen) > 65536:
                self._seen.clear()
            found = self._seen[face, pixels] = _recognised(pixels, step, face)
        return found


def _is_bare_around(frame: Frame, grid: Grid) -> bool:
    """Whether nothing is drawn beside a text that lies in the middle of the screen."""
    if not grid.left and not grid.top:
        return True
    data, step = frame.data, 3 if frame.form == "RGB" else 4
    pixel, stride = bytes(data[:step]), frame.width * step
    begin = grid.top * stride
    end = begin + grid.lines * grid.face.height * stride
    above, below = bytes(data[:begin]), bytes(data[end:])
    if above != pixel * (begin // step) or below != pixel * (len(below) // step):
        return False
    left = pixel * grid.left
    beyond = (grid.left + grid.columns * grid.face.width) * step
    right = pixel * (frame.width - beyond // step)
    return all(
        bytes(data[at : at + len(left)]) == left and bytes(data[at + beyond : at + stride]) == right
        for at in range(begin, end, stride)
    )


_CURSOR: Final = 1 << 72
_SHOWN: Final = _CURSOR - 1
_CHAR: Final = 0x1FFFFF
_SPACE: Final = ord(" ")


def _is_colourful(pixels: bytes, step: int) -> bool:
    """Whether it surely has more than two colours; quick."""
    return (
        len(set(pixels[2::step])) > 2
        or len(set(pixels[1::step])) > 2
        or len(set(pixels[::step])) > 2
    )


def _recognised(pixels: bytes, step: int, face: Face) -> int:
    points = [pixels[at : at + 3] for at in range(0, len(pixels), step)]
    found = set(points)
    if len(found) > 2:
        return -1
    # The rarer colour is ink; of two that are as rare, the brighter one.
    colours = sorted(found, key=lambda colour: (points.count(colour), -sum(colour)))
    order = (0, 1, 2) if step == 3 else (2, 1, 0)
    paper, ink = colours[-1], colours[0]
    whole, above = glyphs(face)
    if len(colours) == 1:
        return _cell(" ", ink, paper, order)
    for front, back in ((ink, paper), (paper, ink)):
        drawn = bytes(point == front for point in points)
        if (char := whole.get(digest(drawn))) is not None:
            return _cell(char, front, back, order)
    for front, back in ((ink, paper), (paper, ink)):
        drawn = bytes(point == front for point in points)
        if (char := above.get(digest(drawn[: face.cursor_top * face.width]))) is not None:
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
