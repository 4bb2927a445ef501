"""The dull loop, with looks that tell when they happened instead of clocks."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from broker.errors import SourceUnreachable
from broker.reconcile.loop import Loop


class Looks:
    """Counts looks at each key, and lets a test wait for the next one."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.at_once = 0
        self.most_at_once = 0
        self.fail: Exception | None = None
        self.gate = asyncio.Event()
        self.gate.set()
        self._more = asyncio.Condition()

    async def __call__(self, key: str) -> float | None:
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        async with self._more:
            self.seen.append(key)
            self._more.notify_all()
        await self.gate.wait()
        self.at_once -= 1
        if self.fail is not None:
            raise self.fail
        return None

    async def until(self, count: int) -> None:
        async with asyncio.timeout(60), self._more:
            await self._more.wait_for(lambda: len(self.seen) >= count)


@asynccontextmanager
async def running(loop: "Loop[str]") -> AsyncIterator[None]:
    task = asyncio.ensure_future(loop.run())
    try:
        yield
    finally:
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


async def test_each_key_is_looked_at_at_once() -> None:
    looks = Looks()
    loop: Loop[str] = Loop(looks, every=3600)
    loop.set_keys(["a", "b"])
    async with running(loop):
        await looks.until(2)
    assert sorted(looks.seen) == ["a", "b"]


async def test_many_wake_ups_during_a_look_become_one_more_look() -> None:
    looks = Looks()
    loop: Loop[str] = Loop(looks, every=3600)
    loop.set_keys(["a"])
    looks.gate.clear()
    async with running(loop):
        await looks.until(1)
        for _ in range(40):
            loop.wake("a")
        looks.gate.set()
        await looks.until(2)
        loop.wake("a")
        await looks.until(3)
    assert looks.seen == ["a", "a", "a"]
    assert looks.most_at_once == 1


async def test_a_failure_is_looked_at_again_and_does_not_end_the_loop() -> None:
    looks = Looks()
    looks.fail = SourceUnreachable("lab cannot be reached")
    loop: Loop[str] = Loop(looks, every=3600, pauses=(0.0,))
    loop.set_keys(["a"])
    async with running(loop):
        await looks.until(4)


async def test_a_bug_in_one_look_stops_no_other_key(caplog: pytest.LogCaptureFixture) -> None:
    looks = Looks()
    looks.fail = ZeroDivisionError("a driver's bug")
    loop: Loop[str] = Loop(looks, every=3600, pauses=(3600.0,))
    loop.set_keys(["a", "b"])
    async with running(loop):
        await looks.until(2)
    assert sorted(looks.seen) == ["a", "b"]
    assert "looking at" in caplog.text


async def test_a_key_that_is_taken_away_is_not_looked_at_again() -> None:
    looks = Looks()
    loop: Loop[str] = Loop(looks, every=3600)
    loop.set_keys(["a", "b"])
    async with running(loop):
        await looks.until(2)
        loop.set_keys(["b"])
        loop.wake("a")
        loop.wake("b")
        await looks.until(3)
    assert looks.seen[2] == "b"
    assert loop.keys == {"b"}
