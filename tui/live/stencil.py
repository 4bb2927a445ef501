"""Half blocks said in full, each with both its colours: quick to make, longer than need be. Pure.

All are of one length, numbers with zeros before them (ECMA-48, 5.4.2, has those mean nothing), so
that a whole picture is made by a few copies of columns and not by a turn of Python's for each cell.
It is for terminals that take what they get: a tenth more bytes for a tenth of the time.
"""

from __future__ import annotations

import itertools
import operator
import struct
from collections.abc import Sequence
from functools import lru_cache
from typing import Final

from tui.live.cells import Row

_CELL: Final = "\x1b[38;2;000;000;000;48;2;000;000;000m▀".encode()
CELL_BYTES: Final = len(_CELL)
_NUMBERS: Final = ((5, 7), (4, 11), (3, 15), (2, 24), (1, 28), (0, 32))
"""Which byte of a cell's eight is said where: red, green and blue above, and the same below."""
_DIGITS: Final = tuple(
    bytes(ord("0") + value // unit % 10 for value in range(256)) for unit in (100, 10, 1)
)
_HALVES: Final = 1 << 48
"""Below that a cell is two halves, and no letter."""
LEAST: Final = 8
"""Fewer cells are said as quickly one by one."""
PLACE_BYTES: Final = len(b"\x1b[999;999H")
"""What says where a run of cells begins has no more."""
_ALIKE: Final = 1 / 8
"""Where so large a share of the cells is as the one before, to say colours once saves more."""


def in_full(cells: Sequence[int]) -> bytearray | None:
    """Those cells one after the other, `CELL_BYTES` each; None where another way is better."""
    if len(cells) < LEAST or max(cells) >= _HALVES:
        return None
    if sum(map(operator.eq, cells, cells[1:])) > _ALIKE * len(cells):
        return None
    packed = struct.pack(f"<{len(cells)}Q", *cells)
    said = bytearray(_CELL * len(cells))
    for byte, place in _NUMBERS:
        values = packed[byte::8]
        for digit, table in enumerate(_DIGITS, place):
            said[digit::CELL_BYTES] = values.translate(table)
    return said


def all_at_once(changed: Sequence[tuple[int, Row, Row]], column: int, most: int) -> bytes | None:
    """What turns all those rows into others; None where another way is better, or it is too long.

    Args:
        changed: Lines on the terminal, from 1, with what is there and what is to be.
        column: Where the first cell of each is, from 1.
        most: Bytes that it may have.
    """
    # The rows one behind the other, each ended by a cell that stays: no run goes on in the next.
    old: list[int] = []
    new: list[int] = []
    places: list[bytes] = []
    for line, before, after in changed:
        old += before
        old.append(0)
        new += after
        new.append(0)
        places += _places(line, column, len(after) + 1)
    differs = bytes(map(operator.ne, old, new))
    # Of each run its first cell, and the first one behind it.
    number = int.from_bytes(differs, "little")
    edges = (number ^ number << 8).to_bytes(len(differs) + 1, "little")
    bounds = list(itertools.compress(range(len(edges)), edges))
    begins, ends = bounds[::2], bounds[1::2]
    if differs.count(1) * CELL_BYTES + len(begins) * PLACE_BYTES > most:
        return None
    full = in_full(list(itertools.compress(new, differs)))
    if full is None:
        return None
    said = bytes(full)
    sizes = map(operator.sub, ends, begins)
    cuts = [CELL_BYTES * cells for cells in itertools.accumulate(sizes, initial=0)]
    runs = map(said.__getitem__, map(slice, cuts, cuts[1:]))
    where = map(places.__getitem__, begins)
    return b"".join(itertools.chain.from_iterable(zip(where, runs, strict=True)))


@lru_cache(maxsize=256)
def _places(line: int, column: int, cells: int) -> tuple[bytes, ...]:
    """What moves the cursor to each cell of a line."""
    return tuple(b"\x1b[%d;%dH" % (line, at) for at in range(column, column + cells))
