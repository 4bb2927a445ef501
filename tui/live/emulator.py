"""What a guest writes on its serial port as the cells of a terminal: pyte, with lines kept.

pyte's own HistoryScreen reads a third as fast; here the line that scrolls off is kept as it goes.
"""

from __future__ import annotations

from collections import deque
from typing import Any, Final

import pyte

from tui.live.cells import Row, letter

KEPT_LINES: Final = 2000
_COLOURS: Final = {
    "black": 0x000000, "red": 0xCD5555, "green": 0x55AA55, "brown": 0xC8A850, "blue": 0x5C7FCD,
    "magenta": 0xB466B4, "cyan": 0x55AAAA, "white": 0xD0D0D0, "brightblack": 0x707070,
    "brightred": 0xFF7878, "brightgreen": 0x78E078, "brightbrown": 0xFFE678,
    "brightblue": 0x86A8FF, "brightmagenta": 0xE08CE0, "brightcyan": 0x78E0E0,
    "brightwhite": 0xFFFFFF,
}  # fmt: skip
"""pyte's names of the sixteen colours."""
_INK: Final = 0xD0D0D0
_PAPER: Final = 0x000000


class _Screen(pyte.Screen):
    def __init__(self, columns: int, lines: int) -> None:
        self.past: deque[Row] = deque(maxlen=KEPT_LINES)
        self.answers = bytearray()
        super().__init__(columns, lines)

    def index(self) -> None:
        """Keep the line that goes."""
        top, bottom = self.margins or (0, self.lines - 1)
        if self.cursor.y == bottom and top == 0:
            self.past.append(_row(self.buffer[0], self.columns))
        super().index()

    def write_process_input(self, data: str) -> None:
        """What the guest asked its terminal."""
        self.answers += data.encode()


class Emulator:
    """A terminal of so many columns and lines."""

    def __init__(self, columns: int, lines: int) -> None:
        self._screen = _Screen(columns, lines)
        self._stream = pyte.ByteStream(self._screen)
        self.back = 0
        """Lines scrolled back."""

    def feed(self, data: bytes) -> bytes:
        """Take what the guest wrote; what its terminal answers to that."""
        self._stream.feed(data)
        answers = bytes(self._screen.answers)
        self._screen.answers.clear()
        return answers

    def resize(self, columns: int, lines: int) -> None:
        """Be of another size."""
        self._screen.resize(lines, columns)

    def scroll(self, lines: int) -> None:
        """Look further back, or (negative) less far."""
        self.back = max(0, min(len(self._screen.past), self.back + lines))

    def rows(self) -> list[Row]:
        """All lines, the cursor's cell the other way round."""
        screen = self._screen
        rows = [_row(screen.buffer[line], screen.columns) for line in range(screen.lines)]
        if not screen.cursor.hidden and not self.back:
            x, y = min(screen.cursor.x, screen.columns - 1), screen.cursor.y
            cell = rows[y][x]
            ink, paper = cell >> 24 & 0xFFFFFF, cell & 0xFFFFFF
            turned = cell >> 48 << 48 | paper << 24 | ink
            rows[y] = [*rows[y][:x], turned, *rows[y][x + 1 :]]
        if self.back:
            past = list(screen.past)[-self.back :]
            rows = [*past, *rows][: screen.lines]
        return rows

    def text(self) -> str:
        """What can be seen, as text."""
        lines = ("".join(chr(cell >> 48) for cell in row).rstrip() for row in self.rows())
        return "\n".join(lines).rstrip()


def _row(line: Any, columns: int) -> Row:
    return [_cell(line[column]) for column in range(columns)]


def _cell(char: Any) -> int:
    ink, paper = _colour(char.fg, _INK), _colour(char.bg, _PAPER)
    if char.reverse:
        ink, paper = paper, ink
    return letter(char.data[:1] or " ", ink, paper)


def _colour(name: str, default: int) -> int:
    if name == "default":
        return default
    known = _COLOURS.get(name)
    return int(name, 16) if known is None else known
