"""What waiting on a session leaves behind."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

import pytest

from broker.errors import Unreachable
from broker.headless.inbox import Inbox
from broker.headless.session import Session


async def nobody() -> Inbox:
    raise Unreachable("nobody is there")


@contextlib.asynccontextmanager
async def unopened() -> AsyncIterator[Session]:
    async with asyncio.TaskGroup() as group, contextlib.AsyncExitStack() as stack:
        yield Session(nobody, "", group, stack)


@pytest.mark.parametrize("holds", [lambda: True, lambda: None])
async def test_a_wait_leaves_nothing_on_the_session_however_it_goes(
    holds: Callable[[], bool | None],
) -> None:
    async with unopened() as session:
        for _ in range(3):
            with contextlib.suppress(Unreachable):
                assert await session.until(holds, seconds=0.01)
        assert not session.ended._callbacks


async def test_the_end_of_a_session_ends_a_wait() -> None:
    async with unopened() as session:

        def nothing() -> bool | None:
            return None

        waiting = asyncio.create_task(session.until(nothing, seconds=30.0), name="waits")
        await asyncio.sleep(0)
        session.ended.set_result("the connection was closed")
        with pytest.raises(Unreachable, match="was closed"):
            await waiting
