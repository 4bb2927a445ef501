"""Threads for calls that may hang, which a process does not wait for when it ends.

Those of `concurrent.futures` are waited for: one call to a host that is gone would hold a command
back for minutes after its last word.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from typing import Any, TypeVar

T = TypeVar("T")


class Threads:
    """At most so many calls at once; the others wait in their turn.

    Args:
        name: Of the threads, for whoever looks at a process that hangs.
    """

    def __init__(self, most: int, name: str) -> None:
        self._most = most
        self._name = name
        self._begun = 0
        self._ended = False
        self._changing = threading.Lock()
        self._waiting: SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = SimpleQueue()

    def submit(self, work: Callable[[], T]) -> Future[T]:
        """Have it done.

        Raises:
            RuntimeError: `end` was called.
        """
        future: Future[T] = Future()
        with self._changing:
            if self._ended:
                raise RuntimeError("these threads take nothing more")
            self._waiting.put((future, work))
            if self._begun < self._most:
                self._begun += 1
                name = f"{self._name}-{self._begun}"
                threading.Thread(target=self._serve, name=name, daemon=True).start()
        return future

    def end(self) -> None:
        """Take nothing more; what was submitted is done, and nobody waits for that."""
        with self._changing:
            self._ended = True
            for _ in range(self._begun):
                self._waiting.put(None)

    def _serve(self) -> None:
        while (given := self._waiting.get()) is not None:
            _do(*given)
            del given  # a thread that rests keeps nothing of it


def _do(future: Future[T], work: Callable[[], T]) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        future.set_result(work())
    except BaseException as exc:  # its own matter is whoever asked for it
        future.set_exception(exc)
        del future  # which the error would keep, and it the error
