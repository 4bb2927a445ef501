"""What happened to a machine, into the audit log."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from broker.events import Event, Kind

if TYPE_CHECKING:
    from broker.clock import Clock
    from broker.model import Machine
    from broker.store.store import Store


class Teller:
    """Writes one line for one thing that happened."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    async def tell(self, kind: Kind, machine: Machine, text: str) -> None:
        """Write it down now."""
        event = Event(
            at=self._clock.now(),
            kind=kind,
            text=text,
            source=machine.key.source,
            key=machine.key,
            console=machine.name,
        )
        await asyncio.to_thread(self._store.add_event, event)
