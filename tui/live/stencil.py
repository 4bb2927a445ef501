"""Half blocks said in full, each with both its colours: quick to make, longer than need be. Pure.

All are of one length, numbers with zeros before them (ECMA-48, 5.4.2, has those mean nothing), so
that a whole row is made by a few copies of columns and not by a turn of Python's for each cell. It
is for terminals that take what they get: a tenth more bytes for a tenth of the time.
"""

from __future__ import annotations

import operator
import struct
from collections.abc import Sequence
from typing import Final

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
