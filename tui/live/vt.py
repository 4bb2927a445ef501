"""pyte's terminal, made to survive whatever a guest sends, and to keep the lines that scroll off.

pyte raises where a sequence has more, fewer or other parameters than it knows, and draws the rest
of some that it does not know at all. Its own HistoryScreen reads a third as fast as it; here the
line that scrolls off is kept as it goes.
"""

from __future__ import annotations

import inspect
import re
from collections import deque
from collections.abc import Callable
from typing import Any, Final

import pyte

KEPT_LINES: Final = 2000
_FOREIGN: Final = re.compile(rb"\x1b\[[<=>][\d;:]*[ -/]*[@-~]")
"""Private sequences (kitty's, xterm's) of which pyte would take a part for its own."""
_COLONS: Final = re.compile(rb"\x1b\[([\d;]*:[\d;:]*)m")
"""Colours and underlines said in ISO's way. Source: ITU-T T.416, 13.1.8."""
_BEGUN: Final = re.compile(rb"\x1b(?:\[[<=>\d;:]{0,64})?\Z")
_HOWS: Final = {"erase_in_line": range(3), "erase_in_display": range(4)}
"""What these know; of others pyte makes errors."""


class Line:
    """A line that has scrolled off: its cells as pyte keeps them."""

    __slots__ = ("cells",)

    def __init__(self, cells: list[Any]) -> None:
        self.cells = cells


class Terminal(pyte.Screen):
    """The screen. `past` holds what scrolled off, oldest first; `answers` what the guest asked."""

    def __init__(self, columns: int, lines: int) -> None:
        self.past: deque[Line] = deque(maxlen=KEPT_LINES)
        self.answers = bytearray()
        super().__init__(columns, lines)

    def index(self) -> None:
        """Keep the line that goes."""
        top, bottom = self.margins or (0, self.lines - 1)
        if self.cursor.y == bottom and top == 0:
            self._keep(0)
        super().index()

    def _keep(self, line: int) -> None:
        kept = self.buffer[line]
        self.past.append(Line([kept[column] for column in range(self.columns)]))

    def draw(self, data: str) -> None:
        """Draw; one at a time where one without width would end the text for pyte."""
        for part in (data,) if data.isascii() else data:
            super().draw(part)

    def write_process_input(self, data: str) -> None:
        """What the guest asked its terminal."""
        self.answers += data.encode()

    def resize(self, lines: int | None = None, columns: int | None = None) -> None:
        """Be of another size; the line with the cursor stays, and those above it if they can."""
        lines, columns = lines or self.lines, columns or self.columns
        over = max(0, self.cursor.y - lines + 1)
        for line in range(over):
            self._keep(line)
        kept = {line - over: cells for line, cells in self.buffer.items()}
        self.buffer.clear()
        for line, cells in kept.items():
            if 0 <= line < lines:
                for column in [each for each in cells if each >= columns]:
                    del cells[column]
                self.buffer[line] = cells
        self.lines, self.columns = lines, columns
        self.margins = None
        self.cursor.y -= over
        self.cursor.x = min(self.cursor.x, columns)
        self.dirty.update(range(lines))


def _tolerant(name: str) -> Callable[..., None]:
    """One of pyte's verbs, which takes of a sequence's parameters what it knows."""
    verb = getattr(Terminal, name)
    known = list(inspect.signature(verb).parameters.values())[1:]
    most: int | None = sum(
        each.kind is each.POSITIONAL_OR_KEYWORD and each.name != "private" for each in known
    )
    if any(each.kind is each.VAR_POSITIONAL for each in known):
        most = None
    has_private = any(each.name == "private" or each.kind is each.VAR_KEYWORD for each in known)
    hows = _HOWS.get(name)

    def act(self: Terminal, *parameters: int, private: bool = False) -> None:
        if private and not has_private:
            return
        if hows is not None and parameters and parameters[0] not in hows:
            return
        verb(self, *parameters[:most], **({"private": True} if private else {}))

    return act


for _name in set(pyte.Stream.csi.values()):
    setattr(Terminal, _name, _tolerant(_name))


class Stream:
    """Feeds a terminal bytes, cut anywhere."""

    def __init__(self, terminal: Terminal) -> None:
        self._stream = pyte.ByteStream(terminal)
        self._begun = b""

    def feed(self, data: bytes) -> None:
        """Have it do what they say."""
        data = self._begun + data
        begun = _BEGUN.search(data)
        self._begun = data[begun.start() :] if begun else b""
        data = data[: begun.start()] if begun else data
        self._stream.feed(_COLONS.sub(_plain, _FOREIGN.sub(b"", data)))


def _plain(colours: re.Match[bytes]) -> bytes:
    """The same with semicolons: `38:2::1:2:3` is `38;2;1;2;3`, `4:3` an underline."""
    said = []
    for part in colours[1].split(b";"):
        words = [word for word in part.split(b":") if word]
        is_colour = words[:1] in ([b"38"], [b"48"])
        said += words if is_colour else words[:1]
    return b"\x1b[" + b";".join(said) + b"m"
