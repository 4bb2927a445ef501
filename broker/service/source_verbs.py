"""The verbs of the port about sources. See `broker.service.port.Service` for each."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from broker import human
from broker.driver import Driver
from broker.errors import BrokerError
from broker.findings import Step, broken, fine
from broker.hypervisor import Checkable
from broker.model import SourceName, SourceStatus
from broker.within import within

if TYPE_CHECKING:
    from broker.clock import Clock
    from broker.store.store import Store

CHECK_SECONDS = 60.0
"""The longest that a source is looked into."""


class Sources(Protocol):
    """What is needed of the sources."""

    async def refresh(self) -> Sequence[SourceStatus]:
        """Ask every source."""
        ...

    async def retry(self, name: SourceName) -> None:
        """Ask one anew."""
        ...

    async def pause(self, name: SourceName) -> None:
        """Leave one alone."""
        ...

    async def driver(self, name: SourceName, *, paused: bool = False) -> Driver:
        """The driver of one; of one that is paused only when that is said."""
        ...


class SourceVerbs:
    """Slices of the service."""

    _store: Store
    _clock: Clock
    _sources: Sources

    async def sources(self) -> Sequence[SourceStatus]:
        """Every configured source."""
        return await asyncio.to_thread(self._store.sources)

    async def refresh(self) -> Sequence[SourceStatus]:
        """Ask all."""
        return await self._sources.refresh()

    async def retry_source(self, name: SourceName) -> None:
        """Ask one anew."""
        await self._sources.retry(name)

    async def pause_source(self, name: SourceName) -> None:
        """Leave one alone."""
        await self._sources.pause(name)

    async def check_source(self, name: SourceName) -> Sequence[Step]:
        """Look into one."""
        return await look_into(await self._sources.driver(name, paused=True), self._clock)


async def look_into(driver: Driver, clock: Clock) -> Sequence[Step]:
    """Log in, list, and see what we may there, as far as the driver can tell; never an error."""
    began = clock.monotonic()
    try:
        async with within(CHECK_SECONDS):
            if isinstance(driver, Checkable):
                return await driver.check()
            found = fine(human.counted(len(await driver.machines()), "machine"))
    except TimeoutError:
        found = broken(f"it did not answer within {CHECK_SECONDS:g} s", "Check the way to it")
    except BrokerError as problem:
        found = broken(problem.what, problem.fix or "Correct its entry in sources.yaml")
    return [Step("list", found, clock.monotonic() - began)]
