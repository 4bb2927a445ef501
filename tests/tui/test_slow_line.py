"""What is typed shows soon on a slow line, also while the first picture is still on its way.

The parts that decide it, played on a line and by a clock that are reckoned: no time is waited for.
"""

from __future__ import annotations

import pytest

from tui.live.cells import COLOUR, Palette, Row, difference
from tui.live.pace import FRAME_SECONDS, Pace
from tui.live.spread import TILE, Spread

MEGABIT = 125_000.0
COLUMNS, LINES = 150, 47
TYPED = (43, 140)
"""The first of the cells that a key changes: near the end of what is sent first."""
DRAWN_SECONDS = 0.02
"""Until cells are made of a picture."""
GUEST_SECONDS = 0.03
"""From a key to its effect on the guest's screen."""
TILL_SEEN = 0.3
BLANK: Row = [1 << 60] * COLUMNS


def picture(turn: int, typed: bool) -> list[Row]:
    """One in which no cell is like its neighbours, and like none of another turn."""
    rows = []
    for line in range(LINES):
        row = []
        for at in range(COLUMNS):
            lower = (at * 11 + turn * 29 & 0xF8) << 16 | (line * 17 - turn * 9 & 0xF8) << 8
            row.append((lower ^ 0x70F0) << COLOUR | lower | 8)
        rows.append(row)
    line, at = TYPED
    rows[line][at : at + TILE] = [0xFFFFFF * typed] * TILE
    return list(rows)


def seen_after(pressed: float, *, video: bool, latency: float) -> float:
    """Seconds from a key to its effect on the terminal."""
    pace, spread, palette = Pace(), Spread(), Palette()
    shown: list[Row] = [BLANK] * LINES
    wanted = shown
    now = 0.0
    while now < pressed + 20:
        if now >= pressed:
            pace.typed(pressed)
        taken = max(now, now + pace.left(now) - DRAWN_SECONDS)
        before = wanted
        wanted = picture(int(taken * 18) if video else 0, taken >= pressed + GUEST_SECONDS)
        spread.saw(before, wanted)
        now = max(now + pace.due(now), taken + DRAWN_SECONDS)
        size = 0
        for line, begin, end in spread.choose(shown, wanted, pace.room(now) // 26):
            old, new = shown[line], wanted[line]
            text, _ = difference(
                old[begin:end], new[begin:end], line=1, column=1, palette=palette, most=COLUMNS
            )
            size += len(text)
            shown = [*shown[:line], [*old[:begin], *new[begin:end], *old[end:]], *shown[line + 1 :]]
        if not size:
            now += FRAME_SECONDS
            continue
        pace.sent(size, now)
        now += size / MEGABIT + latency
        if shown[TYPED[0]][TYPED[1]] == 0xFFFFFF:
            return now - pressed
        pace.answered(now)
    raise AssertionError("it never showed")


@pytest.mark.parametrize("video", [True, False])
@pytest.mark.parametrize("pressed", [0.0, 0.2, 0.5, 1.0, 4.0])
def test_what_is_typed_shows_soon_from_the_first_moment_on(pressed: float, video: bool) -> None:
    assert seen_after(pressed, video=video, latency=0.0) < TILL_SEEN


@pytest.mark.parametrize("pressed", [0.0, 0.5, 4.0])
def test_on_a_long_line_it_takes_a_few_of_its_round_trips(pressed: float) -> None:
    assert seen_after(pressed, video=True, latency=0.05) < 2 * TILL_SEEN
