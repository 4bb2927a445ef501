"""A task's wait for its descriptor, without the loop's queue in between.

A future tells the loop to wake whoever awaits it: a handle is made and put into a queue, and epoll
is left for it. A link waits five times. This wakes the task at once, from the descriptor's own
callback, where nobody else's step is under way.

It is as much of a future as a task asks for (PEP 3156's `_asyncio_future_blocking` and what
`asyncio.Task` calls), and one of it serves any number of waits, one after the other.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator
from contextvars import Context


class Wait:
    """Awaited by one task at a time, until it is woken."""

    __slots__ = ("_asyncio_future_blocking", "_context", "_is_cancelled", "_loop", "_wake")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._asyncio_future_blocking = False
        self._is_cancelled = False
        self._wake: Callable[[Wait], object] | None = None
        self._context: Context | None = None

    def __await__(self) -> Generator[Wait, None, None]:
        """Until `wake`."""
        self._asyncio_future_blocking = True
        yield self

    @property
    def is_awaited(self) -> bool:
        """Whether a task waits."""
        return self._wake is not None

    def wake(self) -> None:
        """Have the task go on, before this returns; not from within a task."""
        wake, context = self._wake, self._context
        self._wake = self._context = None
        if wake is not None and context is not None:
            context.run(wake, self)

    # -- what a task calls

    def add_done_callback(self, wake: Callable[[Wait], object], *, context: Context) -> None:
        """It waits now."""
        self._wake = wake
        self._context = context

    def cancel(self, msg: object = None) -> bool:
        """It is cancelled, and goes on with that in its next turn."""
        wake, context = self._wake, self._context
        if wake is None:
            return False
        self._wake = self._context = None
        self._is_cancelled = True
        self._loop.call_soon(wake, self, context=context)
        return True

    def result(self) -> None:
        """What it was woken for.

        Raises:
            asyncio.CancelledError: `cancel` was called.
        """
        if self._is_cancelled:
            self._is_cancelled = False
            raise asyncio.CancelledError
