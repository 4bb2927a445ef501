"""When a loop stays awake for a moment, and when it leaves that alone."""

from __future__ import annotations

import socket
from contextlib import closing

import pytest

from broker.proxy.eagerness import (
    FORGET_SECONDS,
    LOOK_SECONDS,
    SLEEPS_FIRST,
    SLEEPS_MOST,
    WORK_SECONDS,
    Eagerness,
)

hot_loop = pytest.importorskip("broker.proxy.hot_loop", exc_type=ImportError)
SHORT, QUICK = LOOK_SECONDS / 2, WORK_SECONDS / 2


def sleeps_until_eager(eagerness: Eagerness) -> int:
    count = 0
    while not eagerness.eager:
        eagerness.slept(SHORT, QUICK)
        count += 1
        assert count <= SLEEPS_MOST
    return count


def test_short_sleeps_in_a_row_make_eager() -> None:
    assert sleeps_until_eager(Eagerness()) == SLEEPS_FIRST


@pytest.mark.parametrize(("seconds", "worked"), [(LOOK_SECONDS, QUICK), (SHORT, WORK_SECONDS)])
def test_a_long_sleep_or_bulk_between_them_makes_them_begin_anew(
    seconds: float, worked: float
) -> None:
    eagerness = Eagerness()
    for _ in range(SLEEPS_FIRST - 1):
        eagerness.slept(SHORT, QUICK)
    eagerness.slept(seconds, worked)
    assert sleeps_until_eager(eagerness) == SLEEPS_FIRST


def test_each_look_in_vain_asks_for_many_more_and_each_find_for_half() -> None:
    eagerness, wanted = Eagerness(), []
    for _ in range(12):
        wanted.append(sleeps_until_eager(eagerness))
        eagerness.in_vain()
    assert wanted[:3] == [SLEEPS_FIRST, 8 * SLEEPS_FIRST, 64 * SLEEPS_FIRST]
    assert wanted[-1] == SLEEPS_MOST
    eagerness.found()
    assert sleeps_until_eager(eagerness) == SLEEPS_MOST // 2
    for _ in range(20):
        eagerness.found()
    eagerness.in_vain()
    assert sleeps_until_eager(eagerness) == 8 * SLEEPS_FIRST


def test_after_a_pause_it_is_worth_a_try_again() -> None:
    eagerness = Eagerness()
    for _ in range(12):
        sleeps_until_eager(eagerness)
        eagerness.in_vain()
    eagerness.slept(FORGET_SECONDS, QUICK)
    assert sleeps_until_eager(eagerness) == SLEEPS_FIRST


def test_a_loop_that_looks_in_vain_sleeps_then_and_one_that_finds_calls() -> None:
    near, far = socket.socketpair()
    with closing(hot_loop.HotSelector()) as selector, near, far:
        near.setblocking(False)
        heard: list[bytes] = []
        selector.add_reader(near.fileno(), lambda: heard.append(near.recv(9)))
        selector.eagerness.eager = True
        assert selector.select(0.001) == []
        assert (heard, selector.eagerness.eager) == ([], False)
        selector.eagerness.eager = True
        far.send(b"x")
        assert selector.select(0.001) == []
        assert heard == [b"x"]
