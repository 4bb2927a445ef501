"""A stretch of a connection's life that may be broken off.

The same as an `asyncio.timeout` that the end of a session sets off too, without its cost: a
channel passes six of these while it is linked, and a storm of viewers as many for each.
"""

from __future__ import annotations

import asyncio
from time import monotonic
from types import TracebackType

from broker.proxy.session import Session, SessionOver


class Patience:
    """Time-outs of one length, for any number of stages, by one timer of the loop.

    Those of one length run out in the order in which they began, so it is the oldest that the
    timer waits for. One that is over by then costs no more than having been written down.
    """

    __slots__ = ("_is_waiting", "ends", "seconds")

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.ends: dict[Stage, float] = {}
        """When each is broken off, by the loop's clock, the oldest first; stages keep it."""
        self._is_waiting = False

    def wait(self) -> None:
        """See to it that the oldest is broken off in time."""
        if not self._is_waiting:
            self._is_waiting = True
            loop = asyncio.get_running_loop()
            loop.call_at(next(iter(self.ends.values())), self._look, loop)

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        """Break off what has run out, and wait for the next."""
        now = loop.time()
        late = []
        for stage, end in self.ends.items():
            if end > now:
                loop.call_at(end, self._look, loop)
                break
            late.append(stage)
        else:
            self._is_waiting = False
        for stage in late:
            del self.ends[stage]
            stage.break_off()


class Stage:
    """`with`: the body, which may await, is cancelled when the session ends or takes too long.

    Args:
        session: None where there is none yet: then only time counts.
        patience: None for no time-out.

    Raises:
        SessionOver: The session ended.
        TimeoutError: It took longer than that.
    """

    __slots__ = ("_broken_off", "_cancelling", "_handle", "_patience", "_session", "_task")

    def __init__(self, session: Session | None, patience: Patience | None = None) -> None:
        self._session = session
        self._patience = patience
        self._handle: asyncio.Handle | None = None
        self._broken_off = False

    def __enter__(self) -> None:
        """Begin."""
        if (session := self._session) is not None:
            if session.end_reason:
                raise SessionOver(session.end_reason)
            session.on_ending.add(self)
        task = asyncio.current_task()
        assert task is not None
        self._task: asyncio.Task[object] = task
        self._cancelling = task.cancelling()
        if (patience := self._patience) is not None:
            patience.ends[self] = monotonic() + patience.seconds
            if len(patience.ends) == 1:
                patience.wait()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        problem: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Translate a cancellation that was ours; all others pass."""
        session = self._session
        if session is not None:
            session.on_ending.discard(self)
        if self._patience is not None:
            self._patience.ends.pop(self, None)
        if self._handle is not None:
            self._handle.cancel()
        if self._broken_off:
            ours = self._task.uncancel() <= self._cancelling
            if not (ours and kind is asyncio.CancelledError):
                return
            if session is None or not session.end_reason:
                raise TimeoutError from problem
        elif (
            kind is None
            or session is None
            or not issubclass(kind, TimeoutError)
            or not session.end_reason
        ):
            return
        raise SessionOver(session.end_reason) from problem

    def __call__(self, _reason: str) -> None:
        """The session ends. Not at once: who ends it may be the body itself, about to leave."""
        if self._handle is None:
            self._handle = asyncio.get_running_loop().call_soon(self.break_off)

    def break_off(self) -> None:
        """Cancel the body, once."""
        if not self._broken_off:
            self._broken_off = True
            self._task.cancel()
