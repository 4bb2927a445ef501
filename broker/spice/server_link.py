"""The link stage as a server has it: what a viewer talks to.

It decides nothing: which capabilities to offer, and whether a ticket is good, is told to it.

Source: spice-server 0.15.1 `reds.cpp`; "Spice protocol", section Link.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from broker.spice.constants import (
    SEALED_TICKET_BYTES,
    ChannelType,
    CommonCap,
    LinkError,
    Mechanism,
)
from broker.spice.errors import LocalProtocolError, RemoteProtocolError
from broker.spice.link_stage import LinkStage, size_behind
from broker.spice.wire import U32, LinkHeader, LinkMess, LinkReply


@dataclass(frozen=True, slots=True)
class LinkRequested:
    """The viewer said what it wants; answer with `offer` or `refuse`."""

    mess: LinkMess


@dataclass(frozen=True, slots=True)
class TicketReceived:
    """The viewer's ticket is here; answer with `accept` or `refuse`."""

    sealed: bytes
    """128 bytes under the key that was offered."""


_CHANNEL_TYPES = frozenset(ChannelType)
_LEAST_BYTES = LinkMess.SIZE + SEALED_TICKET_BYTES
"""Behind the header there is at least that much before the first message: a request without
capabilities, and a ticket."""
_HEADER, _REQUEST, _OFFER, _MECHANISM, _TICKET, _WORD = range(6)
"""What is waited for: pieces of the viewer's, our offer, and our word on the ticket."""
_ACCEPTED: Final = U32.pack(LinkError.OK)
ServerEvent = LinkRequested | TicketReceived


class ServerLink(LinkStage[ServerEvent]):
    """The server's side of one link handshake. When it failed, a reply is queued."""

    __slots__ = ("_at", "_selects")

    def __init__(self) -> None:
        super().__init__(LinkHeader.SIZE, _LEAST_BYTES)
        self._at = _HEADER
        self._selects = False

    def offer(self, public_key: bytes, common_caps: int, channel_caps: int) -> list[ServerEvent]:
        """Answer the request: go on, under this key, with these capabilities.

        Returns:
            What bytes that are already here complete; empty when only `bytes_wanted` were read.

        Raises:
            LocalProtocolError: There is no request to answer.
        """
        if self._at != _OFFER or self.done:
            raise LocalProtocolError("an offer answers one request")
        # A client without AUTH_SELECTION sends its ticket at once; spice-server looks at the
        # client's capability here, and we always offer ours.
        if self._selects:
            self._at, self._needs, self._then = _MECHANISM, U32.size, SEALED_TICKET_BYTES
        else:
            self._at, self._needs = _TICKET, SEALED_TICKET_BYTES
        self._outgoing += _offered(public_key, common_caps, channel_caps)
        return self._advance()

    def accept(self) -> None:
        """The ticket is good.

        Raises:
            LocalProtocolError: There is no ticket to judge.
        """
        if self._at != _WORD or self.done:
            raise LocalProtocolError("only a ticket can be accepted")
        self._outgoing += _ACCEPTED
        self.done = True

    def refuse(self, error: LinkError) -> None:
        """Say no in the form this step has for it: a reply before the offer, a result after it.

        Between the offer and the ticket the protocol has no form: nothing is said.
        """
        if self.done:
            return
        self._end()
        if self._at == _WORD:
            self._outgoing += U32.pack(error)
        elif self._at <= _OFFER:
            self._outgoing += LinkReply(error).encode()

    def _answer_to(self, failure: RemoteProtocolError) -> bytes:
        return LinkReply(failure.reply).encode()

    def _take(self, piece: bytes) -> ServerEvent | None:
        at = self._at
        if at == _HEADER:
            size = size_behind(piece, LinkMess.SIZE, "link message", "starts")
            self._at, self._needs, self._then = _REQUEST, size, 0
            return None
        if at == _REQUEST:
            mess = LinkMess.decode(piece)
            if mess.channel_type not in _CHANNEL_TYPES:
                raise RemoteProtocolError(
                    f"channel type {mess.channel_type} does not exist",
                    LinkError.CHANNEL_NOT_AVAILABLE,
                )
            self._selects = bool(mess.common_caps >> CommonCap.AUTH_SELECTION & 1)
            self._at, self._needs = _OFFER, 0
            return LinkRequested(mess)
        if at == _MECHANISM:
            (mechanism,) = U32.unpack(piece)
            if mechanism != Mechanism.SPICE:
                raise RemoteProtocolError(
                    f"authentication by mechanism {mechanism}, only a ticket is accepted"
                )
            self._at, self._needs, self._then = _TICKET, SEALED_TICKET_BYTES, 0
            return None
        self._at, self._needs = _WORD, 0
        return TicketReceived(piece)


@lru_cache(64)
def _offered(public_key: bytes, common_caps: int, channel_caps: int) -> bytes:
    """The same for all channels of a kind to servers of a kind."""
    return LinkReply(LinkError.OK, public_key, common_caps, channel_caps).encode()
