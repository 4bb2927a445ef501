"""The tasks of all connections: one each, and nothing that one of them does ends another."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine

from broker.proxy.session import Flag

log = logging.getLogger(__name__)

Life = Coroutine[object, object, None]
"""What one connection does, from being accepted to its end."""


class Connections:
    """Like a group of tasks, but one that fails leaves the others alone."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()
        self._none = Flag(is_set=True)

    def __len__(self) -> int:
        """Those in whatever step."""
        return len(self._tasks)

    def spawn(self, life: Life, name: str) -> None:
        """Live it in a task of that name."""
        self._none.clear()
        task = asyncio.get_running_loop().create_task(life, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._over)

    async def gone(self) -> None:
        """Wait until there are none."""
        await self._none.wait()

    async def cut(self) -> None:
        """End what is left by force."""
        loop = asyncio.get_running_loop()
        for task in self._tasks:
            # behind its first step: a task that is cancelled before it never comes to its `finally`
            loop.call_soon(task.cancel)
        await self._none.wait()

    def _over(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (problem := task.exception()) is not None:
            # one viewer's bad luck must not end everybody's session
            log.error("a connection ended in a way we did not foresee", exc_info=problem)
        if not self._tasks:
            self._none.set()
