"""Task groups wrap what goes wrong in them; people are told one thing."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

from broker.errors import BrokerError


@contextlib.asynccontextmanager
async def unwrapped() -> AsyncIterator[None]:
    """Turn a group that holds only one thing worth telling into that thing.

    The first `BrokerError` in the group wins; a group without one passes as it is, because then
    it is a bug, and all of it is wanted in the log.
    """
    try:
        yield
    except BaseExceptionGroup as group:
        problem = _first(group)
        if problem is None:
            raise
        raise problem from group


def _first(group: BaseExceptionGroup[BaseException]) -> BrokerError | None:
    for each in group.exceptions:
        if isinstance(each, BrokerError):
            return each
        if isinstance(each, BaseExceptionGroup) and (found := _first(each)) is not None:
            return found
    return None
