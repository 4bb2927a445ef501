"""Who calls us when a descriptor is ready: the loop, or a shorter way that it has."""

from __future__ import annotations

import asyncio
import gc
import sys
from collections.abc import Callable
from typing import Final, Protocol

try:
    from broker.proxy.hot_loop import HotLoop
except ImportError:  # no epoll here
    HotLoop = None  # type: ignore[assignment,misc]  # then there is no such class

GIVE_WAY_SECONDS: Final = 0.0002
"""How long a thread keeps the interpreter that another one waits for; Python's own 5 ms would be
those of a key that is pressed while the store is written to."""


class Watch(Protocol):
    """The part of an event loop that a pump needs."""

    def add_reader(self, fd: int, callback: Callable[[], object], /) -> object:
        """Call it whenever the descriptor is readable, or in trouble."""
        ...

    def remove_reader(self, fd: int, /) -> object:
        """Call it no more; harmless when it is not watched."""
        ...

    def add_writer(self, fd: int, callback: Callable[[], object], /) -> object:
        """Call it whenever the descriptor is writable, or in trouble."""
        ...

    def remove_writer(self, fd: int, /) -> object:
        """Call it no more; harmless when it is not watched."""
        ...


def watch_of(loop: asyncio.AbstractEventLoop) -> Watch:
    """The shortest way to be called by this loop.

    A descriptor is watched either by this or by the loop's own ways, never by both at once.
    """
    return getattr(loop, "hot", loop)


def add_patient_reader(watch: Watch, fd: int, callback: Callable[[], object]) -> None:
    """As `add_reader`, for what is not relayed yet: relays come first, where the watch can tell."""
    getattr(watch, "add_patient_reader", watch.add_reader)(fd, callback)


def new_loop() -> asyncio.AbstractEventLoop:
    """The fastest loop for relays: `HotLoop` where there is epoll, else asyncio's own."""
    return asyncio.new_event_loop() if HotLoop is None else HotLoop()


def settle() -> None:
    """Make this a process that relays: nothing else in it may hold a session up for long.

    What start-up made is here to stay, so the collector need not look at it again: a full
    collection stops everybody's session meanwhile, for some 30 ms with all that is imported, and
    for less than one without. And a thread that writes to the store gives way soon when there is
    something to relay.
    """
    gc.collect()
    gc.freeze()
    sys.setswitchinterval(GIVE_WAY_SECONDS)
