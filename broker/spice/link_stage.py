"""What both sides of the link stage have in common: bytes in, events out, bytes to send."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Generic, TypeVar

from broker.spice.errors import RemoteProtocolError
from broker.spice.stream import NO_STEPS, ByteStream, Steps

Event = TypeVar("Event")


class LinkStage(ABC, Generic[Event]):
    """One side of one link handshake.

    Never raises at its caller for what a peer sent: `failure` is set.

    Attributes:
        failure: What the peer did wrong; send what is queued, then close.
        done: Nothing more is read here: it was accepted, refused, or has failed.
    """

    __slots__ = ("_events", "_outgoing", "_steps", "_stream", "done", "failure")

    def __init__(self, first: bytes = b"") -> None:
        """Begin.

        Args:
            first: What is said before anything is heard.
        """
        self.failure: RemoteProtocolError | None = None
        self.done = False
        self._stream = ByteStream()
        self._events: list[Event] = []
        self._outgoing = bytearray(first)
        self._steps: Iterator[None] = self._handshake()
        next(self._steps)

    @property
    def bytes_wanted(self) -> int:
        """How many bytes it can use now; read no more, and none belong to later messages."""
        return 0 if self.done else self._stream.missing

    def receive_data(self, data: bytes) -> list[Event]:
        """Take bytes as they came; return what they completed, oldest first."""
        self._stream.feed(data)
        return self._advance()

    def data_to_send(self) -> bytes:
        """Take what is to go to the peer."""
        data = bytes(self._outgoing)
        self._outgoing.clear()
        return data

    def trailing(self) -> bytes:
        """Take what came behind the last step; empty when only `bytes_wanted` were read."""
        return self._stream.rest()

    @abstractmethod
    def _handshake(self) -> Steps:
        """The steps, in the order of the wire."""

    def _answer_to(self, failure: RemoteProtocolError) -> bytes:
        """What the peer is told of what it did wrong."""
        return b""

    def _advance(self) -> list[Event]:
        if not self.done:
            try:
                next(self._steps, None)
            except RemoteProtocolError as exc:
                self.failure = exc
                self.done = True
                self._outgoing += self._answer_to(exc)
        if self.done:
            self._steps = NO_STEPS  # a channel keeps this object for hours
        events, self._events = self._events, []
        return events
