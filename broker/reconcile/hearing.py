"""Hearing sources that tell by themselves what changes (`broker.hypervisor.Telling`)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Mapping

from broker.driver import Driver
from broker.errors import BrokerError
from broker.hypervisor import Telling
from broker.model import MachineId, MachineKey, SourceName
from broker.reconcile.health import UNREACHABLE_PAUSES

log = logging.getLogger(__name__)

SETTLE = 0.2
"""Seconds in which several tellings of a source make one look."""
MANY = 8
"""More machines than these that may look different are looked at by one listing."""


class Hearing:
    """Who is heard now.

    Args:
        wake: Has a source listed soon.
        look: Has one machine looked at.
    """

    def __init__(
        self,
        wake: Callable[[SourceName], None],
        look: Callable[[MachineKey], Awaitable[None]],
    ) -> None:
        self._wake = wake
        self._look = look
        self._listeners: dict[SourceName, asyncio.Task[None]] = {}

    def __bool__(self) -> bool:
        return bool(self._listeners)

    def hears(self, name: SourceName) -> bool:
        """Whether that source would tell us now."""
        listener = self._listeners.get(name)
        return listener is not None and not listener.done()

    def forget(self) -> None:
        """The group that they ran in has ended."""
        self._listeners.clear()

    def follow(
        self,
        group: asyncio.TaskGroup,
        fit: Mapping[SourceName, Driver],
        known: Collection[SourceName],
    ) -> None:
        """Hear those that tell, and nobody else; to be called again and again.

        Args:
            group: Where hearing runs.
            fit: Who may be heard.
            known: Who has a driver still; one without is heard no longer.
        """
        for name, listener in list(self._listeners.items()):
            if listener.done():
                del self._listeners[name]
            elif name not in known:
                listener.cancel()
        for name, driver in fit.items():
            if name not in self._listeners and isinstance(driver, Telling):
                listener = group.create_task(self._hear(name, driver), name=f"hear {name}")
                self._listeners[name] = listener

    async def _hear(self, name: SourceName, driver: Telling) -> None:
        """Until it breaks; it begins with the source's whole listing."""
        changed: set[MachineId | None] = set()
        told = asyncio.Event()

        def take(machine: MachineId | None) -> None:
            changed.add(machine)
            told.set()

        async def store() -> None:
            while True:
                await told.wait()
                await asyncio.sleep(SETTLE)
                told.clear()
                some = changed.copy()
                changed.clear()
                if None in some or len(some) > MANY:
                    self._wake(name)
                    continue
                for machine in some:
                    assert machine is not None
                    await self._look(MachineKey(name, machine))

        try:
            async with asyncio.TaskGroup() as group:
                storing = group.create_task(store(), name=f"store what {name} tells")
                await driver.changes(take)
                storing.cancel()
        except* BrokerError as problems:
            log.info("%s tells nothing more: %s", name, problems.exceptions[0])
        except* Exception:  # a driver's bug must not stop the other sources
            log.exception("hearing %s failed", name)
        self._wake(name)  # and it is heard again, unless that listing fails
        await asyncio.sleep(UNREACHABLE_PAUSES[0])
