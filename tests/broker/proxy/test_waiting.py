"""A wait that is no future: what a task sees of it, on our loop and on asyncio's own."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable, Coroutine, Generator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.proxy.session import Session, SessionOver
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
        try:
            callback()
        except Exception as exc:
            done.set_exception(exc)
        else:
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


def test_what_ends_a_process_passes_through(run: Run) -> None:
    async def waits(wait: Wait) -> None:
        await wait
        raise SystemExit(3)

    async def main() -> None:
        wait = Wait(asyncio.get_running_loop())
        task = asyncio.create_task(waits(wait))
        await asyncio.sleep(0)
        asyncio.get_running_loop().call_soon(wait.wake)
        await task

    with pytest.raises(SystemExit):
        run(main())


# --- the same as a future, whatever happens ------------------------------------------------------


class ByFuture:
    """What a wait does in place of."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._future: asyncio.Future[None] = loop.create_future()

    def __await__(self) -> Generator[Any, None, None]:
        self._future = self._loop.create_future()
        return self._future.__await__()

    def wake(self) -> None:
        if not self._future.done():
            self._future.set_result(None)


Log = list[tuple[object, ...]]
GUARDS = ("none", "stage", "session", "timeout", "session in timeout")
THEN = ("goes on", "ends", "takes it back", "waits once more")
HAPPENS = (
    "wake", "cancel", "cancel cancel", "cancel wake", "late", "late cancel", "cancel late",
    "late wake", "end", "end cancel", "cancel end", "outer", "outer late", "late outer",
    "end late", "late end", "cancel wake cancel",
)  # fmt: skip
"""Each in one callback of the loop. What comes behind a wake there finds a future's task not yet
woken, and ours in its next wait; so nothing does."""


async def settle() -> None:
    """Everything that follows has happened."""
    for _ in range(6):
        await asyncio.sleep(0)


async def seen_by_a_task(
    wait: Wait | ByFuture, waits: list[tuple[str, str]], happens: list[str]
) -> Log:
    """What a task sees that waits in those ways, while that happens to it."""
    seen: Log = []
    session = Session(1, None, None)  # type: ignore[arg-type]  # nobody asks who it is
    patience = Patience(1000)
    timeouts: set[asyncio.Timeout] = set()

    async def guarded(guard: str) -> None:
        if guard == "none":
            await wait
        elif guard == "stage":
            with Stage(None, patience):
                await wait
        elif guard == "session":
            with Stage(session, patience):
                await wait
        else:
            async with asyncio.timeout(1000) as timeout:
                timeouts.add(timeout)
                try:
                    await (wait if guard == "timeout" else guarded("session"))
                finally:
                    timeouts.discard(timeout)

    async def life() -> str:
        task = asyncio.current_task()
        assert task is not None
        for guard, then in waits:
            try:
                await guarded(guard)
                seen.append(("woken", task.cancelling()))
            except (SessionOver, TimeoutError) as exc:
                seen.append((repr(exc), task.cancelling()))
            except asyncio.CancelledError:
                seen.append(("cancelled", task.cancelling()))
                if then == "ends":
                    raise
                if then == "takes it back":
                    task.uncancel()
                if then == "waits once more":
                    await wait
                    seen.append(("woken after all",))
            assert asyncio.current_task() is task
        return "over"

    task = asyncio.create_task(life())

    def happen(what: str) -> None:
        if what == "wake":
            wait.wake()
        elif what == "cancel":
            seen.append(("cancel", task.cancel()))
        elif what == "end":
            session.end("ended")
        elif what == "late":
            for stage in tuple(patience.ends):
                del patience.ends[stage]
                stage.break_off()
        else:
            for timeout in tuple(timeouts):
                timeouts.discard(timeout)
                timeout.reschedule(asyncio.get_running_loop().time())
        assert asyncio.current_task() is None

    def happen_together(what: str) -> None:
        for each in what.split():
            happen(each)

    await settle()
    for what in [*happens, *["wake"] * 2 * len(waits)]:
        await from_the_loop(lambda what=what: happen_together(what))  # type: ignore[misc]
        await settle()
        seen.append((what, task.done(), task.cancelling()))
    assert task.done()
    seen.append(("cancelled",) if task.cancelled() else (task.exception() or task.result(),))
    return seen


ways = st.lists(st.tuples(st.sampled_from(GUARDS), st.sampled_from(THEN)), min_size=1, max_size=4)


@pytest.mark.parametrize("debug", [False, True])
@pytest.mark.parametrize("make_loop", [new_loop, asyncio.SelectorEventLoop])
@given(waits=ways, happens=st.lists(st.sampled_from(HAPPENS), max_size=6))
def test_a_task_sees_what_it_would_see_of_a_future(
    make_loop: Callable[[], asyncio.AbstractEventLoop],
    debug: bool,
    waits: list[tuple[str, str]],
    happens: list[str],
) -> None:
    async def main() -> tuple[Log, Log]:
        loop = asyncio.get_running_loop()
        return (
            await seen_by_a_task(Wait(loop), waits, happens),
            await seen_by_a_task(ByFuture(loop), waits, happens),
        )

    with asyncio.Runner(loop_factory=make_loop, debug=debug) as runner:
        ours, a_futures = runner.run(main())
    assert ours == a_futures
