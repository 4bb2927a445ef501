"""What a guest writes on its serial port as the cells of a terminal."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import Any, Final

from rich.cells import get_character_cell_size

from tui.live.cells import BEHIND, COLOUR, LETTER, Row, char_of, letter
from tui.live.vt import Stream, Terminal

_COLOURS: Final = {
    "black": 0x000000, "red": 0xCD5555, "green": 0x55AA55, "brown": 0xC8A850, "blue": 0x5C7FCD,
    "magenta": 0xB466B4, "cyan": 0x55AAAA, "white": 0xD0D0D0, "brightblack": 0x707070,
    "brightred": 0xFF7878, "brightgreen": 0x78E078, "brightbrown": 0xFFE678,
    "brightblue": 0x86A8FF, "brightmagenta": 0xE08CE0, "brightcyan": 0x78E0E0,
    "brightwhite": 0xFFFFFF,
}  # fmt: skip
"""pyte's names of the sixteen colours."""
_BRIGHTER: Final = {name: f"bright{name}" for name in _COLOURS if not name.startswith("bright")}
"""Bold ones, as terminals of the VGA kind show them."""
_DECCKM: Final = 1 << 5
"""pyte's number for private mode 1."""
_INK: Final = 0xD0D0D0
_PAPER: Final = 0x000000


class Emulator:
    """A terminal of so many columns and lines."""

    def __init__(self, columns: int, lines: int) -> None:
        self._screen = Terminal(columns, lines)
        self._stream = Stream(self._screen)
        self.back = 0
        """Lines scrolled back."""

    def feed(self, data: bytes) -> bytes:
        """Take what the guest wrote; what its terminal answers to that."""
        before = len(self._screen.past)
        self._stream.feed(data)
        if self.back:  # who looks back goes on looking at the same lines
            self.scroll(len(self._screen.past) - before)
        answers = bytes(self._screen.answers)
        self._screen.answers.clear()
        return answers

    @property
    def application_cursor(self) -> bool:
        """Whether the guest wants to be told of cursor keys as applications are (DECCKM)."""
        return _DECCKM in self._screen.mode

    def resize(self, columns: int, lines: int) -> None:
        """Be of another size."""
        if (columns, lines) != (self._screen.columns, self._screen.lines):
            self._screen.resize(lines, columns)
            self.scroll(0)

    def scroll(self, lines: int) -> None:
        """Look further back, or (negative) less far."""
        self.back = max(0, min(len(self._screen.past), self.back + lines))

    def rows(self) -> list[Row]:
        """All lines, the cursor's cell the other way round."""
        screen = self._screen
        columns, lines = screen.columns, screen.lines
        first = len(screen.past) - self.back
        past = itertools.islice(screen.past, first, first + lines) if self.back else ()
        rows = [_row(line.cells, columns) for line in past]
        for line in range(lines - len(rows)):
            cells = screen.buffer[line]
            rows.append(_row((cells[column] for column in range(columns)), columns))
        if not screen.cursor.hidden and not self.back:
            x, y = min(screen.cursor.x, columns - 1), screen.cursor.y
            rows[y] = [*rows[y][:x], _turned(rows[y][x]), *rows[y][x + 1 :]]
        return rows

    def text(self) -> str:
        """What can be seen, as text."""
        lines = ("".join(map(char_of, row)).rstrip() for row in self.rows())
        return "\n".join(lines).rstrip()


def _row(cells: Iterable[Any], columns: int) -> Row:
    row = [_cell(cell) for cell in itertools.islice(cells, columns)]
    row += [letter(" ", _INK, _PAPER)] * (columns - len(row))
    for place, cell in enumerate(row):
        if cell >> LETTER == BEHIND and not (place and _is_wide(row[place - 1])):
            row[place] = cell & (1 << LETTER) - 1 | ord(" ") << LETTER
        elif _is_wide(cell) and (place + 1 == columns or row[place + 1] >> LETTER != BEHIND):
            row[place] = cell & (1 << LETTER) - 1 | ord("?") << LETTER  # half of it is gone
    return row


def _is_wide(cell: int) -> bool:
    code = cell >> LETTER
    return (
        code > 0x10FF and get_character_cell_size(chr(code)) == 2
    )  # no wide one comes before Hangul


def _turned(cell: int) -> int:
    ink, paper = cell >> COLOUR & 0xFFFFFF, cell & 0xFFFFFF
    return cell >> LETTER << LETTER | paper << COLOUR | ink


def _cell(char: Any) -> int:
    ink, paper = _colour(char.fg, _INK), _colour(char.bg, _PAPER)
    if char.bold and char.fg in _BRIGHTER:
        ink = _COLOURS[_BRIGHTER[char.fg]]
    if char.reverse:
        ink, paper = paper, ink
    if not char.data:  # the place behind a wide one
        return BEHIND << LETTER | ink << COLOUR | paper
    return letter(char.data[0], ink, paper)


def _colour(name: str, default: int) -> int:
    if name == "default":
        return default
    known = _COLOURS.get(name.replace("bfight", "bright"))  # pyte has one of them so
    return int(name, 16) if known is None else known
