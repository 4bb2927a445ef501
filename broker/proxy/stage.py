"""A stretch of a connection's life that may be broken off.

The same as an `asyncio.timeout` that the end of a session sets off too, without its cost: a
channel passes seven of these while it is linked.
"""

from __future__ import annotations

import asyncio
from types import TracebackType

from broker.proxy.session import Session, SessionOver


class Stage:
    """`async with`: the body is cancelled when the session ends, or takes too long.

    Args:
        session: None where there is none yet: then only time counts.

    Raises:
        SessionOver: The session ended.
        TimeoutError: It took longer than `seconds`.
    """

    __slots__ = ("_broken_off", "_cancelling", "_handle", "_seconds", "_session", "_task")

    def __init__(self, session: Session | None, seconds: float | None = None) -> None:
        self._session = session
        self._seconds = seconds
        self._task: asyncio.Task[object] | None = None
        self._handle: asyncio.Handle | None = None
        self._cancelling = 0
        self._broken_off = False

    async def __aenter__(self) -> None:
        """Begin."""
        if self._session is not None:
            self._session.tell_of_end(self._cut)
        self._task = asyncio.current_task()
        assert self._task is not None
        self._cancelling = self._task.cancelling()
        if self._seconds is not None:
            loop = asyncio.get_running_loop()
            self._handle = loop.call_later(self._seconds, self._break_off)

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        problem: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Translate a cancellation that was ours; all others pass."""
        session = self._session
        if session is not None:
            session.tell_no_more(self._cut)
        if self._handle is not None:
            self._handle.cancel()
        if self._broken_off:
            assert self._task is not None
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

    def _cut(self, _reason: str) -> None:
        """Not at once: who ends the session may be the body itself, about to leave."""
        if self._handle is not None:
            self._handle.cancel()
        self._handle = asyncio.get_running_loop().call_soon(self._break_off)

    def _break_off(self) -> None:
        assert self._task is not None
        self._broken_off = True
        self._task.cancel()
