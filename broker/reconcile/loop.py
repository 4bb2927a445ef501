"""A dull loop: one worker per key, never two at once, many wake-ups become one look.

It knows keys, pauses and failures, but not what is being reconciled. Pauses after failures grow
and are reset by a success; everything is looked at again after `every` seconds whatever happened.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Hashable, Iterable
from typing import Generic, TypeVar

from broker.errors import BrokerError
from broker.within import within

log = logging.getLogger(__name__)

PAUSES = (1.0, 2.0, 5.0, 15.0, 60.0)
"""Seconds to wait after the first, second, … failure in a row; the last one repeats."""

K = TypeVar("K", bound=Hashable)


class Loop(Generic[K]):
    """Looks at each key now, when woken, and every so often.

    Args:
        look: Reconciles one key; says how many seconds until it should be looked at again, or
            None for `every`. A `BrokerError` makes the pause grow; so does any other exception,
            which is logged with its traceback.
        every: Seconds between looks at a key that nobody wakes.
        pause_after: Seconds until the next look at a key that just failed; None for `pauses`.
    """

    def __init__(
        self,
        look: Callable[[K], Awaitable[float | None]],
        *,
        every: float,
        pauses: tuple[float, ...] = PAUSES,
        pause_after: Callable[[K], float | None] = lambda _: None,
    ) -> None:
        self._look = look
        self._every = every
        self._pauses = pauses
        self._pause_after = pause_after
        self._wake: dict[K, asyncio.Event] = {}
        self._tasks: dict[K, asyncio.Task[None]] = {}
        self._changed = asyncio.Event()

    @property
    def keys(self) -> frozenset[K]:
        """What is being looked after."""
        return frozenset(self._wake)

    def set_keys(self, keys: Iterable[K]) -> None:
        """Look after exactly these keys from now on: surplus workers end, missing ones start."""
        wanted = set(keys)
        for key in set(self._wake) - wanted:
            del self._wake[key]
        for key in wanted - set(self._wake):
            self._wake[key] = asyncio.Event()
        self._changed.set()

    def wake(self, key: K) -> None:
        """Look at that key soon; unknown keys are ignored."""
        if (event := self._wake.get(key)) is not None:
            event.set()

    def wake_all(self) -> None:
        """Look at everything soon."""
        for event in self._wake.values():
            event.set()

    async def run(self) -> None:
        """Run until cancelled."""
        async with asyncio.TaskGroup() as group:
            while True:
                self._changed.clear()
                for key in set(self._tasks) - set(self._wake):
                    self._tasks.pop(key).cancel()
                for key in set(self._wake) - set(self._tasks):
                    self._tasks[key] = group.create_task(self._work(key), name=f"reconcile {key}")
                await self._changed.wait()

    async def _work(self, key: K) -> None:
        failures = 0
        while (woken := self._wake.get(key)) is not None:
            woken.clear()
            try:
                pause = await self._look(key)
                failures = 0
                pause = self._every if pause is None else pause
            except BrokerError as problem:
                pause = self._pause(key, failures)
                failures += 1
                log.info("%s: %s; next look in %g s", key, problem, pause)
            except Exception:  # a reconciler's loop is one of the four places that may
                pause = self._pause(key, failures)
                failures += 1
                log.exception("looking at %s failed; next look in %g s", key, pause)
            try:
                async with within(pause):
                    await woken.wait()
            except TimeoutError:
                continue

    def _pause(self, key: K, failures: int) -> float:
        asked = self._pause_after(key)
        return self._pauses[min(failures, len(self._pauses) - 1)] if asked is None else asked
