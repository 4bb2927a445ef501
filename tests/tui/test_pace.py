"""When the next picture may go to the terminal, and how large: by a clock that the test tells."""

from __future__ import annotations

import itertools

import pytest

from tui.live.pace import (
    BLIND_RATE,
    FILLS_SECONDS,
    FIRST_BYTES,
    FRAME_SECONDS,
    HURRIES_SECONDS,
    HURRY_SECONDS,
    LEAST_BYTES,
    LOST_SECONDS,
    MOST_BYTES,
    MULTIPLEXED_RATE,
    SILENT_SECONDS,
    Pace,
)

MEGABIT = 125_000.0
"""Bytes a second."""


def play(
    pace: Pace, *, rate: float, seconds: float, latency: float = 0.0
) -> list[tuple[float, int]]:
    """A video on a line of so many bytes a second; when each frame went, and its bytes."""
    now, sent = 0.0, []
    while now < seconds:
        now += pace.due(now)
        assert not pace.waits
        size = pace.budget
        sent.append((now, size))
        pace.sent(size, now)
        assert pace.waits
        now += size / rate + latency
        assert pace.answered(now)
    return sent


def test_the_first_frame_may_go_at_once_and_is_small() -> None:
    pace = Pace()
    assert (pace.due(100.0), pace.waits, pace.budget) == (0.0, False, FIRST_BYTES)


def test_nothing_goes_before_the_terminal_has_drawn_what_went_before() -> None:
    pace = Pace()
    pace.sent(4000, 10.0)
    assert pace.waits
    assert pace.due(10.0 + FRAME_SECONDS) > 0
    assert pace.answered(10.5)
    assert pace.due(10.5) == 0.0


def test_a_quick_terminal_gets_fifteen_frames_a_second_and_whole_pictures() -> None:
    sent = play(Pace(), rate=50e6, seconds=5.0)
    assert 74 <= len(sent) <= 77
    gaps = [after[0] - before[0] for before, after in itertools.pairwise(sent)]
    assert min(gaps) == pytest.approx(FRAME_SECONDS)
    assert sent[-1][1] == MOST_BYTES


def test_a_slow_line_is_never_busy_for_long_so_a_key_waits_behind_little() -> None:
    sent = play(Pace(), rate=MEGABIT, seconds=20.0)
    assert {size <= MEGABIT * FILLS_SECONDS * 1.01 for _, size in sent[5:]} == {True}
    assert sum(size for _, size in sent) / 20.0 > MEGABIT / 2


def test_a_line_that_becomes_slow_is_sent_less_within_a_few_frames() -> None:
    pace = Pace()
    play(pace, rate=50e6, seconds=2.0)
    assert pace.budget == MOST_BYTES
    now = 100.0
    for _ in range(8):
        pace.sent(pace.budget, now)
        now += pace.budget / MEGABIT
        pace.answered(now)
    assert pace.budget < 4 * MEGABIT * FILLS_SECONDS


def test_the_budget_has_bounds_on_the_worst_line_too() -> None:
    assert {size >= LEAST_BYTES for _, size in play(Pace(), rate=100.0, seconds=200.0)} == {True}


def test_small_frames_say_nothing_about_the_line() -> None:
    pace = Pace()
    pace.sent(LEAST_BYTES - 1, 1.0)
    pace.answered(3.0)
    assert pace.budget == FIRST_BYTES


def test_a_terminal_that_never_answers_is_sent_what_most_can_take() -> None:
    pace = Pace()
    pace.sent(4000, 0.0)
    assert pace.due(SILENT_SECONDS / 2) == pytest.approx(SILENT_SECONDS / 2)
    assert pace.due(SILENT_SECONDS) == 0.0
    assert not pace.waits
    assert pace.budget == int(BLIND_RATE * FRAME_SECONDS)
    pace.sent(200_000, 2.0)
    assert pace._next == pytest.approx(2.0 + 200_000 / BLIND_RATE)


def test_a_terminal_that_did_answer_is_given_more_time() -> None:
    pace = Pace()
    pace.sent(4000, 0.0)
    pace.answered(0.1)
    budget = pace.budget
    pace.sent(4000, 1.0)
    assert pace.due(1.0 + SILENT_SECONDS) > 0
    assert pace.due(1.0 + LOST_SECONDS) == 0.0
    assert not pace.waits
    assert pace.budget == budget


def test_answers_that_nobody_asked_for_are_nobody_s() -> None:
    pace = Pace()
    assert not pace.answered(1.0)
    pace.sent(4000, 2.0)
    assert pace.answered(2.1)
    assert not pace.answered(2.2)


def test_where_tmux_answers_for_the_terminal_there_is_a_ceiling() -> None:
    sent = play(Pace(multiplexed=True), rate=50e6, seconds=10.0)
    assert sum(size for _, size in sent[:-1]) <= MULTIPLEXED_RATE * 10.1
    assert max(size for _, size in sent) <= MULTIPLEXED_RATE * FILLS_SECONDS


def test_an_answer_to_a_frame_that_was_given_up_is_not_the_next_one_s() -> None:
    pace = Pace()
    first = pace.number
    pace.sent(100_000, 0.0)
    assert pace.due(SILENT_SECONDS) == 0.0
    budget, second = pace.budget, pace.number
    pace.sent(4000, 3.1)
    assert not pace.answered(3.2, first)
    assert (pace.waits, pace.budget) == (True, budget)
    assert pace.answered(3.3, second)


def test_a_line_that_is_long_and_wide_is_sent_whole_pictures() -> None:
    sent = play(Pace(), rate=10e6, seconds=20.0, latency=0.15)
    assert sent[-1][1] > 10e6 * FILLS_SECONDS / 2


def test_a_line_that_is_long_and_slow_is_not_filled_for_long() -> None:
    sent = play(Pace(), rate=MEGABIT, seconds=60.0, latency=0.15)
    assert {size <= 1.3 * MEGABIT * FILLS_SECONDS for _, size in sent[5:]} == {True}


def test_who_types_waits_behind_less_of_a_slow_line() -> None:
    pace = Pace()
    play(pace, rate=MEGABIT, seconds=5.0)
    pace.typed(10.0)
    assert pace.room(10.0) == pytest.approx(MEGABIT * HURRY_SECONDS, rel=0.1)
    pace.sent(pace.room(10.0), 10.0)
    assert pace.answered(10.0 + HURRY_SECONDS)
    assert pace.due(10.0 + HURRY_SECONDS * 1.1) == 0.0
    assert pace.room(10.0 + HURRIES_SECONDS) == pace.budget


def test_on_a_quick_line_typing_changes_nothing() -> None:
    pace = Pace()
    play(pace, rate=50e6, seconds=2.0)
    pace.typed(10.0)
    assert pace.room(10.0) == pace.budget == MOST_BYTES
    pace.sent(pace.budget, 10.0)
    pace.answered(10.01)
    assert pace.due(10.01) == pytest.approx(FRAME_SECONDS - 0.01)


@pytest.mark.parametrize("latency", [0.0, 0.15])
def test_when_the_line_will_be_free_is_known_while_it_is_not(latency: float) -> None:
    pace = Pace()
    assert pace.left(0.0) == 0.0
    play(pace, rate=MEGABIT, seconds=20.0, latency=latency)
    pace.sent(7000, 30.0)
    free = max(FRAME_SECONDS, 7000 / MEGABIT + latency)
    assert pace.left(30.0) == pytest.approx(free, abs=0.02)
    assert pace.left(30.05) == pytest.approx(free - 0.05, abs=0.02)
    pace.answered(30.0 + free)
    assert pace.left(30.1 + free) == 0.0


def test_frames_that_go_a_little_late_are_fifteen_a_second_all_the_same() -> None:
    pace, now, gone = Pace(), 0.0, 0
    while now < 10.0:
        now += pace.due(now) + 0.01
        pace.sent(4000, now)
        gone += 1
        assert pace.answered(now + 0.001)
    assert 148 <= gone <= 152
