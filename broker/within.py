"""A time-out that holds also where its task is being cancelled.

Who cleans up after a cancellation waits with time-outs of its own. Those of `asyncio` end with
another cancellation there in Python 3.11.2, Debian 12's (python/cpython#102780): what should come
after the time-out, a harder way to end something as a rule, never came.
"""

from __future__ import annotations

import asyncio
from types import TracebackType


class _Within(asyncio.Timeout):  # type: ignore[misc]  # final for others: it is asyncio's own, mended
    _cancelling = 0

    async def __aenter__(self) -> asyncio.Timeout:
        task = asyncio.current_task()
        entered = await super().__aenter__()
        assert task is not None
        self._cancelling = task.cancelling()
        return entered

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        problem: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await super().__aexit__(kind, problem, traceback)
        task = asyncio.current_task()
        assert task is not None
        ours = self.expired() and task.cancelling() <= self._cancelling
        if ours and kind is asyncio.CancelledError:
            raise TimeoutError from problem


def within(seconds: float | None) -> asyncio.Timeout:
    """As `asyncio.timeout`: the body of `async with` is broken off with TimeoutError after that."""
    loop = asyncio.get_running_loop()
    return _Within(None if seconds is None else loop.time() + seconds)
