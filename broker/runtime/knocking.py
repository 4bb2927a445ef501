"""Knocking at a SPICE server: does anybody answer, is it the right host, does it take a ticket.

Nobody is thrown off the screen, and no VM is put at risk: the link stage is left before its
ticket, and the ticket is tried on a channel of a session that does not exist.
"""

from __future__ import annotations

import secrets
import ssl
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from broker import pki
from broker.clock import Clock
from broker.errors import BrokerError, ConfigError, Unreachable
from broker.findings import CertificateFacts, Finding, Step, broken, fine
from broker.model import Console, Target, TcpTarget
from broker.proxy.dial import TargetDialer, secured
from broker.proxy.leg import Leg, LegClosed
from broker.proxy.tls import StdlibEngine
from broker.service.doctor import Check, examine
from broker.spice.client_link import ClientEvent, ClientLink, LinkOffered, LinkRefused
from broker.spice.constants import COMMON_CAPS, MAX_TICKET_CHARS, ChannelType, LinkError
from broker.spice.ticket import seal
from broker.spice.wire import LinkMess
from broker.within import within

if TYPE_CHECKING:
    import socket

DIAL_SECONDS: Final = 5.0
"""For a connection, with its TLS."""
ANSWER_SECONDS: Final = 5.0
"""For one answer in the link stage."""
_READ_BYTES: Final = 4096


class Knock:
    """One door. Each call makes a connection of its own; Unreachable when nobody answers."""

    def __init__(self, target: Target) -> None:
        self._target = target

    async def reach(self) -> None:
        """Something accepts a connection."""
        (await self._dial()).close()

    async def leg(self) -> Leg:
        """A connection, its certificate checked where TLS is spoken; the caller closes it."""
        try:
            async with within(DIAL_SECONDS):
                return await secured(await TargetDialer(_HandOver()).dial(self._target))
        except TimeoutError as exc:
            raise _silent() from exc

    async def offered(self, channel: ChannelType) -> tuple[Leg, ClientLink, bytes]:
        """A link that waits for its ticket, and the key for that; leaving it there harms nobody."""
        session = 0 if channel is ChannelType.MAIN else secrets.randbits(31) | 1
        link = ClientLink(LinkMess(session, channel, 0, COMMON_CAPS, 0))
        leg = await self.leg()
        try:
            await leg.send(link.data_to_send())
            offered = await _event(leg, link)
            if not isinstance(offered, LinkOffered):
                raise _refusal(offered)
        except BaseException:
            leg.close()
            raise
        return leg, link, offered.reply.public_key

    async def takes(self, ticket: str) -> bool:
        """Whether that is its ticket."""
        if len(ticket.encode()) > MAX_TICKET_CHARS:
            return False
        leg, link, key = await self.offered(ChannelType.INPUTS)
        try:
            link.present(seal(ticket.encode(), key))
            await leg.send(link.data_to_send())
            answer = await _event(leg, link)
        finally:
            leg.close()
        return not (isinstance(answer, LinkRefused) and answer.error == LinkError.PERMISSION_DENIED)

    async def shown(self) -> CertificateFacts:
        """The certificate that it shows, whether that is to be trusted or not."""
        context = pki.backend_context(None)
        context.verify_mode = ssl.CERT_NONE
        host = self._target.host if isinstance(self._target, TcpTarget) else ""
        engine = StdlibEngine(context, server_side=False, server_hostname=host)
        leg = Leg(await self._dial(), engine)
        try:
            async with within(DIAL_SECONDS):
                await leg.handshake()
            return pki.facts_of(engine.peer_certificate() or b"")
        except (TimeoutError, LegClosed, ValueError) as exc:
            raise Unreachable(
                "It accepts connections, but speaks no TLS on this port",
                fix="Check which of its ports has TLS",
            ) from exc
        finally:
            leg.close()

    async def _dial(self) -> socket.socket:
        try:
            async with within(DIAL_SECONDS):
                return (await TargetDialer(_HandOver()).dial(self._target)).sock
        except TimeoutError as exc:
            raise _silent() from exc


class _HandOver:
    async def hand_over(self, control_path: str) -> socket.socket:
        from broker.vm.handover import hand_over

        return await hand_over(control_path)


async def _event(leg: Leg, link: ClientLink) -> ClientEvent:
    """The next thing that a server says in the link stage."""
    try:
        async with within(ANSWER_SECONDS):
            while True:
                data = await leg.receive(_READ_BYTES)
                events = link.receive_data(data)
                if link.failure is not None:
                    raise BrokerError(
                        f"It does not speak SPICE ({link.failure})", fix="Check the console's port"
                    )
                if events:
                    return events[0]
    except TimeoutError as exc:
        raise Unreachable(
            f"It accepts connections but says nothing for {ANSWER_SECONDS:g} seconds",
            fix="Check that this port is the machine's SPICE port",
        ) from exc
    except LegClosed as exc:
        raise Unreachable(
            "It closes the connection without an answer",
            fix="Check that this port is the machine's SPICE port",
        ) from exc


def _refusal(event: ClientEvent) -> Unreachable:
    error = event.error if isinstance(event, LinkRefused) else LinkError.ERROR
    if error == LinkError.NEED_SECURED:
        return Unreachable(
            "It wants TLS on this port", fix="Set secure_port and ca_cert of the console"
        )
    return Unreachable(f"It refuses to link (error {error})", fix="Look at the machine's own log")


def _silent() -> Unreachable:
    return Unreachable(
        f"It does not answer within {DIAL_SECONDS:g} seconds",
        fix="Check its address and the firewalls between",
    )


async def look_at(console: Console, clock: Clock) -> Sequence[Step]:
    """What answers where a console is said to be, each of its ports by itself; never an error."""
    steps: list[Step] = []
    for name, target in _doors(console.target):
        door = _Door(name, Knock(target), target, console.ticket)
        steps += [step async for step in examine(door.checks(), clock, stop_at_failure=True)]
    return steps


def _doors(target: Target) -> Iterator[tuple[str, Target]]:
    if not isinstance(target, TcpTarget):
        yield "socket", target
        return
    if target.port is not None:
        yield f"port {target.port}", replace(target, tls_port=None)
    if target.tls_port is not None:
        yield f"TLS port {target.tls_port}", replace(target, port=None)


class _Door:
    """The looks at one port."""

    def __init__(self, name: str, knock: Knock, target: Target, ticket: str | None) -> None:
        self._name = name
        self._knock = knock
        self._target = target
        self._ticket = ticket

    def checks(self) -> Iterator[Check]:
        """In order; none makes sense once one before has failed."""
        yield Check(self._name, self._reach)
        if isinstance(self._target, TcpTarget) and self._target.tls_port is not None:
            yield Check("certificate", self._certificate)
        yield Check("SPICE", self._link)
        yield Check("ticket", self._tried)

    async def _reach(self) -> Finding:
        await self._knock.reach()
        return fine("accepts connections")

    async def _certificate(self) -> Finding:
        facts = await self._knock.shown()
        whose = f"{facts.subject or 'no subject'}, SHA-256 {facts.fingerprint}"
        try:
            (await self._knock.leg()).close()
        except (ConfigError, Unreachable) as problem:
            return broken(f"{problem.what}; it shows {whose}", problem.fix)
        return fine(f"verified: {whose}")

    async def _link(self) -> Finding:
        leg, _, _ = await self._knock.offered(ChannelType.MAIN)
        leg.close()
        return fine("answers as a SPICE server")

    async def _tried(self) -> Finding:
        if await self._knock.takes(self._ticket or ""):
            return fine("accepted" if self._ticket else "none is asked for")
        if not self._ticket:
            return broken("it asks for a ticket", "Give the console's ticket")
        return broken(
            "it refuses this ticket", "Correct the console's ticket, or set it anew there"
        )
