"""The link stage as a client has it: what talks to a hypervisor's SPICE server.

The ticket is held back until `present` is called: a display link whose ticket was accepted must
never be dropped before the server has answered its INIT, or QEMU dies.

Source: spice-gtk 0.42 `spice-channel.c`; trials on spice-server 0.15.1.
"""

from dataclasses import dataclass

from broker.spice.constants import (
    MAGIC,
    MAX_LINK_BYTES,
    SEALED_TICKET_BYTES,
    VERSION_MAJOR,
    CommonCap,
    LinkError,
    Mechanism,
)
from broker.spice.errors import LocalProtocolError, RemoteProtocolError
from broker.spice.link_stage import LinkStage
from broker.spice.stream import Steps
from broker.spice.wire import U32, LinkHeader, LinkMess, LinkReply

_REPLY_MAX = MAX_LINK_BYTES - LinkHeader.SIZE
"""Behind the header: whatever is there, for nothing follows a reply before our ticket does."""


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


class ClientLink(LinkStage[ClientEvent]):
    """The client's side of one link handshake. Once it failed, nothing more is sent."""

    __slots__ = ("_presented", "_reply", "mess")

    def __init__(self, mess: LinkMess) -> None:
        self.mess = mess
        self._reply: LinkReply | None = None
        self._presented = False
        super().__init__(mess.encode())

    @property
    def mini_header(self) -> bool:
        """Whether messages will have the short header: both sides must have offered it."""
        offered = self._reply.common_caps if self._reply else 0
        return bool(self.mess.common_caps & offered & 1 << CommonCap.MINI_HEADER)

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
        if self._reply is None or self._presented or self.done:
            raise LocalProtocolError("a ticket answers one offer")
        if len(sealed) != SEALED_TICKET_BYTES:
            raise LocalProtocolError(f"a sealed ticket has {SEALED_TICKET_BYTES} bytes")
        self._presented = True
        selects = self.mess.common_caps & self._reply.common_caps & 1 << CommonCap.AUTH_SELECTION
        if selects:
            self._outgoing += U32.pack(Mechanism.SPICE)
        self._outgoing += sealed + then
        return self._advance()

    def _handshake(self) -> Steps:
        header = LinkHeader.decode((yield from self._stream.exactly(LinkHeader.SIZE, _REPLY_MAX)))
        if header.magic != MAGIC:
            raise RemoteProtocolError(f"not SPICE: answers with {header.magic!r}")
        if header.major != VERSION_MAJOR:
            raise RemoteProtocolError(f"protocol version {header.major}, expected {VERSION_MAJOR}")
        if not LinkReply.SIZE <= header.size <= MAX_LINK_BYTES:
            raise RemoteProtocolError(
                f"link reply of {header.size} bytes, expected {LinkReply.SIZE} to {MAX_LINK_BYTES}"
            )
        reply = LinkReply.decode((yield from self._stream.exactly(header.size)))
        if reply.error != LinkError.OK:
            self.done = True
            self._events.append(LinkRefused(reply.error, ticket_judged=False))
            return
        self._reply = reply
        self._events.append(LinkOffered(reply))
        while not self._presented:
            yield
        (result,) = U32.unpack((yield from self._stream.exactly(U32.size)))
        self.done = True
        if result == LinkError.OK:
            self._events.append(LinkAccepted())
        else:
            self._events.append(LinkRefused(result, ticket_judged=True))
