"""When a loop stays awake for a moment, and when it leaves that alone."""

from __future__ import annotations

import socket
from contextlib import closing

import pytest

from broker.proxy.eagerness import (
    FORGET_SECONDS,
    LOOK_SECONDS,
    SAVED_MOST,
    SLEEPS_FIRST,
    SLEEPS_MOST,
    VAIN_COSTS,
    WORK_SECONDS,
    Eagerness,
)

hot_loop = pytest.importorskip("broker.proxy.hot_loop", exc_type=ImportError)
SHORT, QUICK = LOOK_SECONDS / 2, WORK_SECONDS / 2


def sleeps_until_eager(eagerness: Eagerness) -> int:
    count = 0
    while not eagerness.eager:
        eagerness.slept(SHORT, QUICK, 1)
        count += 1
        assert count <= SLEEPS_MOST
    return count


def test_short_sleeps_in_a_row_make_eager() -> None:
    assert sleeps_until_eager(Eagerness()) == SLEEPS_FIRST


def test_a_long_sleep_between_them_makes_them_begin_anew() -> None:
    eagerness = Eagerness()
    for _ in range(SLEEPS_FIRST - 1):
        eagerness.slept(SHORT, QUICK, 1)
    eagerness.slept(LOOK_SECONDS, QUICK, 1)
    assert sleeps_until_eager(eagerness) == SLEEPS_FIRST


def test_bulk_makes_nobody_eager_and_what_is_beside_it_outweighs_it() -> None:
    eagerness = Eagerness()
    for _ in range(SLEEPS_MOST):
        eagerness.slept(SHORT, WORK_SECONDS, 1)
        eagerness.slept(SHORT, QUICK, 1)
    assert not eagerness.eager
    for _ in range(SLEEPS_FIRST):
        eagerness.slept(SHORT, WORK_SECONDS, 1)
        eagerness.slept(SHORT, QUICK, 1)
        eagerness.slept(SHORT, QUICK, 1)
    assert eagerness.eager


def test_several_small_things_at_once_are_not_bulk() -> None:
    eagerness = Eagerness()
    for _ in range(SLEEPS_FIRST):
        eagerness.slept(SHORT, WORK_SECONDS, 2)
    assert eagerness.eager


def test_each_look_in_vain_asks_for_many_more() -> None:
    eagerness, wanted = Eagerness(), []
    for _ in range(12):
        wanted.append(sleeps_until_eager(eagerness))
        eagerness.in_vain()
    assert wanted[:3] == [SLEEPS_FIRST, 8 * SLEEPS_FIRST, 64 * SLEEPS_FIRST]
    assert wanted[-1] == SLEEPS_MOST
    eagerness.found()
    eagerness.in_vain()
    assert sleeps_until_eager(eagerness) == SLEEPS_MOST


def test_each_find_asks_for_half() -> None:
    eagerness = Eagerness()
    for _ in range(12):
        sleeps_until_eager(eagerness)
        eagerness.in_vain()
    eagerness.found()
    assert sleeps_until_eager(eagerness) == SLEEPS_MOST // 2
    for _ in range(20):
        eagerness.found()
    while eagerness.eager:
        eagerness.in_vain()
    assert sleeps_until_eager(eagerness) == 8 * SLEEPS_FIRST


@pytest.mark.parametrize("finds", [0, 1, VAIN_COSTS, 2 * VAIN_COSTS + 1, SAVED_MOST, 1000])
def test_finds_pay_for_looks_in_vain(finds: int) -> None:
    eagerness = Eagerness()
    sleeps_until_eager(eagerness)
    for _ in range(finds):
        eagerness.found()
    vain = 0
    while eagerness.eager:
        eagerness.in_vain()
        vain += 1
    assert vain == min(finds, SAVED_MOST) // VAIN_COSTS + 1


def test_after_a_pause_nothing_is_saved() -> None:
    eagerness = Eagerness()
    sleeps_until_eager(eagerness)
    for _ in range(SAVED_MOST):
        eagerness.found()
    eagerness.slept(FORGET_SECONDS, QUICK, 1)
    eagerness.in_vain()
    assert not eagerness.eager


def test_after_a_pause_it_is_worth_a_try_again() -> None:
    eagerness = Eagerness()
    for _ in range(12):
        sleeps_until_eager(eagerness)
        eagerness.in_vain()
    eagerness.slept(FORGET_SECONDS, QUICK, 1)
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
