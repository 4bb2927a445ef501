"""How long verbs of the store wait for another process that writes, where that is not the usual."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Final

AT_ONCE_SECONDS: Final = 0.5
"""How long what cannot wait waits: it is done first then, and written down afterwards."""
AFTERWARDS_SECONDS: Final = 3.0
"""How long is waited to write down what was done."""

_patience: ContextVar[float | None] = ContextVar("patience", default=None)


def patience() -> float | None:
    """Seconds that a verb of the store may wait here; None for the usual."""
    return _patience.get()


@contextlib.contextmanager
def within(seconds: float) -> Iterator[None]:
    """Have verbs that are called in here, and in threads asked from here, wait so long."""
    before = _patience.set(seconds)
    try:
        yield
    finally:
        _patience.reset(before)
