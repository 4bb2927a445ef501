"""A wait that is no future: what a task sees of it, on our loop and on asyncio's own."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from broker.proxy.stage import Patience, Stage
from broker.proxy.waiting import Wait
from broker.proxy.watch import new_loop

name: contextvars.ContextVar[str] = contextvars.ContextVar("name", default="")


@pytest.fixture(params=[new_loop, asyncio.SelectorEventLoop], ids=["ours", "asyncio"])
def run(request: pytest.FixtureRequest) -> Callable[[Coroutine[Any, Any, Any]], Any]:
    def runs(main: Coroutine[Any, Any, Any]) -> Any:
        with asyncio.Runner(loop_factory=request.param) as runner:
            return runner.run(main)

    return runs


async def from_the_loop(callback: Callable[[], object]) -> None:
    """Call it where no task's step is under way, as a descriptor's callback is."""
    done = asyncio.get_running_loop().create_future()

    def call() -> None:
        callback()
        done.set_result(None)

    asyncio.get_running_loop().call_soon(call)
    await done


Run = Callable[[Coroutine[Any, Any, Any]], Any]


def test_a_task_goes_on_before_wake_returns_and_waits_again(run: Run) -> None:
    seen: list[str] = []

    async def waits(wait: Wait) -> None:
        name.set("its own")
        for step in ("first", "second"):
            await wait
            seen.append(f"{step}, {name.get()}")

    async def main() -> None:
        wait = Wait(asyncio.get_running_loop())
        task = asyncio.create_task(waits(wait))
        await asyncio.sleep(0)

        def wakes() -> None:
            for _ in range(2):
                assert wait.is_awaited
                wait.wake()
                seen.append("woken")

        await from_the_loop(wakes)
        assert not wait.is_awaited
        wait.wake()  # nobody waits any more
        await task

    run(main())
    assert seen == ["first, its own", "woken", "second, its own", "woken"]


def test_a_task_that_waits_can_be_cancelled_and_may_wait_once_more(run: Run) -> None:
    async def waits(wait: Wait) -> str:
        try:
            await wait
        except asyncio.CancelledError:
            await wait
            return "woken after all"
        return "not cancelled"

    async def main() -> str:
        wait = Wait(asyncio.get_running_loop())
        task = asyncio.create_task(waits(wait))
        await asyncio.sleep(0)
        task.cancel()
        assert not wait.is_awaited
        wait.wake()  # too late: it is cancelled already
        await asyncio.sleep(0)
        assert wait.is_awaited
        await from_the_loop(wait.wake)
        return await task

    assert run(main()) == "woken after all"


def test_one_that_is_cancelled_before_it_waits_does_not_begin_to(run: Run) -> None:
    async def waits(wait: Wait) -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await wait

    async def main() -> None:
        wait = Wait(asyncio.get_running_loop())
        task = asyncio.create_task(waits(wait))
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not wait.is_awaited
        assert not wait.cancel()

    run(main())


def test_what_a_step_raises_is_its_tasks_and_not_the_wakers(run: Run) -> None:
    async def waits(wait: Wait) -> None:
        await wait
        raise ValueError("its own")

    async def main() -> None:
        wait = Wait(asyncio.get_running_loop())
        task = asyncio.create_task(waits(wait))
        await asyncio.sleep(0)
        await from_the_loop(wait.wake)
        with pytest.raises(ValueError, match="its own"):
            await task

    run(main())


def test_a_stage_breaks_it_off(run: Run) -> None:
    async def main() -> None:
        wait = Wait(asyncio.get_running_loop())
        with pytest.raises(TimeoutError), Stage(None, Patience(0.01)):
            await wait
        assert not wait.is_awaited
        task = asyncio.current_task()
        assert task is not None
        assert not task.cancelling()

    run(main())
