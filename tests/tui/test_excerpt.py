"""What a small picture of a text screen keeps."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from tui.live.cells import Row, char_of, letter
from tui.live.excerpt import excerpt, squeezed
from tui.live.letters import Page

GREY = 0xAAAAAA
WIDE, HIGH = 80, 25


def page(*lines: str) -> Page:
    """A screen with these lines."""
    padded = [line.ljust(WIDE) for line in lines] + [" " * WIDE] * (HIGH - len(lines))
    rows: list[Row] = [[letter(char, GREY, 0) for char in line] for line in padded]
    return Page(rows, (9, 16), "\n".join(line.rstrip() for line in padded))


def text(rows: Sequence[Row]) -> list[str]:
    return ["".join(map(char_of, row)) for row in rows]


def test_a_place_that_is_large_enough_has_all() -> None:
    whole = page("web login: _")
    assert excerpt(whole, WIDE, HIGH) == whole.rows


def test_what_stood_in_the_middle_or_at_the_edge_still_does() -> None:
    small = text(excerpt(page("READY".center(WIDE), "left" + "right".rjust(WIDE - 4)), 21, 25))
    assert small[0] == "READY".center(21)
    assert small[1] == "left" + " " * 12 + "right"


def test_columns_a_few_blanks_apart_stay_as_they_are() -> None:
    table = ["  PID USER   TIME", "    1 root   0:04", "12345 www    1:10"]
    assert [line.rstrip() for line in text(excerpt(page(*table), 24, HIGH))[:3]] == table


def test_a_frame_s_lines_give_way_as_blanks_do() -> None:
    box = ["┌" + "─" * 78 + "┐", "│" + "Install?".center(78) + "│", "└" + "─" * 78 + "┘"]
    small = text(excerpt(page(*box), 20, HIGH))
    assert small[:3] == [
        "┌" + "─" * 18 + "┐",
        "│" + "Install?".center(18) + "│",
        "└" + "─" * 18 + "┘",
    ]


def test_words_too_many_for_the_width_are_cut_at_the_end() -> None:
    long = " ".join(["word"] * 16)
    assert text(excerpt(page(long), 19, HIGH))[0] == long[:19]


def test_empty_lines_are_left_out_before_others_and_then_the_first_ones() -> None:
    spread = page("top", *[""] * 11, "middle", *[""] * 11, "end")
    assert [line.rstrip() for line in text(excerpt(spread, WIDE, 7))] == [
        "top", "", "", "middle", "", "", "end",
    ]  # fmt: skip
    full = page(*(f"line {number}" for number in range(HIGH)))
    assert [line.rstrip() for line in text(excerpt(full, WIDE, 3))] == [
        "line 22", "line 23", "line 24",
    ]  # fmt: skip


@given(st.text("ab ", max_size=40), st.integers(1, 40))
def test_nothing_but_what_repeats_is_left_out(line: str, room: int) -> None:
    left = squeezed(line, room, lambda char: char if char == " " else None, least=1)
    assert "".join(left).split() == line.split()
    assert len(left) <= room or "  " not in "".join(left)
    assert len(left) == min(room, len(line)) or len(left) > room
