"""The part of a text screen that says most, for a place that is too small for all of it.

Blanks go first, where most of them are: what stood in the middle still does, what stood at the
right edge too, and columns that are a few blanks apart stay where they are.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Hashable, Sequence
from itertools import groupby
from typing import Final, TypeVar

from tui.live.cells import COLOUR, LETTER, Row
from tui.live.letters import Page

T = TypeVar("T")
_BACKGROUND: Final = (1 << COLOUR) - 1
_SPACE: Final = ord(" ")
_DRAWN: Final = range(0x2500, 0x25A0)
"""Lines, boxes and blocks; as long as their place, like blanks."""


def excerpt(page: Page, width: int, height: int) -> list[Row]:
    """At most `height` rows of at most `width` cells."""
    says = [bool(line.strip()) for line in page.text.split("\n")]
    says += [False] * (len(page.rows) - len(says))
    lines = list(zip(page.rows, says, strict=False))
    rows = [row for row, _ in squeezed(lines, height, _silence, least=0)[-height:]]
    return [squeezed(row, width, _filling, least=1)[:width] for row in rows]


def squeezed(
    things: Sequence[T], room: int, kind: Callable[[T], Hashable], *, least: int
) -> Sequence[T]:
    """As many as there is room for, if leaving out things that repeat is enough; else still more.

    Args:
        kind: Neighbours of one kind repeat each other; of kind None all are kept.
        least: How many of a run stay in any case.
    """
    if len(things) <= room:
        return things
    runs = [(named is None, list(run)) for named, run in groupby(things, kind)]
    kept = sum(len(run) for all_of_it, run in runs if all_of_it)
    lengths = [len(run) for all_of_it, run in runs if not all_of_it]

    def taken(most: int) -> int:
        return kept + sum(min(length, most) for length in lengths)

    most = max(least, bisect_right(range(room + 1), room, key=taken) - 1)
    more = room - taken(most)
    left: list[T] = []
    for all_of_it, run in reversed(runs):
        keep = len(run) if all_of_it else most
        if len(run) > keep and more > 0:  # what could not be shared out evenly goes to the last
            keep, more = keep + 1, more - 1
        left[:0] = run[:keep]
    return left


def _silence(line: tuple[Row, bool]) -> Hashable:
    return None if line[1] else tuple(line[0])


def _filling(cell: int) -> Hashable:
    code = cell >> LETTER
    if code == _SPACE:
        return cell & _BACKGROUND
    return cell if code in _DRAWN else None
