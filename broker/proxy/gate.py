"""What the proxy needs of the house: who may reach what, a socket to it, and somebody to tell.

Nothing here is awaited while bytes are relayed: `admit` and `join` belong to the link stage, and
`record` returns at once.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Protocol

from broker.errors import Refused, Unreachable
from broker.latency import Timing
from broker.model import GivenTarget, SessionId, Target
from broker.spice.agent import AgentRules


@dataclass(frozen=True, slots=True)
class Peer:
    """A viewer's address."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Policy:
    """What a link may do, beyond what keeps the VM alive."""

    view_only: bool = False
    """Keys and pointer are swallowed."""
    hidden: frozenset[int] = frozenset()
    """Channel types that are taken out of the list and refused."""
    agent: AgentRules = field(default_factory=AgentRules)
    """What viewer and guest agent may talk about."""


@dataclass(frozen=True, slots=True)
class Admission:
    """Somebody may use a machine's screen."""

    session: SessionId
    digest: bytes = field(repr=False)
    """`tokens.digest` of the token: every later channel must show the same one."""
    target: Target
    console: str = ""
    """The machine's name, for logs."""
    ticket: str = field(default="", repr=False)
    """The hypervisor's password; empty where none is needed."""
    policy: Policy = Policy()


# --- what happened ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ChannelOpened:
    """Bytes flow on a channel; `main` is the first of a session."""

    session: SessionId
    channel: str
    """`main`, or type and id: `display.0`."""
    peer: Peer


@dataclass(frozen=True, slots=True)
class ChannelClosed:
    """A channel that was opened has ended."""

    session: SessionId
    channel: str
    reason: str
    """Stable kebab-case: `client-closed`, `backend-closed`, `session-ended`, `firewall`, …"""
    bytes_to_client: int
    bytes_to_server: int
    text: str = ""
    """More about the reason, for people."""


@dataclass(frozen=True, slots=True)
class SessionClosed:
    """A session that `admit` opened has ended."""

    session: SessionId
    reason: str
    established: bool
    """Whether the viewer ever reached the machine; if not, its token may be good for a retry."""
    text: str = ""


@dataclass(frozen=True, slots=True)
class ConnectionRefused:
    """A connection was turned away before bytes flowed."""

    peer: Peer
    reason: str
    """Stable kebab-case: `token-unknown`, `handshake-timeout`, `backend-unreachable`, …"""
    text: str
    session: SessionId | None = None
    channel: str = ""


@dataclass(frozen=True, slots=True)
class Traffic:
    """Bytes that a channel has carried since it was opened; about once a second, when changed."""

    session: SessionId
    channel: str
    bytes_to_client: int
    bytes_to_server: int


@dataclass(frozen=True, slots=True)
class Timed:
    """The times of a channel, in all since it was opened; about once a second, when changed."""

    session: SessionId
    channel: str
    timing: Timing


@dataclass(frozen=True, slots=True)
class Judged:
    """What the firewall did with messages of a channel since it last told."""

    session: SessionId
    channel: str
    verdict: str
    """`refused` (that ended the channel), `warned` (let by) or `dropped` (by the link's policy)."""
    messages: tuple[tuple[str, int], ...]
    """Kinds of message and how many, the most frequent first."""


Notice = (
    ChannelOpened | ChannelClosed | SessionClosed | ConnectionRefused | Traffic | Timed | Judged
)


class Gate(Protocol):
    """Who may reach what, and who is told what happened."""

    async def admit(self, token: str, peer: Peer) -> Admission:
        """Open a session for whoever shows `token`; called once per session, for MAIN.

        The proxy will report `SessionClosed` for every session that was opened here.

        Raises:
            Refused: Its `reason` goes to the audit log; the viewer asks for a password again.
            BrokerError: Anything else in the way; the viewer says that it cannot connect.
        """
        ...

    async def join(self, admission: Admission, channel: str, peer: Peer) -> Admission:
        """Another channel of a live session; the proxy checks the token itself.

        Returns:
            The same admission, or one with a fresher target and ticket for this channel.

        Raises:
            Refused: Not this channel, not now.
        """
        ...

    def record(self, notice: Notice) -> None:
        """Take note. Called on the event loop: must return at once and never raise."""
        ...


# --- a socket to the machine --------------------------------------------------------------------


class BackendUnreachable(Unreachable):
    """The hypervisor's SPICE server cannot be reached, or did not answer in time."""

    code = "backend-unreachable"


class BackendUntrusted(Unreachable):
    """The hypervisor showed a certificate that is not the one expected."""

    code = "backend-untrusted"


class BackendForbidden(Refused):
    """The source sends us to an address that its policy does not allow."""

    code = "backend-forbidden"


class BackendDenied(Refused):
    """The hypervisor's SPICE server refused our ticket, or the channel."""

    code = "backend-denied"


@dataclass(frozen=True, slots=True)
class BackendTls:
    """How a TLS leg towards a hypervisor is verified."""

    context: ssl.SSLContext
    """Verifies the chain, and not the name."""
    host: str
    """What the certificate is checked for when no subject is expected; also sent as SNI."""
    host_subject: str | None = None
    """The certificate's whole subject, `O=Lab,CN=node1`."""


@dataclass(frozen=True, slots=True)
class Dialed:
    """A connected, non-blocking socket to a SPICE server; who gets it must close it."""

    sock: socket.socket
    tls: BackendTls | None = None


class Dialer(Protocol):
    """Reaches SPICE servers."""

    async def dial(self, target: Target) -> Dialed:
        """Connect, without TLS or SPICE yet; the caller sets the time-out.

        Raises:
            Unreachable: It does not answer; `what` says why.
            NoConsole: The machine is off.
        """
        ...


class Spares(Protocol):
    """Keeps connections open for us if this process should be killed."""

    def kept(
        self, sock: socket.socket, *, main: bool = False
    ) -> contextlib.AbstractContextManager[None]:
        """While the body runs, the server does not see that connection end, come what may.

        Our own closing of it is seen once the body is over; `shutdown` is seen at once.

        Args:
            main: It is a session's MAIN, which has to outlive the session's displays.
        """
        ...


class NoSpares:
    """Nobody keeps them: a process that is killed takes them along."""

    def kept(
        self, sock: socket.socket, *, main: bool = False
    ) -> contextlib.AbstractContextManager[None]:
        """See `Spares`."""
        return contextlib.nullcontext()


class HandOver(Protocol):
    """Hands one end of a fresh loopback TCP connection to a local QEMU."""

    async def hand_over(self, control_path: str) -> socket.socket:
        """The other end, connected, non-blocking; QEMU serves SPICE on its own.

        It must be TCP: over a unix pair spice-server neither compresses nor pings.

        Raises:
            Unreachable: QEMU's monitor does not answer.
            NoConsole: The machine is off.
        """
        ...


Give = Callable[[GivenTarget], Awaitable[socket.socket]]
"""The same by the driver of the machine's source, which may answer SourceUnreachable."""
