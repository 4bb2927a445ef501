from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from broker.errors import Unreachable
from broker.headless.run import Pace, Path, measure, percentile

AT_ONCE = Pace(cadence=0.0, samples=3, limit=40.0, jitter=0.0)


class Answers:
    """A probe that gives what it was told to give."""

    def __init__(self, answers: list[float | None]) -> None:
        self.stray, self.dropped = 1, 2
        self._answers = answers

    async def sample(self, patience: float) -> float | None:
        if not self._answers:
            raise Unreachable("the session has ended")
        return self._answers.pop(0)


def path(name: str, answers: list[float | None], opened: list[str] | None = None) -> Path:
    @contextlib.asynccontextmanager
    async def probing() -> AsyncIterator[Answers]:
        if opened is not None:
            opened.append(name)
        yield Answers(answers)

    return Path(name, probing)


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("broker.headless.run.WATCH_SECONDS", 0.0)


async def test_samples_are_kept_and_what_was_not_answered_is_counted() -> None:
    one, told = path("one", [0.1, None, 0.3]), []
    await measure([one], AT_ONCE, lambda of, sample: told.append((of.name, sample)))
    assert (one.samples, one.unmatched, one.stray, one.dropped) == ([0.1, 0.3], 1, 1, 2)
    assert told == [("one", 0.1), ("one", None), ("one", 0.3)]


async def test_two_paths_take_turns() -> None:
    opened: list[str] = []
    both = [path(name, [0.1] * 25, opened) for name in ("a", "b")]
    await measure(both, replace(AT_ONCE, samples=9, block=4), lambda *_: None)
    assert opened == ["a", "b"] * 3
    assert [len(each.samples) for each in both] == [9] * 2


async def test_an_answer_is_waited_for_longer_than_until_the_next_question_is_due() -> None:
    asked: list[float] = []

    class Slow(Answers):
        async def sample(self, patience: float) -> float | None:
            asked.append(patience)
            return 0.1

    @contextlib.asynccontextmanager
    async def probing() -> AsyncIterator[Slow]:
        yield Slow([])

    for patience in (None, 7.0):
        await measure(
            [Path("one", probing)], replace(AT_ONCE, samples=1, patience=patience), lambda *_: None
        )
    assert asked == [0.0, 7.0]


async def test_a_session_that_ends_keeps_what_was_measured() -> None:
    one = path("one", [0.1])
    with pytest.raises(Unreachable):
        await measure([one], AT_ONCE, lambda *_: None)
    assert one.samples == [0.1]


async def test_a_run_ends_when_its_time_is_over() -> None:
    async def never() -> None:
        await asyncio.Event().wait()

    class Silent(Answers):
        async def sample(self, patience: float) -> float | None:
            await never()
            return None

    @contextlib.asynccontextmanager
    async def probing() -> AsyncIterator[Silent]:
        yield Silent([])

    one = Path("one", probing)
    await measure([one], Pace(0.0, 3, 0.01), lambda *_: None)
    assert (one.samples, one.unmatched) == ([], 0)


@pytest.mark.parametrize(
    ("samples", "share", "expected"),
    [
        ([], 0.5, None),
        ([3.0], 0.99, 3.0),
        ([1.0, 2.0, 3.0, 4.0], 0.5, 2.0),
        ([4.0, 1.0, 3.0, 2.0], 0.9, 4.0),
        ([1.0, 2.0], 0.0, 1.0),
    ],
)
def test_percentiles(samples: list[float], share: float, expected: float | None) -> None:
    assert percentile(samples, share) == expected
