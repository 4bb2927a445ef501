"""When the key that is being served was pressed.

A key waits while the app does something else. A row that appeared meanwhile is not what was meant.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from textual.events import Event

_SERVED: ContextVar[tuple[object, float] | None] = ContextVar("_SERVED", default=None)


@contextmanager
def serving(event: Event) -> Iterator[None]:
    """What runs meanwhile in this task is done because of that event."""
    token = _SERVED.set((asyncio.current_task(), event.time))
    try:
        yield
    finally:
        _SERVED.reset(token)


def pressed_at() -> float:
    """When the event happened that this task serves, by Textual's clock; infinity without one.

    A task that was begun meanwhile, a screen's for one, lives on and serves other events.
    """
    served = _SERVED.get()
    return math.inf if served is None or served[0] is not asyncio.current_task() else served[1]
