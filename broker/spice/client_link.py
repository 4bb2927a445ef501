"""The link stage as a client has it: what talks to a hypervisor's SPICE server.

The ticket is held back until `present` is called: a display link whose ticket was accepted must
never be dropped before the server has answered its INIT, or QEMU dies.

Source: spice-gtk 0.42 `spice-channel.c`; trials on spice-server 0.15.1.
"""

from dataclasses import dataclass

from broker.spice.constants import (
    MAX_LINK_BYTES,
    SEALED_TICKET_BYTES,
    CommonCap,
    LinkError,
    Mechanism,
)
from broker.spice.errors import LocalProtocolError
from broker.spice.link_stage import LinkStage, size_behind
from broker.spice.wire import U32, LinkHeader, LinkMess, LinkReply

_REPLY_MAX = MAX_LINK_BYTES - LinkHeader.SIZE
"""Behind the header: whatever is there, for nothing follows a reply before our ticket does."""


_BY_TICKET = U32.pack(Mechanism.SPICE)


@dataclass(frozen=True, slots=True)
class LinkOffered:
    """The server is ready for a ticket; answer with `present`, or close."""

    reply: LinkReply


@dataclass(frozen=True, slots=True)
class LinkAccepted:
    """Messages follow from here on."""


@dataclass(frozen=True, slots=True)
class LinkRefused:
    """The server said no, and closes."""

    error: int
    """A `LinkError`, or a number we do not know."""
    ticket_judged: bool
    """Whether it had seen our ticket: a result, not a reply."""


ClientEvent = LinkOffered | LinkAccepted | LinkRefused


_HEADER, _REPLY, _TICKET, _RESULT = range(4)
"""What is waited for: pieces of the server's, and our ticket."""


class ClientLink(LinkStage[ClientEvent]):
    """The client's side of one link handshake. Once it failed, nothing more is sent."""

    __slots__ = ("_at", "_offered_caps", "mess")

    def __init__(self, mess: LinkMess) -> None:
        super().__init__(LinkHeader.SIZE, _REPLY_MAX, mess.encode())
        self.mess = mess
        self._at = _HEADER
        self._offered_caps = 0

    @property
    def mini_header(self) -> bool:
        """Whether messages will have the short header: both sides must have offered it."""
        return bool(self.mess.common_caps & self._offered_caps & 1 << CommonCap.MINI_HEADER)

    def present(self, sealed: bytes, then: bytes = b"") -> list[ClientEvent]:
        """Queue the ticket, and behind it messages that must travel in the same write.

        Args:
            sealed: 128 bytes under the key of the server's reply.
            then: Whole messages to be queued right behind, before the result is known.

        Returns:
            What bytes that are already here complete.

        Raises:
            LocalProtocolError: Nothing was offered, or a ticket was presented before.
        """
        if self._at != _TICKET or self.done:
            raise LocalProtocolError("a ticket answers one offer")
        if len(sealed) != SEALED_TICKET_BYTES:
            raise LocalProtocolError(f"a sealed ticket has {SEALED_TICKET_BYTES} bytes")
        self._at, self._needs = _RESULT, U32.size
        if self.mess.common_caps & self._offered_caps & 1 << CommonCap.AUTH_SELECTION:
            self._outgoing += _BY_TICKET
        self._outgoing += sealed + then
        return self._advance()

    def _take(self, piece: bytes) -> ClientEvent | None:
        if self._at == _HEADER:
            size = size_behind(piece, LinkReply.SIZE, "link reply", "answers")
            self._at, self._needs, self._then = _REPLY, size, 0
            return None
        if self._at == _REPLY:
            reply = LinkReply.decode(piece)
            if reply.error != LinkError.OK:
                self._end()
                return LinkRefused(reply.error, ticket_judged=False)
            self._offered_caps = reply.common_caps
            self._at, self._needs = _TICKET, 0
            return LinkOffered(reply)
        self._end()
        (result,) = U32.unpack(piece)
        return LinkAccepted() if result == LinkError.OK else LinkRefused(result, ticket_judged=True)
