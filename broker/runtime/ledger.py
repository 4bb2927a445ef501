"""What a relay worker has to write down, and the one task that writes it.

It writes about once a second, and at once when something opened or closed. A store that is locked
or full never stops a session: the writing is tried again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from broker.clock import Clock
from broker.errors import BrokerError
from broker.events import Event
from broker.model import Session, SessionId
from broker.owned import owned
from broker.within import within

if TYPE_CHECKING:
    from broker.store.store import Store

log = logging.getLogger(__name__)

WRITE_EVERY = 1.0
"""Seconds between two writings of counters."""

WRITE_SOON = 0.05
"""Seconds after which something that opened or closed is written; a burst becomes one writing."""

STORM = 10
"""So many lines in one writing say that more are to come at once."""

WRITE_APART = 0.25
"""Seconds between two writings in a storm."""

RETRY_AFTER = 2.0
"""Seconds until a writing that failed is tried again."""

AT_ONCE = 200
"""Rows in one transaction: a storm of viewers is written in few, and nobody waits for long."""

EVENTS_MAX = 10_000
"""Audit rows that wait for a store which cannot be written; the oldest go first."""


@dataclass(slots=True)
class Due:
    """What waits to be written.

    Attributes:
        sessions: Live ones whose counters have changed.
        closed: Ended ones as they ended, and why.
        counts: What is added to the store's counters; that alone is no reason to write.
    """

    sessions: set[SessionId] = field(default_factory=set)
    closed: list[tuple[Session, str]] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    counts: dict[str, float] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.sessions or self.closed or self.events)


class Ledger:
    """Collects in memory, and writes.

    Args:
        collect: Adds what is due of late; told whether nobody will ask again.
        snapshot: A live session as it stands; None when it has ended.
        give_back: Takes counts that could not be written.
    """

    def __init__(
        self,
        store: Store,
        clock: Clock,
        *,
        collect: Callable[[Due, bool], None],
        snapshot: Callable[[SessionId], Session | None],
        give_back: Callable[[dict[str, float]], None],
    ) -> None:
        self.due = Due()
        self._store = store
        self._clock = clock
        self._collect = collect
        self._snapshot = snapshot
        self._give_back = give_back
        self._wake = asyncio.Event()

    def tell(self, event: Event) -> None:
        """One more line for the audit log, soon."""
        self.due.events.append(event)
        del self.due.events[:-EVENTS_MAX]
        self._wake.set()

    async def write(self) -> None:
        """Write what has changed until cancelled; then once more."""
        flushing: asyncio.Future[bool] | None = None
        loop, not_before = asyncio.get_running_loop(), 0.0
        try:
            while True:
                try:
                    async with within(WRITE_EVERY):
                        await self._wake.wait()
                    await asyncio.sleep(max(WRITE_SOON, not_before - loop.time()))
                except TimeoutError:
                    pass
                self._wake.clear()
                storms = len(self.due.events) + len(self.due.closed) >= STORM
                not_before = loop.time() + WRITE_APART if storms else 0.0
                flushing = owned(self._flush(), name="ledger's writing")
                if not await asyncio.shield(flushing):
                    await asyncio.sleep(RETRY_AFTER)
        finally:
            # a writing under way is waited for: what it fails to write must not be forgotten
            if flushing is not None:
                await asyncio.wait([flushing])
            await self._flush(last=True)

    async def _flush(self, *, last: bool = False) -> bool:
        """Write everything that is due; keeps it and says False when the store cannot."""
        self._collect(self.due, last)
        if not self.due and not self.due.counts:
            return True
        due, self.due = self.due, Due()
        snapshots = [one for key in due.sessions if (one := self._snapshot(key))]
        try:
            await asyncio.to_thread(self._write, due, snapshots)
        except BrokerError as problem:
            log.warning("cannot write down what happened, trying again: %s", problem)
            self.due.sessions |= due.sessions
            self.due.closed[:0] = due.closed
            self.due.events[:0] = due.events
            self._give_back(due.counts)
            return False
        return True

    def _write(self, due: Due, snapshots: list[Session]) -> None:
        now = self._clock.now()
        if snapshots:
            self._store.put_counters(snapshots)
        while ended := due.closed[:AT_ONCE]:
            self._store.close_sessions(ended, now)
            del due.closed[:AT_ONCE]
        while told := due.events[:AT_ONCE]:
            self._store.add_events(told)
            del due.events[:AT_ONCE]
        if due.counts:
            self._store.add_counts(due.counts)
            due.counts = {}
