"""The link stage as a server has it: what a viewer talks to.

It decides nothing: which capabilities to offer, and whether a ticket is good, is told to it.

Source: spice-server 0.15.1 `reds.cpp`; "Spice protocol", section Link.
"""

from dataclasses import dataclass

from broker.spice.constants import (
    MAGIC,
    MAX_LINK_BYTES,
    SEALED_TICKET_BYTES,
    VERSION_MAJOR,
    ChannelType,
    CommonCap,
    LinkError,
    Mechanism,
)
from broker.spice.errors import LocalProtocolError, RemoteProtocolError
from broker.spice.link_stage import LinkStage
from broker.spice.stream import NO_STEPS, Steps
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
ServerEvent = LinkRequested | TicketReceived


class ServerLink(LinkStage[ServerEvent]):
    """The server's side of one link handshake. When it failed, a reply is queued."""

    __slots__ = ("_asked", "_offered", "_ticket_seen")

    def __init__(self) -> None:
        self._offered = False
        self._ticket_seen = False
        self._asked = False
        super().__init__()

    def offer(self, public_key: bytes, common_caps: int, channel_caps: int) -> list[ServerEvent]:
        """Answer the request: go on, under this key, with these capabilities.

        Returns:
            What bytes that are already here complete; empty when only `bytes_wanted` were read.

        Raises:
            LocalProtocolError: There is no request to answer.
        """
        if not self._asked or self._offered or self.done:
            raise LocalProtocolError("an offer answers one request")
        self._offered = True
        self._outgoing += LinkReply(LinkError.OK, public_key, common_caps, channel_caps).encode()
        return self._advance()

    def accept(self) -> None:
        """The ticket is good.

        Raises:
            LocalProtocolError: There is no ticket to judge.
        """
        if not self._ticket_seen or self.done:
            raise LocalProtocolError("only a ticket can be accepted")
        self._outgoing += U32.pack(LinkError.OK)
        self.done = True
        self._steps = NO_STEPS

    def refuse(self, error: LinkError) -> None:
        """Say no in the form this step has for it: a reply before the offer, a result after it.

        Between the offer and the ticket the protocol has no form: nothing is said.
        """
        if self.done:
            return
        self.done = True
        if self._ticket_seen:
            self._outgoing += U32.pack(error)
        elif not self._offered:
            self._outgoing += LinkReply(error).encode()

    def _answer_to(self, failure: RemoteProtocolError) -> bytes:
        return LinkReply(failure.reply).encode()

    def _handshake(self) -> Steps:
        header = LinkHeader.decode((yield from self._stream.exactly(LinkHeader.SIZE, _LEAST_BYTES)))
        if header.magic != MAGIC:
            raise RemoteProtocolError(
                f"not SPICE: starts with {header.magic!r}", LinkError.INVALID_MAGIC
            )
        if header.major != VERSION_MAJOR:
            raise RemoteProtocolError(
                f"protocol version {header.major}, expected {VERSION_MAJOR}",
                LinkError.VERSION_MISMATCH,
            )
        if not LinkMess.SIZE <= header.size <= MAX_LINK_BYTES:
            raise RemoteProtocolError(
                f"link message of {header.size} bytes, expected {LinkMess.SIZE} to {MAX_LINK_BYTES}"
            )
        mess = LinkMess.decode((yield from self._stream.exactly(header.size)))
        if mess.channel_type not in _CHANNEL_TYPES:
            raise RemoteProtocolError(
                f"channel type {mess.channel_type} does not exist", LinkError.CHANNEL_NOT_AVAILABLE
            )
        self._asked = True
        self._events.append(LinkRequested(mess))
        while not self._offered:
            yield
        # A client without AUTH_SELECTION sends its ticket at once; spice-server looks at the
        # client's capability here, and we always offer ours.
        if mess.common_caps >> CommonCap.AUTH_SELECTION & 1:
            (mechanism,) = U32.unpack(
                (yield from self._stream.exactly(U32.size, SEALED_TICKET_BYTES))
            )
            if mechanism != Mechanism.SPICE:
                raise RemoteProtocolError(
                    f"authentication by mechanism {mechanism}, only a ticket is accepted"
                )
        sealed = yield from self._stream.exactly(SEALED_TICKET_BYTES)
        self._ticket_seen = True
        self._events.append(TicketReceived(sealed))
