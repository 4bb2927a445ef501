"""Forgetting what nobody needs any more: old events, ended sessions, dead tokens."""

from __future__ import annotations

import asyncio
import logging
from datetime import datetime, timedelta
from typing import Protocol

from broker.clock import Clock
from broker.errors import BrokerError

log = logging.getLogger(__name__)

EVERY = 3600.0
"""Seconds between two clean-ups."""


class ExpiringStore(Protocol):
    """What is needed of the store."""

    def prune(self, before: datetime) -> int: ...


async def forget_old(store: ExpiringStore, clock: Clock, *, keep_days: float) -> None:
    """Clean up now and every hour until cancelled; a store that cannot is tried again then.

    Args:
        keep_days: Days that events, ended sessions and dead tokens are kept.
    """
    while True:
        before = clock.now() - timedelta(days=keep_days)
        try:
            gone = await asyncio.to_thread(store.prune, before)
        except BrokerError as problem:
            log.warning("old records stay for now: %s", problem)
        else:
            if gone:
                log.info("%d records from before %s are forgotten", gone, before.date())
        await asyncio.sleep(EVERY)
