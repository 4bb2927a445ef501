"""What of a picture goes first over a line that cannot take all of it."""

from __future__ import annotations

from tui.live.cells import Row
from tui.live.spread import TILE, Spread, changed

LINES, COLUMNS = 6, 4 * TILE
TILES = LINES * COLUMNS // TILE
CALM = (2, TILE)


def picture(turn: int, calm: int = 0) -> list[Row]:
    """Every cell is another one with each turn, but for one tile."""
    rows = [[turn * 1000 + line * COLUMNS + at for at in range(COLUMNS)] for line in range(LINES)]
    line, begin = CALM
    rows[line][begin : begin + TILE] = [calm] * TILE
    return list(rows)


def played(spread: Spread, turns: int) -> None:
    for turn in range(turns):
        spread.saw(picture(turn), picture(turn + 1))


def test_what_was_calm_goes_before_a_video() -> None:
    spread = Spread()
    played(spread, 30)
    spread.saw(picture(30), picture(31, calm=7))
    line, begin = CALM
    assert spread.choose(picture(30), picture(31, calm=7), TILE) == [(line, begin, begin + TILE)]


def test_what_changes_now_and_then_stays_before_a_video() -> None:
    spread = Spread()
    for turn in range(40):
        spread.saw(picture(turn, turn // 3), picture(turn + 1, (turn + 1) // 3))
    first = spread.choose(picture(0, 99), picture(41, 100), TILE)
    assert first == [(CALM[0], CALM[1], CALM[1] + TILE)]


def test_every_part_of_a_video_has_its_turn() -> None:
    spread = Spread()
    sent: set[tuple[int, int]] = set()
    for turn in range(TILES - 1):
        spread.saw(picture(turn), picture(turn + 1))
        (span,) = spread.choose(picture(turn), picture(turn + 1), TILE)
        sent.add(span[:2])
    assert len(sent) == TILES - 1


def test_what_was_typed_does_not_wait_for_the_end_of_a_new_picture() -> None:
    spread, blank = Spread(), [[0] * COLUMNS for _ in range(LINES)]
    new = [[1] * COLUMNS for _ in range(LINES)]
    spread.saw(blank, new)
    spread.choose(blank, new, TILE)
    typed = [*new[:-1], [*new[-1][:-TILE], *[2] * TILE]]
    spread.saw(new, typed)
    last = (LINES - 1, COLUMNS - TILE, COLUMNS)
    assert spread.choose(blank, typed, TILE) == [last]


def test_what_has_waited_longest_has_half_of_the_room_whatever_else_changes() -> None:
    spread, blank = Spread(), [[0] * COLUMNS for _ in range(LINES)]
    waits: set[tuple[int, int]] = set()
    shown = [list(row) for row in blank]
    before = [[1] * COLUMNS for _ in range(LINES)]
    spread.saw(blank, before)
    for turn in range(2 * TILES):
        busy = [turn] * COLUMNS if turn % 2 else before[0]
        wanted = [busy, *before[1:]]
        spread.saw(before, wanted)
        before = wanted
        for line, begin, end in spread.choose(shown, wanted, 2 * TILE):
            shown[line][begin:end] = wanted[line][begin:end]
            waits |= {(line, at) for at in range(begin, end)}
    assert len(waits) == LINES * COLUMNS


def test_a_video_is_known_for_one_after_a_few_pictures() -> None:
    spread = Spread()
    played(spread, 3)
    spread.saw(picture(3), picture(4, calm=7))
    line, begin = CALM
    assert spread.choose(picture(3), picture(4, calm=7), TILE) == [(line, begin, begin + TILE)]


def test_with_room_for_all_it_is_all_and_neighbours_go_together() -> None:
    spread = Spread()
    assert spread.choose(picture(0), picture(1, calm=1), 10_000) == [
        (line, 0, COLUMNS) for line in range(LINES)
    ]
    assert spread.choose(picture(1), picture(1), 10_000) == []


def test_a_row_s_last_tile_may_be_short() -> None:
    assert changed([[0] * 13], [[0] * 12 + [1]]) == [(0, 10)]
    assert Spread().choose([[0] * 13], [[0] * 12 + [1]], 1) == [(0, 10, 13)]


def test_a_video_that_changes_with_every_other_picture_is_one_all_the_same() -> None:
    spread = Spread()
    for turn in range(20):
        spread.saw(picture(turn // 2), picture((turn + 1) // 2))
    spread.saw(picture(10), picture(11, calm=7))
    line, begin = CALM
    assert spread.choose(picture(0), picture(11, calm=7), TILE) == [(line, begin, begin + TILE)]
    spread.saw(picture(11, calm=7), picture(12, calm=7))
    assert spread.choose(picture(0), picture(12, calm=7), TILE) == [(line, begin, begin + TILE)]
