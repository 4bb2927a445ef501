"""A later channel's place in its session, whichever relay worker holds MAIN.

What a channel has to ask of its session goes through its seat: the gate's word, its name, the
right to cross, and whom to tell. A seat here asks the session itself; one in another worker's
session asks that worker (`neighbours`).
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Protocol

from broker.proxy.gate import Admission, Gate, Notice, Peer
from broker.proxy.session import Session
from broker.proxy.viewer import TurnedAway
from broker.spice.constants import LinkError


class Seat(Protocol):
    """Made for one channel of one session."""

    @property
    def session(self) -> Session:
        """The session, or its likeness in this worker: who is admitted, to what, and its end."""
        ...

    async def join(self) -> Admission:
        """Ask the gate.

        Raises:
            Refused: Not this channel, not now.
            BrokerError: It cannot say.
        """
        ...

    def claimed(self) -> contextlib.AbstractAsyncContextManager[None]:
        """The channel's name is its own while the body runs.

        Raises:
            TurnedAway: Another connection has it.
            SessionOver: The session has ended.
        """
        ...

    def crossing(self) -> contextlib.AbstractAsyncContextManager[None]:
        """A display is between its ticket and SET_ACK; see `Session.crossing`."""
        ...

    def record(self, notice: Notice) -> None:
        """Tell the session's gate."""
        ...

    def close(self) -> None:
        """The channel has ended."""
        ...


class OwnSeat:
    """In a session whose MAIN this worker holds."""

    def __init__(self, session: Session, name: str, peer: Peer, gate: Gate) -> None:
        self.session = session
        self._name = name
        self._peer = peer
        self._gate = gate

    async def join(self) -> Admission:
        """See `Seat`."""
        return await self._gate.join(self.session.admission, self._name, self._peer)

    def claimed(self) -> _Claimed:
        """See `Seat`."""
        return _Claimed(self.session, self._name)

    @contextlib.asynccontextmanager
    async def crossing(self) -> AsyncIterator[None]:
        """See `Seat`."""
        with self.session.crossing():
            yield

    def record(self, notice: Notice) -> None:
        """See `Seat`."""
        self._gate.record(notice)

    def close(self) -> None:
        """See `Seat`."""


class _Claimed:
    """See `Seat.claimed`. It lives as long as the channel does: a generator would take a kB."""

    __slots__ = ("_name", "_session")

    def __init__(self, session: Session, name: str) -> None:
        self._session = session
        self._name = name

    async def __aenter__(self) -> None:
        if self._name in self._session.channels:
            raise taken(self._name)
        self._session.channel_begins(self._name)

    async def __aexit__(self, *_: object) -> None:
        self._session.channel_ends(self._name)


def taken(name: str) -> TurnedAway:
    """Another connection is that channel."""
    return TurnedAway("channel-twice", f"{name} is open", LinkError.CHANNEL_NOT_AVAILABLE)
