"""One keeper per user and host: the lock that brokers take turns at, and what they run under it."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import logging
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

from broker.errors import BrokerError
from broker.reconcile.keeper import Keeper

log = logging.getLogger(__name__)

LOCK: Final = "keeper.lock"
TRY_EVERY: Final = 1.0
"""Seconds until a broker that waits notices that the one before it is gone."""


async def keep(keeper: Keeper, directory: Path) -> None:
    """Look after this host's machines whenever no other broker does, until cancelled.

    Args:
        directory: Where the lock lies; one for each user and host.
    """
    while True:
        try:
            async with alone(directory / LOCK):
                log.debug("looking after this host's machines")
                await keeper.run()
        except (OSError, BrokerError) as problem:
            log.warning("this host's machines are not looked after for now: %s", problem)
        await asyncio.sleep(TRY_EVERY)


@contextlib.asynccontextmanager
async def alone(path: Path) -> AsyncIterator[None]:
    """Wait for our turn, however long; the kernel ends it when we die.

    Raises:
        OSError: The lock file cannot be made.
    """
    lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                await asyncio.sleep(TRY_EVERY)
            else:
                break
        yield
    finally:
        os.close(lock)
