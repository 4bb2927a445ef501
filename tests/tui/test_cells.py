"""What a terminal is sent is what it shall show."""

from __future__ import annotations

from collections.abc import Sequence

import pyte
import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.view import Frame
from tui.live.cells import COLOUR, HALF, LETTER, Palette, Row, difference, letter, written
from tui.live.shades import Shrinker, fit
from tui.live.stencil import CELL_BYTES, LEAST, all_at_once, in_full

COLOURS = st.sampled_from([0x000000, 0xFFFFFF, 0x102030, 0xF8F8F8])
HALVES = st.builds(lambda ink, paper: ink << COLOUR | paper, COLOURS, COLOURS)
LETTERS = st.builds(letter, st.sampled_from("aZ ~"), COLOURS, COLOURS)
PAIRS = st.lists(st.tuples(st.one_of(HALVES, LETTERS), st.one_of(HALVES, LETTERS)), max_size=30)
MIXED = PAIRS.map(lambda pairs: [(a, a) if a & 1 << COLOUR else (a, b) for a, b in pairs])
PIXELS = st.integers(0, (1 << LETTER) - 1)
PICTURES = st.lists(st.tuples(PIXELS, PIXELS), min_size=LEAST, max_size=30)
"""Hardly a cell is like another, as in a photograph."""


def shown(screen: pyte.Screen, line: int, columns: int) -> list[tuple[str, int, int]]:
    """Letters and colours of the first cells of a line."""
    cells = [screen.buffer[line][column] for column in range(columns)]
    return [(cell.data, int(cell.fg, 16), int(cell.bg, 16)) for cell in cells]


def meant(row: Row) -> list[tuple[str, int, int]]:
    return [
        (chr(cell >> 48) if cell >> 48 else HALF, cell >> COLOUR & 0xFFFFFF, cell & 0xFFFFFF)
        for cell in row
    ]


@given(pairs=st.one_of(PAIRS, MIXED, PICTURES), most=st.integers(0, 40))
def test_a_row_becomes_the_other_as_far_as_was_said(
    pairs: list[tuple[int, int]], most: int
) -> None:
    old, new = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    screen = pyte.Screen(40, 3)
    stream = pyte.ByteStream(screen)
    stream.feed(f"\x1b[2;1H{written(old, Palette())}".encode())

    said, upto = difference(old, new, line=2, column=1, palette=Palette(), most=most)
    stream.feed(said)

    assert shown(screen, 1, len(pairs)) == meant([*new[:upto], *old[upto:]])
    assert sum(a != b for a, b in zip(old[:upto], new[:upto], strict=True)) <= most
    assert upto == len(new) or old[upto] != new[upto]


@given(rows=st.lists(PICTURES, min_size=1, max_size=3), same=st.sets(st.integers(0, 90)))
def test_many_rows_become_others_at_once(rows: list[list[tuple[int, int]]], same: set[int]) -> None:
    screen = pyte.Screen(40, 4)
    stream = pyte.ByteStream(screen)
    changed: list[tuple[int, Row, Row]] = []
    for line, pairs in enumerate(rows, 2):
        new = [pair[1] for pair in pairs]
        old = [new[at] if 30 * line - 60 + at in same else pairs[at][0] for at in range(len(new))]
        stream.feed(f"\x1b[{line};1H{written([0, 0, *old], Palette())}".encode())
        changed.append((line, old, new))

    said = all_at_once(changed, 3, 1 << 20)

    differing = [b for _, *both in changed for a, b in zip(*both, strict=True) if a != b]
    assert (said is None) == (in_full(differing) is None)
    if said is None:
        return
    stream.feed(said)
    for line, _, row in changed:
        assert shown(screen, line - 1, 2 + len(row)) == meant([0, 0, *row])
    assert all_at_once(changed, 3, len(differing) * CELL_BYTES) is None


@pytest.mark.parametrize(
    "cells",
    [range(LEAST - 1), [7] * 40, [*range(40), letter("a", 1, 2)]],
    ids=["few", "alike", "letters"],
)
def test_what_another_way_says_better_is_not_said_in_full(cells: Sequence[int]) -> None:
    assert in_full(cells) is None


@pytest.mark.parametrize("form", ["RGB", "BGRX"])
def test_a_pixel_s_colours_are_the_same_in_either_order(form: str) -> None:
    red, blue = 0xF80000, 0x0000F8
    pixels = {"RGB": b"\xf8\0\0\0\0\xf8", "BGRX": b"\0\0\xf8\x55\xf8\0\0\xaa"}[form]
    frame = Frame(1, 2, "RGB" if form == "RGB" else "BGRX", pixels)

    (row,) = Shrinker().rows(frame, fit(1, 2, 1, 1))

    assert [row[0] >> COLOUR, row[0] & 0xFFFFFF] == [red | 0x070000, blue | 0x07]
