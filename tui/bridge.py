"""The one place where the service's news enters the app."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from broker.errors import BrokerError
from tui.snapshot import Snapshot
from tui.unify import Changed, takes_long, unify

if TYPE_CHECKING:
    from broker.service.port import ConsoleInfo, Service

log = logging.getLogger(__name__)

KEPT_EVENTS: Final = 1000
PAUSE_SECONDS: Final = 0.1
"""Least time between two readings: ten a second is as often as anybody can see."""
REST_FACTOR: Final = 10
"""Rest this many times as long as reading took, so that a huge list costs a tenth of a core."""
RETRY_SECONDS: Final = 2.0


class Bridge:
    """Waits for changes, reads what the screens show, hands over a snapshot."""

    def __init__(self, service: Service, start: Snapshot, show: Callable[[Snapshot], None]) -> None:
        self._service = service
        self._snapshot = start
        self._show = show

    async def run(self) -> None:
        """Follow the service until cancelled. A failing store is shown, and tried again."""
        while True:
            try:
                async for _ in self._service.changes():
                    await asyncio.sleep(await self._read())
            except BrokerError as problem:
                log.warning("cannot read what changed: %s", problem)
                self._put(replace(self._snapshot, problem=problem))
            await asyncio.sleep(RETRY_SECONDS)

    async def _read(self) -> float:
        clock = asyncio.get_running_loop().time
        begun = clock()
        service, events = self._service, self._snapshot.events
        newer = await service.events(limit=KEPT_EVENTS, after=events[-1].id if events else 0)
        consoles, changed = await self._consoles()
        snapshot = Snapshot(
            consoles=consoles,
            changed=changed,
            sessions=tuple(await service.sessions()),
            sources=tuple(await service.sources()),
            events=(*events, *newer)[-KEPT_EVENTS:],
            proxy=await service.proxy_status(),
            notes=service.notes,
            connected=True,
        )
        took = clock() - begun
        self._put(snapshot)
        return max(PAUSE_SECONDS, REST_FACTOR * took)

    async def _consoles(self) -> tuple[Sequence[ConsoleInfo], Changed | None]:
        now = await self._service.consoles()
        before = self._snapshot.consoles or ()
        if takes_long(before, now):
            return await asyncio.to_thread(unify, before, now)
        return unify(before, now)

    def _put(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot
        self._show(snapshot)
