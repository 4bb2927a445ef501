from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from broker.proxy import backoff
from broker.proxy.backoff import Backoff, network_of
from broker.proxy.gate import ConnectionRefused, SessionClosed
from broker.proxy.limits import Limits
from broker.spice.client import Linked
from broker.spice.client_link import LinkRefused
from broker.spice.constants import ChannelType
from tests.broker.proxy.fake_server import FakeServer
from tests.broker.proxy.rig import proxying


class Clock:
    def __init__(self) -> None:
        self.seconds = 100.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def waits(clock: Clock) -> Backoff:
    return Backoff(3, longest=60.0, forget=600.0, now=clock)


def test_the_first_failures_cost_nothing(waits: Backoff) -> None:
    waits.failed("192.0.2.1")
    waits.failed("192.0.2.1")
    assert waits.wait("192.0.2.1") == 0


def test_each_further_failure_doubles_the_wait_up_to_the_longest(waits: Backoff) -> None:
    for _ in range(2):
        waits.failed("192.0.2.1")
    seen = []
    for _ in range(9):
        waits.failed("192.0.2.1")
        seen.append(waits.wait("192.0.2.1"))
    assert seen == [1, 2, 4, 8, 16, 32, 60, 60, 60]


def test_the_wait_passes_and_others_have_none(waits: Backoff, clock: Clock) -> None:
    for _ in range(3):
        waits.failed("192.0.2.1")
    assert waits.wait("192.0.2.2") == 0
    clock.seconds += 1.5
    assert waits.wait("192.0.2.1") == 0


def test_who_was_quiet_for_long_begins_anew(waits: Backoff, clock: Clock) -> None:
    for _ in range(8):
        waits.failed("192.0.2.1")
    clock.seconds += 601
    waits.failed("192.0.2.1")
    assert waits.wait("192.0.2.1") == 0


def test_ten_thousand_failures_never_overflow(waits: Backoff) -> None:
    for _ in range(10_000):
        waits.failed("192.0.2.1")
    assert waits.wait("192.0.2.1") == 60


def test_what_is_remembered_is_bounded(waits: Backoff, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backoff, "ADDRESSES_MAX", 5)
    for _ in range(3):
        for number in range(20):
            waits.failed(f"192.0.2.{number}")
    assert len(waits._records) == 5


def test_none_waits_where_that_is_switched_off(clock: Clock) -> None:
    never = Backoff(0, 60, 600, clock)
    for _ in range(100):
        never.failed("192.0.2.1")
    assert never.wait("192.0.2.1") == 0


@pytest.mark.parametrize(
    ("host", "network"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8::1", "2001:db8::/64"),
        ("2001:db8::2%eth0", "2001:db8::/64"),
        ("somewhere", "somewhere"),
    ],
)
def test_an_ipv6_network_counts_as_one(host: str, network: str) -> None:
    assert network_of(host) == network


async def test_who_tries_many_tokens_is_refused_before_the_next(
    tmp_path: Path, fake: FakeServer
) -> None:
    limits = Limits(bad_tokens=3, backoff_seconds=60.0)
    async with proxying(tmp_path, limits=limits) as rig:
        for _ in range(3):
            guess = await rig.open(ChannelType.MAIN, ticket="guess")
            assert await guess.until(LinkRefused) == LinkRefused(7, ticket_judged=True)
        token = rig.gate.allow(fake.target)
        kept_out = await rig.open(ChannelType.MAIN, ticket=token)
        assert await kept_out.until(LinkRefused) == LinkRefused(7, ticket_judged=False)
        refused = await rig.gate.heard(ConnectionRefused, lambda n: n.reason == "back-off")
        assert "1 s" in refused.text


async def test_a_session_that_lives_is_not_touched(tmp_path: Path, fake: FakeServer) -> None:
    limits = Limits(bad_tokens=2, backoff_seconds=60.0, close_seconds=0.3)
    async with proxying(tmp_path, limits=limits) as rig:
        rig.gate.allow(fake.target)
        main = await rig.open(ChannelType.MAIN)
        opening = asyncio.ensure_future(main.until(Linked))
        await fake.main()
        await opening
        for _ in range(3):
            guess = await rig.open(ChannelType.MAIN, ticket="guess")
            await guess.until(LinkRefused)
        assert not [n for n in rig.gate.notices if isinstance(n, SessionClosed)]
        assert rig.proxy.session_count == 1
