"""asyncio's event loop with a short way for relays.

A relay's callbacks are called from within `select`, without the handle, the context and the queue
that asyncio puts between a ready descriptor and its reader: that is a fifth of what a small
message costs here. All else is asyncio's own, and what it registers is reported to it as ever:
timers, tasks, signals and other threads get their turn after each round of descriptors.

What differs for a hot callback: it runs in no context of its own, and to stop watching takes
effect at once, also within a round. Those of links and doors are patient: in each round as many
have their turn as relays had theirs, two at least. Linux only, as epoll is; `broker.proxy.watch`
chooses.
"""

from __future__ import annotations

import asyncio
import logging
import math
import os
import selectors
from collections import deque
from collections.abc import Callable
from contextvars import Context
from functools import partial
from itertools import islice
from select import EPOLLIN, EPOLLOUT, epoll
from time import monotonic
from typing import Final, TypeVarTuple, Unpack

from broker.proxy.eagerness import LOOK_SECONDS, Eagerness

log = logging.getLogger(__name__)

EVENTS_AT_ONCE: Final = 64
"""Descriptors asked for; the stock selector's thousand take 12 kB anew each time."""

PATIENT_LEAST: Final = 2
"""Patient callbacks that have their turn in each round: one by one costs 3 % more of a link."""

Callback = Callable[[], object]
Ts = TypeVarTuple("Ts")


class HotSelector(selectors.EpollSelector):
    """Epoll for asyncio, which hands hot descriptors to their callbacks itself.

    A descriptor is either hot or the loop's own: epoll refuses to watch one twice.
    """

    def __init__(self) -> None:
        super().__init__()
        self.stirred = False
        """Something was scheduled on the loop since `select` began."""
        self.failed: Callable[[Exception], None] = lambda _: None
        """Told what a hot callback raised."""
        self.wrapped: Callable[[Callback], Callback] | None = None
        """Asked once for what is called instead of a callback; None: itself."""
        self.eagerness = Eagerness()
        """Told how long sleeps are; knows whether to look for a moment before one."""
        self._epoll = epoll.fromfd(os.dup(self.fileno()))
        self._poll = self._epoll.poll
        self._readers: dict[int, Callback] = {}
        self._patients: dict[int, Callback] = {}
        """Readers that may wait."""
        self._due: dict[int, None] = {}
        """Those of them that were ready and had no turn yet, in that order."""
        self._writers: dict[int, Callback] = {}

    def add_reader(self, fd: int, callback: Callback, /) -> None:
        """Call it whenever the descriptor is readable, or in trouble."""
        if self._patients.pop(fd, None) is None and fd not in self._readers:
            self._watch_more(fd, EPOLLIN, fd in self._writers)
        self._readers[fd] = self.wrapped(callback) if self.wrapped else callback

    def add_patient_reader(self, fd: int, callback: Callback, /) -> None:
        """The same for what may wait: for each that need not, one such is called; two at least.

        A step of a link takes as long as many small messages, and in a storm of viewers there
        are many to be taken at once.
        """
        if self._readers.pop(fd, None) is None and fd not in self._patients:
            self._watch_more(fd, EPOLLIN, fd in self._writers)
        self._patients[fd] = self.wrapped(callback) if self.wrapped else callback

    def remove_reader(self, fd: int, /) -> None:
        """Call it no more; harmless when it is not watched."""
        if self._readers.pop(fd, None) or self._patients.pop(fd, None):  # never in both
            self._watch_less(fd, EPOLLOUT if fd in self._writers else 0)

    def add_writer(self, fd: int, callback: Callback, /) -> None:
        """Call it whenever the descriptor is writable, or in trouble."""
        if fd not in self._writers:
            self._watch_more(fd, EPOLLOUT, fd in self._readers or fd in self._patients)
        self._writers[fd] = self.wrapped(callback) if self.wrapped else callback

    def remove_writer(self, fd: int, /) -> None:
        """Call it no more; harmless when it is not watched."""
        if self._writers.pop(fd, None) is not None:
            read = fd in self._readers or fd in self._patients
            self._watch_less(fd, EPOLLIN if read else 0)

    def _watch_more(self, fd: int, mask: int, watched: bool) -> None:
        if watched:
            self._epoll.modify(fd, EPOLLIN | EPOLLOUT)
        else:
            self._epoll.register(fd, mask)

    def _watch_less(self, fd: int, mask: int) -> None:
        try:
            if mask:
                self._epoll.modify(fd, mask)
            else:
                self._epoll.unregister(fd)
        except OSError:
            pass  # it was closed first, and went by itself

    # -- for asyncio

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Call what is hot and ready; return when something else is, or was scheduled by that."""
        poll, readers, writers = self._poll, self._readers, self._writers
        patients, due = self._patients, self._due
        eagerness = self.eagerness
        ready: list[tuple[selectors.SelectorKey, int]] = []
        # As in the stock selector: epoll counts milliseconds, and a timer must not be early.
        wait = -1.0 if timeout is None else math.ceil(timeout * 1e3) * 1e-3 if timeout > 0 else 0.0
        woken = now = monotonic()
        until = now + wait
        self.stirred = False
        handled = 1
        while True:
            events = self._look(now) if eagerness.eager and wait else None
            if not events:
                try:
                    events = poll(wait, EVENTS_AT_ONCE)
                except InterruptedError:
                    return ready
                before, woken = woken, monotonic()
                if wait:
                    eagerness.slept(woken - now, now - before, handled)
            hot = handled = len(events)
            for fd, event in events:
                try:
                    if event == EPOLLIN and (callback := readers.get(fd)):
                        callback()
                    elif fd in patients:
                        if event & ~EPOLLOUT:
                            hot -= 1
                            due[fd] = None  # who is in it keeps its place
                        if event & ~EPOLLIN and (callback := writers.get(fd)):
                            callback()
                    elif fd in readers or fd in writers:
                        # trouble is for whoever listens, as with the stock selector
                        if event & ~EPOLLOUT and (callback := readers.get(fd)):
                            callback()
                        if event & ~EPOLLIN and (callback := writers.get(fd)):
                            callback()
                    elif (key := self.get_map().get(fd)) is not None:
                        mask = (selectors.EVENT_READ if event & ~EPOLLOUT else 0) | (
                            selectors.EVENT_WRITE if event & ~EPOLLIN else 0
                        )
                        ready.append((key, mask & key.events))
                except Exception as exc:  # as in asyncio: it stays that callback's own
                    self.failed(exc)
            if due:
                self._call(max(hot, PATIENT_LEAST))
            if ready or self.stirred or not events or not wait:
                return ready
            now = monotonic()
            if wait > 0 and (wait := until - now) <= 0:
                return ready

    def _call(self, most: int) -> None:
        """The turn of so many of the patient; the others are first in the next round.

        Epoll would name them again, but behind those that had their turn and are ready still: two
        doors in a storm of viewers, say. One that is not ready any more is called for nothing.
        """
        due = self._due
        if len(due) <= most:
            waiting = list(due)
            due.clear()
        else:
            waiting = list(islice(due, most))
            for fd in waiting:
                del due[fd]
        for fd in waiting:
            if callback := self._patients.get(fd):
                try:
                    callback()
                except Exception as exc:  # as in asyncio too
                    self.failed(exc)

    def _look(self, since: float) -> list[tuple[int, int]]:
        """Look again and again in place of sleeping, for a moment."""
        poll, until = self._poll, since + LOOK_SECONDS
        if events := poll(0, EVENTS_AT_ONCE):
            return events
        while monotonic() < until:
            if events := poll(0, EVENTS_AT_ONCE):
                self.eagerness.found()
                return events
        self.eagerness.in_vain()
        return []

    def close(self) -> None:
        """Give the descriptors back."""
        self._readers.clear()
        self._patients.clear()
        self._due.clear()
        self._writers.clear()
        self._epoll.close()
        super().close()


class HotLoop(asyncio.SelectorEventLoop):
    """For `asyncio.Runner(loop_factory=…)`; who has hot callbacks finds `hot`."""

    def __init__(self) -> None:
        self.hot = HotSelector()
        self.hot.failed = self._hot_failed
        self._queue: deque[asyncio.Handle] | None = None
        super().__init__(self.hot)
        self.set_debug(self.get_debug())

    def set_debug(self, enabled: bool) -> None:
        """As asyncio has it; then all goes asyncio's own way, which looks at what it is given."""
        super().set_debug(enabled)
        self.hot.wrapped = self._wrapped if enabled else None
        self._queue = None if enabled else getattr(self, "_ready", None)

    def close(self) -> None:
        """As asyncio has it."""
        self._queue = None  # from now on asyncio says what is wrong
        super().close()

    def call_soon(
        self,
        callback: Callable[[Unpack[Ts]], object],
        *args: *Ts,
        context: Context | None = None,
    ) -> asyncio.Handle:
        """As asyncio has it; a hot callback may have called it.

        Each step of a link comes by here, and asyncio's own way to its queue is six calls long.
        """
        self.hot.stirred = True
        if context is None or self._queue is None:
            return super().call_soon(callback, *args, context=context)
        handle = asyncio.Handle(callback, args, self, context)
        self._queue.append(handle)
        return handle

    def call_at(
        self,
        when: float,
        callback: Callable[[Unpack[Ts]], object],
        *args: *Ts,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        """As asyncio has it; a hot callback may have called it."""
        self.hot.stirred = True
        return super().call_at(when, callback, *args, context=context)

    def stop(self) -> None:
        """As asyncio has it; a hot callback may have called it."""
        self.hot.stirred = True
        super().stop()

    def _hot_failed(self, exc: Exception) -> None:
        self.call_exception_handler({"message": "a hot callback failed", "exception": exc})

    def _wrapped(self, callback: Callback) -> Callback:
        """In debug mode slow callbacks are told, as asyncio tells its own."""
        return partial(self._timed, callback)

    def _timed(self, callback: Callback) -> None:
        began = self.time()
        try:
            callback()
        finally:
            if (took := self.time() - began) >= self.slow_callback_duration:
                logging.getLogger("asyncio").warning(
                    "Executing %r took %.3f seconds", callback, took
                )
