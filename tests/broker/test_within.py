"""A time-out in a task that is being cancelled; all else about it is asyncio's."""

from __future__ import annotations

import asyncio

import pytest

from broker.owned import owned
from broker.within import within


async def never() -> None:
    await asyncio.get_running_loop().create_future()


async def test_what_takes_too_long_is_broken_off() -> None:
    with pytest.raises(TimeoutError):
        async with within(0.01) as limit:
            await never()
    assert limit.expired()


async def test_what_does_not_goes_on() -> None:
    async with within(None), within(60) as limit:
        await asyncio.sleep(0)
    assert not limit.expired()


async def test_cleaning_up_after_a_cancellation_has_time_outs_too() -> None:
    seen: list[str] = []

    async def life() -> None:
        try:
            await never()
        finally:
            try:
                async with within(0):
                    await never()
            except TimeoutError:
                seen.append("the harder way")

    task = owned(life(), name="life")
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert seen == ["the harder way"]


@pytest.mark.parametrize("before", [0, 1])
async def test_a_cancellation_of_others_passes(before: int) -> None:
    async def life() -> None:
        task = asyncio.current_task()
        assert task is not None
        if before:
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await never()
        async with within(0.01) as limit:
            try:
                await never()
            except asyncio.CancelledError:
                assert limit.expired()
                task.cancel()  # and in that moment it is cancelled from outside as well
                raise

    with pytest.raises(asyncio.CancelledError):
        await owned(life(), name="life")
