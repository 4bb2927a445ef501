"""What both sides of the link stage have in common: bytes in, events out, bytes to send.

A link is a few pieces whose sizes are known, so a side is a list of steps, each of which takes one
piece; there is nothing to be resumed. A storm of viewers makes thousands of these a second.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Generic, TypeVar

from broker.spice.constants import MAGIC, MAX_LINK_BYTES, VERSION_MAJOR, LinkError
from broker.spice.errors import RemoteProtocolError
from broker.spice.wire import LinkHeader

Event = TypeVar("Event")


class LinkStage(ABC, Generic[Event]):
    """One side of one link handshake.

    Never raises at its caller for what a peer sent: `failure` is set.

    Attributes:
        failure: What the peer did wrong; send what is queued, then close.
        done: Nothing more is read here: it was accepted, refused, or has failed.
    """

    __slots__ = ("_buffer", "_needs", "_outgoing", "_then", "done", "failure")

    def __init__(self, needs: int, then: int, first: bytes = b"") -> None:
        """Begin.

        Args:
            needs: Bytes of the first piece.
            then: So many more are surely wanted behind it.
            first: What is said before anything is heard.
        """
        self.failure: RemoteProtocolError | None = None
        self.done = False
        self._needs = needs
        """Bytes of the next piece; 0 while none is waited for."""
        self._then = then
        self._buffer = b""
        self._outgoing = first

    @property
    def bytes_wanted(self) -> int:
        """How many bytes it can use now; read no more, and none belong to later messages."""
        return max(0, self._needs - len(self._buffer)) + self._then if self._needs else 0

    def receive_data(self, data: bytes) -> list[Event]:
        """Take bytes as they came; return what they completed, oldest first."""
        self._buffer += data
        return self._advance()

    def data_to_send(self) -> bytes:
        """Take what is to go to the peer."""
        data, self._outgoing = self._outgoing, b""
        return data

    def trailing(self) -> bytes:
        """Take what came behind the last step; empty when only `bytes_wanted` were read."""
        rest, self._buffer = self._buffer, b""
        return rest

    @abstractmethod
    def _take(self, piece: bytes) -> Event | None:
        """The next piece is here; set `_needs` and `_then` for what follows.

        Raises:
            RemoteProtocolError: The peer broke the protocol.
        """

    def _answer_to(self, failure: RemoteProtocolError) -> bytes:
        """What the peer is told of what it did wrong."""
        return b""

    def _end(self) -> None:
        """Nothing more is read."""
        self.done = True
        self._needs = self._then = 0

    def _advance(self) -> list[Event]:
        events: list[Event] = []
        while (needs := self._needs) and len(self._buffer) >= needs:
            piece, self._buffer = self._buffer[:needs], self._buffer[needs:]
            try:
                event = self._take(piece)
            except RemoteProtocolError as exc:
                self.failure = exc
                self._outgoing += self._answer_to(exc)
                self._end()
                break
            if event is not None:
                events.append(event)
        return events


def size_behind(header: bytes, least: int, kind: str, begins: str) -> int:
    """Bytes of what a link header announces.

    Args:
        least: It has so many at least.
        kind: What it is, for people: `link message`.
        begins: How that is said of it: `starts`.

    Raises:
        RemoteProtocolError: It is none.
    """
    magic, major, _, size = LinkHeader.FORMAT.unpack(header)
    if magic != MAGIC:
        raise RemoteProtocolError(f"not SPICE: {begins} with {magic!r}", LinkError.INVALID_MAGIC)
    if major != VERSION_MAJOR:
        raise RemoteProtocolError(
            f"protocol version {major}, expected {VERSION_MAJOR}", LinkError.VERSION_MISMATCH
        )
    if not least <= size <= MAX_LINK_BYTES:
        raise RemoteProtocolError(f"{kind} of {size} bytes, expected {least} to {MAX_LINK_BYTES}")
    return int(size)
