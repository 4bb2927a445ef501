"""Who takes a new viewer: relays that count bytes as they are told to, and a clock of our own."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from broker.model import SessionId
from broker.proxy.courtesy import (
    BUSY_SECONDS,
    CHANNELS_PER_STEP,
    COURTESY_SECONDS,
    LOOK_SECONDS,
    NEIGHBOURS_SECONDS,
    STEPS_MOST,
    Courtesy,
    Name,
)


@dataclass
class Channel:
    carried: tuple[int, int] = (100, 0)

    def carries(self) -> None:
        to_client, to_server = self.carried
        self.carried = to_client, to_server + 8


@dataclass
class Worker:
    now: float = 0.0
    neighbours: bool = True
    asked: int = 0
    opened: int = 0
    relays: dict[Name, Channel] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.courtesy = Courtesy(self.relays, self.has_neighbours, lambda: self.now)

    def has_neighbours(self) -> bool:
        self.asked += 1
        return self.neighbours

    def opens(self, count: int = 1) -> list[Channel]:
        found = [Channel() for _ in range(count)]
        for each in found:
            self.opened += 1
            self.relays[SessionId("s"), f"inputs.{self.opened}"] = each
        return found

    def waits(self, *busy: Channel) -> float:
        """After a while in which these carried something."""
        self.courtesy()
        self.now += LOOK_SECONDS
        for each in busy:
            each.carries()
        return self.courtesy()


def test_a_worker_that_carries_something_lets_the_others_go_first() -> None:
    worker = Worker()
    (channel,) = worker.opens()
    assert worker.waits(channel) == COURTESY_SECONDS


def test_channels_that_only_stay_open_keep_nobody_waiting() -> None:
    worker = Worker()
    channel, *_ = worker.opens(100)
    assert worker.waits() == 0
    assert worker.waits(channel) == COURTESY_SECONDS
    assert worker.waits() == COURTESY_SECONDS
    worker.now += BUSY_SECONDS
    assert worker.waits() == 0


def test_what_began_just_now_does_not_count() -> None:
    worker = Worker()
    for _ in range(10):  # a storm: each viewer is gone at the next look
        worker.relays.clear()
        (channel,) = worker.opens()
        worker.now += LOOK_SECONDS
        assert worker.courtesy() == 0
        channel.carries()
        assert worker.courtesy() == 0


@pytest.mark.parametrize(
    ("busy", "steps"),
    [
        (1, 1),
        (CHANNELS_PER_STEP - 1, 1),
        (CHANNELS_PER_STEP, 2),
        (100 * CHANNELS_PER_STEP, STEPS_MOST),
    ],
)
def test_the_more_it_carries_the_longer_it_waits(busy: int, steps: int) -> None:
    worker = Worker()
    assert worker.waits(*worker.opens(busy)) == pytest.approx(steps * COURTESY_SECONDS)


def test_who_is_alone_never_waits_and_looks_round_seldom() -> None:
    worker = Worker(neighbours=False)
    (channel,) = worker.opens()
    assert worker.waits(channel) == 0
    for _ in range(3):
        assert worker.courtesy() == 0
    assert worker.asked == 1
    worker.neighbours = True
    worker.now += NEIGHBOURS_SECONDS
    assert worker.waits(channel) == COURTESY_SECONDS
