"""Cells of a guest's screen as numbers, and rows of them as what a terminal is sent.

A cell is one int: `letter << 48 | foreground << 24 | background`, colours as 0xRRGGBB. Letter 0 is
the upper half block, whose foreground is the upper pixel and whose background the lower one. Ints
are quick to compare, and a whole row of them is compared in one go.
"""

from __future__ import annotations

import itertools
import operator
import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any, Final

from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip

Row = Sequence[int]
HALF: Final = "▀"
LETTER: Final = 48
COLOUR: Final = 24
_MASK: Final = 0xFFFFFF
_LETTERS: Final = 1 << LETTER
"""From here on there is a letter in a cell."""
MOST_SAID: Final = 65536
"""Colours whose words are kept: all that pictures have, which are of five bits each."""
BLANK: Final = ord(" ") << LETTER
BEHIND: Final = 0x200B
"""Instead of a letter: nothing, behind one that is two cells wide."""
_RUN: Final = re.compile(rb"\x01+")
"""Of cells that differ, one behind the other."""
_RAMP: Final = " .:-=+*#%@"
"""From dark to light, for terminals without colours."""


def letter(char: str, foreground: int, background: int) -> int:
    """A cell with a letter."""
    return ord(char) << LETTER | foreground << COLOUR | background


def char_of(cell: int) -> str:
    """What is drawn in a cell."""
    code = cell >> LETTER
    if code == BEHIND:
        return ""
    return chr(code) if code else HALF


class Palette:
    """How colours are said to this terminal.

    Args:
        depth: 24 bits, 8 for the 256 colours, 0 for none.
    """

    def __init__(self, depth: int = 24) -> None:
        self.depth = depth
        self._inks = _Said("\x1b[38;", depth)
        self._papers = _Said("48;", depth)

    def drawn(self, cells: Iterable[int], before: int = -1) -> str:
        """What draws cells one after the other when the colours of `before` are set."""
        if not self.depth:
            return "".join(map(self.char, cells))
        parts: list[str] = []
        add, inks, papers = parts.append, self._inks, self._papers
        ink, paper = (before >> COLOUR & _MASK, before & _MASK) if before >= 0 else (-1, -1)
        for cell in cells:
            char = HALF if cell < _LETTERS else self.char(cell)
            front, back = cell >> COLOUR & _MASK, cell & _MASK
            if front != ink:
                add(f"{inks[front]}m" if back == paper else f"{inks[front]};{papers[back]}m")
                ink, paper = front, back
            elif back != paper:
                add(f"\x1b[{papers[back]}m")
                paper = back
            add(char)
        return "".join(parts)

    def char(self, cell: int) -> str:
        """What is written into a cell; shades of letters where there are no colours."""
        code = cell >> LETTER
        if code:
            return "" if code == BEHIND else chr(code)
        return HALF if self.depth else _RAMP[_light(cell) * (len(_RAMP) - 1) // 255]


class _Said(dict[int, str]):
    """How colours are said, by their numbers; made when they are asked for first."""

    def __init__(self, what: str, depth: int) -> None:
        super().__init__()
        self._what = what
        self._depth = depth

    def __missing__(self, rgb: int) -> str:
        red, green, blue = rgb >> 16, rgb >> 8 & 255, rgb & 255
        if self._depth == 24:
            said = f"{self._what}2;{red};{green};{blue}"
        else:
            cube = (red * 5 + 127) // 255 * 36 + (green * 5 + 127) // 255 * 6
            said = f"{self._what}5;{16 + cube + (blue * 5 + 127) // 255}"
        if len(self) >= MOST_SAID:
            self.clear()
        self[rgb] = said
        return said


def _light(cell: int) -> int:
    total = 0
    for rgb in (cell >> COLOUR & _MASK, cell & _MASK):
        total += (rgb >> 16) * 3 + (rgb >> 8 & 255) * 6 + (rgb & 255)
    return total // 20


def written(row: Row, palette: Palette) -> str:
    """A whole row."""
    return palette.drawn(row) + "\x1b[0m"


def difference(
    old: Row,
    new: Row,
    *,
    line: int,
    column: int,
    palette: Palette,
    most: int,
) -> tuple[bytes, int]:
    """What turns one row on the screen into another of the same length.

    Args:
        line: Where it is on the terminal, from 1.
        column: Where its first cell is, from 1.
        most: Stop after that many cells.

    Returns:
        The bytes, and up to where the row is now the new one.
    """
    differs = bytes(map(operator.ne, old, new))
    upto = len(new)
    if differs.count(1) > most:
        upto = [at for at, does in enumerate(differs) if does][most]
        differs = differs[:upto]
    parts: list[str] = []
    before = -1
    for begin, end in (run.span() for run in _RUN.finditer(differs)):
        cells = new[begin:end]
        parts.append(f"\x1b[{line};{column + begin}H{palette.drawn(cells, before)}")
        before = cells[-1]
    return "".join(parts).encode(), upto


def _colours(cell: int) -> int:
    return cell & 0xFFFFFFFFFFFF


@lru_cache(maxsize=4096)
def _style(colours: int) -> Style:
    return Style(color=f"#{colours >> COLOUR:06x}", bgcolor=f"#{colours & _MASK:06x}")


class CellStrip(Strip):
    """A row that renders itself, and is cut into segments only where something lies over it."""

    __slots__ = ("_cut", "_palette", "_row", "_written")

    def __init__(self, row: Row, palette: Palette) -> None:
        self._row = row
        self._palette = palette
        self._written: str | None = None
        self._cut: list[Segment] | None = None
        super().__init__((), len(row))

    @property
    def _segments(self) -> list[Segment]:
        if self._cut is None:
            # One for each run of a colour: Textual says the colours of each piece anew.
            self._cut = [
                Segment("".join(map(self._palette.char, run)), _style(colours))
                for colours, run in itertools.groupby(self._row, _colours)
            ]
        return self._cut

    @_segments.setter
    def _segments(self, _: object) -> None:
        """Textual's own constructor sets it; ours come from the row."""

    def crop(self, start: int, end: int | None = None) -> Strip:
        """A part of the row."""
        end = min(self.cell_length, self.cell_length if end is None else end)
        whole = (start, end) == (0, self.cell_length)
        return self if whole else CellStrip(self._row[start:end], self._palette)

    def divide(self, cuts: Iterable[int]) -> Sequence[Strip]:
        """Parts of the row, cut at some places."""
        parts, begin = [], 0
        for cut in cuts:
            parts.append(CellStrip(self._row[begin:cut], self._palette))
            begin = cut
        return parts

    def apply_filter(self, filter: object, background: object) -> Strip:  # noqa: A002 - Textual's
        """Colours are the guest's own."""
        return self

    def apply_style(self, style: Style) -> Strip:
        """The same; a dialog over it dims it, so that is done on segments."""
        return Strip(self._segments, self.cell_length).apply_style(style)

    def render(self, console: object) -> str:
        """What the terminal is sent."""
        if self._written is None:
            self._written = written(self._row, self._palette)
        return self._written


def depth_of(app: Any) -> int:
    """How many bits of colour the terminal has; 0 when none are wanted."""
    console = app.console
    if console.no_color or console.color_system is None:
        return 0
    return 24 if console.color_system == "truecolor" else 8
