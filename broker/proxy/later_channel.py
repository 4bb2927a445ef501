"""Every channel but MAIN: it joins a session that lives.

The connection id says which machine, so the server is linked first and its own capabilities are
shown to the viewer. VM rules (see `channel`) 1, 2, 3 and 5 are obeyed here.
"""

from __future__ import annotations

import contextlib
import hmac
import socket
from collections.abc import Callable
from typing import Final

from broker import tokens
from broker.errors import BrokerError, Refused
from broker.proxy.backend import Backend
from broker.proxy.gate import Admission
from broker.proxy.leg import Leg, LegClosed
from broker.proxy.relay import Relay
from broker.proxy.seats import Seat
from broker.proxy.session import Session
from broker.proxy.steps import MINI, Steps
from broker.proxy.viewer import TurnedAway, Viewer
from broker.spice.constants import (
    AUTH_CAPS,
    CLEARED_CAPS,
    COMMON_CAPS,
    ChannelType,
    ClientDisplay,
    LinkError,
)
from broker.spice.inspector import Inspector
from broker.spice.policy import (
    FROM_CLIENT,
    FROM_SERVER,
    is_safe_display_init,
    looking_on,
    opening_bytes,
)
from broker.spice.usb_inspector import usb_inspectors
from broker.spice.wire import DisplayInit, Header, LinkMess
from broker.within import within

FIRST_BODY_MAX: Final = 4096
"""More of a server's first message is not waited for; SET_ACK and PORT INIT are far smaller."""
GREETED: Final = frozenset({ChannelType.PORT, ChannelType.WEBDAV})
"""The server sends PORT INIT at once, and dies when that cannot be written: VM rule 1 for them."""
DEVICES: Final = frozenset({ChannelType.USBREDIR, ChannelType.PORT, ChannelType.WEBDAV})
"""What is said on these goes into a device of the machine, which may answer at once: VM rule 5."""
DEVICE_SECONDS: Final = 30.0
"""The longest that a server which does not answer is waited for before such a channel is closed."""


_KINDS: Final = {int(kind): kind for kind in ChannelType}


class LaterChannel:
    """Serves connections that name a session."""

    def __init__(self, steps: Steps) -> None:
        self._steps = steps

    async def serve(
        self,
        viewer: Viewer,
        mess: LinkMess,
        name: str,
        seat: Seat | None,
        admitted: Callable[[], None],
    ) -> None:
        """From the request to the end of the channel.

        Args:
            seat: In the session that the connection id names; None for nothing that lives.

        Raises:
            TurnedAway: It did not come to relaying.
            SessionOver: The session ended before that.
        """
        if seat is None:
            await viewer.offer(COMMON_CAPS, 0)
            await viewer.ticket()
            raise TurnedAway("session-unknown", "no such session", LinkError.BAD_CONNECTION_ID)
        session = seat.session
        kind = _KINDS[mess.channel_type]
        if kind not in FROM_CLIENT or kind in session.admission.policy.hidden:
            raise TurnedAway(
                "channel-forbidden", f"{name} may not be opened", LinkError.PERMISSION_DENIED
            )
        admission = await self._join(seat)
        cleared = CLEARED_CAPS.get(kind, 0)
        asked = LinkMess(
            session.backend_id,
            kind,
            mess.channel_id,
            AUTH_CAPS | mess.common_caps & MINI,
            mess.channel_caps & ~cleared,
        )
        backend = await self._steps.open(session, admission, asked, LinkError.CHANNEL_NOT_AVAILABLE)
        leg = backend.leg
        try:
            await viewer.offer(
                AUTH_CAPS | backend.reply.common_caps & MINI, backend.reply.channel_caps & ~cleared
            )
            await self._check_token(session, viewer)
            async with seat.claimed():
                relay = await self._link_later(seat, viewer, kind, backend, admitted)
                del backend, asked, admission  # the channel may live for hours
                ending = await self._steps.relay(session, name, viewer.peer, relay)
                if session.end_reason and ending.reason == session.end_reason:
                    await self._read_to_end(session, leg)
                elif kind in DEVICES:
                    await self._let_end(leg)
        finally:
            leg.close()

    async def _join(self, seat: Seat) -> Admission:
        try:
            with self._steps.stage(seat.session):
                return await seat.join()
        except Refused as exc:
            raise TurnedAway(exc.reason, exc.what, LinkError.PERMISSION_DENIED) from exc
        except BrokerError as exc:
            raise TurnedAway(exc.code, exc.what, LinkError.ERROR) from exc

    async def _check_token(self, session: Session, viewer: Viewer) -> None:
        token = await viewer.ticket(session)
        if token is None or not hmac.compare_digest(tokens.digest(token), session.admission.digest):
            raise TurnedAway(
                "token-wrong",
                "the password is not the one that opened the session",
                LinkError.PERMISSION_DENIED,
            )

    async def _link_later(
        self,
        seat: Seat,
        viewer: Viewer,
        kind: ChannelType,
        backend: Backend,
        admitted: Callable[[], None],
    ) -> Relay:
        session = seat.session
        mini = backend.link.mini_header
        to_server, to_client = self._inspectors(session, kind, mini=mini)
        first = b""
        if kind is ChannelType.DISPLAY:
            await viewer.accept()
            admitted()
            with self._steps.stage(session):
                then, later = await self._display_init(viewer, to_server, mini=mini)
            first = await self._cross(seat, backend, then, mini=mini)
            if later:
                with self._steps.stage(session):
                    await self._say_late(backend, later)
        elif kind in GREETED:
            first = await self._cross(seat, backend, b"", mini=mini)
            await viewer.accept()
            admitted()
        else:
            await self._steps.present(session, backend, LinkError.ERROR)
            viewer.accept_and_go_on()
            admitted()
        if first:
            # that it is gone the relay will find
            with self._steps.stage(session), contextlib.suppress(TurnedAway):
                await viewer.say(bytes(to_client.scan(memoryview(first))))
            if to_client.verdict is not None:
                raise TurnedAway("firewall", f"the server's message {to_client.verdict.type}")
        return Relay(viewer.leg, backend.leg, to_client, to_server)

    def _inspectors(
        self, session: Session, kind: ChannelType, *, mini: bool
    ) -> tuple[Inspector, Inspector]:
        """Towards the server and towards the viewer."""
        warns = self._steps.limits.firewall_warns
        if kind is ChannelType.USBREDIR:
            return usb_inspectors(mini=mini, warns=warns)
        rules = FROM_CLIENT[kind]
        if kind is ChannelType.INPUTS and session.admission.policy.view_only:
            rules = looking_on(rules)
        return (
            Inspector(rules, mini=mini, warns=warns),
            Inspector(FROM_SERVER[kind], mini=mini, warns=warns),
        )

    async def _display_init(
        self, viewer: Viewer, to_server: Inspector, *, mini: bool
    ) -> tuple[bytes, bytes]:
        """VM rule 1: the INIT, checked, and whatever the viewer sent right behind it.

        Returns:
            What may cross with the ticket, and what has to wait for SET_ACK: the server drops a
            display for many a message, and must not do so while it waits for INIT.
        """
        head = await viewer.exactly(Header.length(mini=mini), "display request")
        header = Header.decode(head, mini=mini)
        if (header.type, header.size, header.sub_list) != (
            ClientDisplay.INIT,
            DisplayInit.SIZE,
            0,
        ):
            raise TurnedAway(
                "display-init", f"the display began with message {header.type}, not INIT"
            )
        body = await viewer.exactly(header.size, "display request")
        if not is_safe_display_init(body):
            raise TurnedAway("display-init", f"an INIT that harms the machine: {body.hex()}")
        view = memoryview(bytearray(4096))
        try:
            early = bytes(to_server.scan(view[: viewer.leg.read_into(view)]))
        except LegClosed as exc:
            raise TurnedAway("client-closed", "the viewer closed after its INIT") from exc
        if to_server.verdict is not None:
            raise TurnedAway("firewall", f"message {to_server.verdict.type} refused")
        crosses = opening_bytes(early, mini=mini)
        return head + body + early[:crosses], early[crosses:]

    async def _say_late(self, backend: Backend, later: bytes) -> None:
        try:
            await backend.leg.send(later)
        except LegClosed as exc:
            raise TurnedAway("backend-closed", "the server closed the display") from exc

    async def _cross(self, seat: Seat, backend: Backend, then: bytes, *, mini: bool) -> bytes:
        """VM rule 1: the ticket, and no way back before the server's first message.

        There is no time-out here on purpose: closing early is what kills the VM.
        """
        async with seat.crossing():
            try:
                with self._steps.spares.kept(backend.leg.sock):
                    await backend.present(then)
                    await backend.result()
                    return await _first_message(backend, mini=mini)
            except (BrokerError, LegClosed) as exc:
                raise TurnedAway(
                    getattr(exc, "reason", "backend-closed"), f"the channel did not open: {exc}"
                ) from exc

    async def _let_end(self, leg: Leg) -> None:
        """VM rule 5: say that nothing more comes, and let the server close."""
        with contextlib.suppress(TimeoutError, OSError):
            async with within(DEVICE_SECONDS):
                leg.sock.shutdown(socket.SHUT_WR)
                await leg.drop_to_end()

    async def _read_to_end(self, session: Session, leg: Leg) -> None:
        """VM rule 2: the server closes this channel once MAIN is closed."""
        await session.main_closed.wait()
        try:
            async with within(self._steps.limits.close_seconds):
                await leg.drop_to_end()
        except TimeoutError:
            pass


async def _first_message(backend: Backend, *, mini: bool) -> bytes:
    """What the server says first, whole; over TLS it writes header and body one after the other."""
    first, length = b"", Header.length(mini=mini)
    while len(first) < length:
        first += await backend.leg.receive(length - len(first))
    length += min(Header.decode(first, mini=mini).size, FIRST_BODY_MAX)
    while len(first) < length:
        first += await backend.leg.receive(length - len(first))
    return first
