"""One connection's life after TLS: link stage, backend, relay, and its part in the end.

The rules that keep spice-server 0.15 alive, each marked VM where it is obeyed:

1. A display's backend ticket is held back until the viewer's DISPLAY INIT is here and is sane;
   both go in one write, and the connection stays until SET_ACK came back.
2. MAIN is closed only when no display is in that window; the server closes the rest, which is
   read to its end.
3. One DISPLAY INIT per link: the relay's table has none.
4. MAIN is only ever opened with connection id 0, and migration is never offered.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
from collections.abc import AsyncIterator, Callable

from broker import tokens
from broker.errors import BrokerError, Refused
from broker.model import SessionId
from broker.proxy.backend import Backend, open_backend
from broker.proxy.gate import (
    Admission,
    BackendUnreachable,
    ChannelClosed,
    ChannelOpened,
    ConnectionRefused,
    Dialer,
    Gate,
    Peer,
    SessionClosed,
)
from broker.proxy.leg import Leg, LegClosed
from broker.proxy.limits import Limits
from broker.proxy.relay import Ending, Relay
from broker.proxy.session import Session, SessionOver, Sessions
from broker.proxy.viewer import TurnedAway, Viewer
from broker.spice.constants import (
    AUTH_CAPS,
    COMMON_CAPS,
    GL_CAPS,
    MAIN_CAPS,
    ChannelType,
    ClientDisplay,
    CommonCap,
    LinkError,
    caps_of,
)
from broker.spice.inspector import Inspector
from broker.spice.policy import (
    FROM_CLIENT,
    FROM_SERVER,
    HIDDEN,
    Rules,
    is_safe_display_init,
    looking_on,
    main_from_server,
)
from broker.spice.ticket import TicketKey
from broker.spice.wire import DisplayInit, Header, LinkMess

_MINI = caps_of(CommonCap.MINI_HEADER)


def channel_name(mess: LinkMess) -> str:
    """`main`, or type and id as people read them: `display.0`."""
    kind = ChannelType(mess.channel_type).name.lower()
    return kind if mess.channel_type == ChannelType.MAIN else f"{kind}.{mess.channel_id}"


class Channels:
    """Serves connections, one call each."""

    def __init__(
        self, gate: Gate, dialer: Dialer, limits: Limits, sessions: Sessions, key: TicketKey
    ) -> None:
        self.key = key
        """For links that begin from now on; may be replaced at any time."""
        self.relays: dict[tuple[SessionId, str], Relay] = {}
        """What is being relayed, for the traffic report."""
        self._gate = gate
        self._dialer = dialer
        self._limits = limits
        self._sessions = sessions

    async def serve(
        self, leg: Leg, peer: Peer, admitted: Callable[[], None], *, early: bytes = b""
    ) -> None:
        """Serve one connection from LinkMess to its end; closes the leg.

        Args:
            admitted: Called once it has shown a good ticket.
            early: Bytes of the leg that were read already.
        """
        viewer = Viewer(leg, peer, self.key, self._limits.link_seconds, early=early)
        name, session = "", None
        try:
            mess = await viewer.request()
            name = channel_name(mess)
            if mess.channel_type == ChannelType.MAIN:
                await self._main(viewer, mess, admitted)
            else:
                session = self._sessions.find(mess.connection_id)
                await self._later(viewer, mess, name, session, admitted)
        except TurnedAway as exc:
            if exc.error is not None:
                await viewer.refuse(exc.error)
            self._gate.record(
                ConnectionRefused(
                    peer,
                    exc.reason,
                    exc.text,
                    session.admission.session if session else None,
                    name,
                )
            )
        except SessionOver:
            pass  # told by SessionClosed
        finally:
            await leg.finish(self._limits.close_seconds)

    async def refuse_plain(self, leg: Leg, peer: Peer, *, early: bytes = b"") -> None:
        """Tell a viewer without TLS to come back with it; closes the leg."""
        viewer = Viewer(leg, peer, self.key, self._limits.link_seconds, early=early)
        try:
            await viewer.request()
            await viewer.refuse(LinkError.NEED_SECURED)
            raise TurnedAway("plain", "the viewer came without TLS")
        except TurnedAway as exc:
            self._gate.record(ConnectionRefused(peer, exc.reason, exc.text))
        finally:
            await leg.finish(self._limits.close_seconds)

    # -- MAIN: opens a session

    async def _main(self, viewer: Viewer, mess: LinkMess, admitted: Callable[[], None]) -> None:
        if mess.connection_id:  # VM rule 4: the server would take it for a migration
            raise TurnedAway(
                "main-not-new",
                f"MAIN asked for connection {mess.connection_id}",
                LinkError.BAD_CONNECTION_ID,
            )
        await viewer.offer(COMMON_CAPS, MAIN_CAPS)
        admission = await self._admit(viewer)
        admitted()
        session = self._sessions.open(admission, viewer.peer)
        ending, established = Ending("failed"), False
        try:
            backend = await self._link_main(session, viewer, mess)
            established = True
            ending = await self._relay_main(session, viewer, backend)
        except TurnedAway as exc:
            ending = Ending(exc.reason, exc.text)
            raise
        except SessionOver:
            ending = Ending(session.end_reason)
        finally:
            session.end(ending.reason)
            session.main_closed.set()
            await session.emptied(self._limits.close_seconds)
            self._sessions.forget(session)
            self._gate.record(
                SessionClosed(admission.session, session.end_reason, established, ending.text)
            )

    async def _admit(self, viewer: Viewer) -> Admission:
        token = await viewer.ticket()
        if token is None:
            raise TurnedAway(
                "token-unreadable", "the password cannot be read", LinkError.PERMISSION_DENIED
            )
        try:
            return await self._gate.admit(token, viewer.peer)
        except Refused as exc:
            raise TurnedAway(exc.reason, exc.what, LinkError.PERMISSION_DENIED) from exc
        except BrokerError as exc:
            raise TurnedAway(exc.code, exc.what) from exc

    async def _link_main(self, session: Session, viewer: Viewer, mess: LinkMess) -> Backend:
        """Link to the server as the viewer linked to us, and pass its word on."""
        mini = mess.common_caps & _MINI
        asked = LinkMess(0, ChannelType.MAIN, 0, AUTH_CAPS | mini, mess.channel_caps & MAIN_CAPS)
        backend = await self._open(session, session.admission, asked, None)
        try:
            if backend.link.mini_header != bool(mini):
                raise TurnedAway("backend-headers", "the hypervisor knows long headers only")
            await self._present(session, backend, None)
            await viewer.accept()
        except BaseException:
            backend.leg.close()
            raise
        return backend

    async def _relay_main(self, session: Session, viewer: Viewer, backend: Backend) -> Ending:
        mini = backend.link.mini_header
        admission = session.admission

        def learn(backend_id: int) -> None:
            session.backend_id = backend_id

        hidden = HIDDEN | admission.policy.hidden
        from_server = main_from_server(session.connection_id, hidden, learn)
        relay = Relay(
            viewer.leg,
            backend.leg,
            Inspector(from_server, mini=mini),
            Inspector(FROM_CLIENT[ChannelType.MAIN], mini=mini),
        )
        reason = "failed"
        try:
            ending = await self._relay(session, "main", viewer.peer, relay)
            reason = ending.reason
            return ending
        finally:
            session.end(reason)
            try:
                await session.calm()  # VM rule 2
            finally:
                backend.leg.close()

    # -- every other channel: joins a session

    async def _later(
        self,
        viewer: Viewer,
        mess: LinkMess,
        name: str,
        session: Session | None,
        admitted: Callable[[], None],
    ) -> None:
        if session is None:
            await viewer.offer(COMMON_CAPS, 0)
            await viewer.ticket()
            raise TurnedAway("session-unknown", "no such session", LinkError.BAD_CONNECTION_ID)
        kind = ChannelType(mess.channel_type)
        if kind not in FROM_CLIENT or kind in session.admission.policy.hidden:
            raise TurnedAway(
                "channel-forbidden", f"{name} may not be opened", LinkError.PERMISSION_DENIED
            )
        admission = await self._join(session, name, viewer.peer)
        gl = GL_CAPS if kind is ChannelType.DISPLAY else 0
        asked = LinkMess(
            session.backend_id,
            kind,
            mess.channel_id,
            AUTH_CAPS | mess.common_caps & _MINI,
            mess.channel_caps & ~gl,
        )
        backend = await self._open(session, admission, asked, LinkError.CHANNEL_NOT_AVAILABLE)
        held = contextlib.ExitStack()
        held.callback(backend.leg.close)
        with held:
            await viewer.offer(
                AUTH_CAPS | backend.reply.common_caps & _MINI, backend.reply.channel_caps & ~gl
            )
            await self._check_token(session, viewer)
            if name in session.channels:
                raise TurnedAway(
                    "channel-twice", f"{name} is open", LinkError.CHANNEL_NOT_AVAILABLE
                )
            held.enter_context(session.channel(name))
            relay = await self._link_later(session, viewer, kind, backend, admitted)
            ending = await self._relay(session, name, viewer.peer, relay)
            if session.end_reason and ending.reason == session.end_reason:
                await self._read_to_end(session, backend)

    async def _join(self, session: Session, name: str, peer: Peer) -> Admission:
        try:
            async with self._stage(session):
                return await self._gate.join(session.admission, name, peer)
        except Refused as exc:
            raise TurnedAway(exc.reason, exc.what, LinkError.PERMISSION_DENIED) from exc
        except BrokerError as exc:
            raise TurnedAway(exc.code, exc.what, LinkError.ERROR) from exc

    async def _check_token(self, session: Session, viewer: Viewer) -> None:
        async with self._stage(session):
            token = await viewer.ticket()
        if token is None or not hmac.compare_digest(tokens.digest(token), session.admission.digest):
            raise TurnedAway(
                "token-wrong",
                "the password is not the one that opened the session",
                LinkError.PERMISSION_DENIED,
            )

    async def _link_later(
        self,
        session: Session,
        viewer: Viewer,
        kind: ChannelType,
        backend: Backend,
        admitted: Callable[[], None],
    ) -> Relay:
        mini = backend.link.mini_header
        to_server = Inspector(self._client_rules(session, kind), mini=mini)
        first = b""
        if kind is ChannelType.DISPLAY:
            await viewer.accept()
            admitted()
            async with self._stage(session):
                then = await self._display_init(viewer, to_server, mini=mini)
            first = await self._cross(session, backend, then, mini=mini)
        else:
            await self._present(session, backend, LinkError.ERROR)
            await viewer.accept()
            admitted()
        to_client = Inspector(FROM_SERVER[kind], mini=mini, held=first)
        return Relay(viewer.leg, backend.leg, to_client, to_server)

    @staticmethod
    def _client_rules(session: Session, kind: ChannelType) -> Rules:
        rules = FROM_CLIENT[kind]
        if kind is ChannelType.INPUTS and session.admission.policy.view_only:
            return looking_on(rules)
        return rules

    async def _display_init(self, viewer: Viewer, to_server: Inspector, *, mini: bool) -> bytes:
        """VM rule 1: the INIT, checked, and whatever the viewer sent right behind it."""
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
        return head + body + early

    async def _cross(self, session: Session, backend: Backend, then: bytes, *, mini: bool) -> bytes:
        """VM rule 1: ticket and INIT, and no way back before the server's first message.

        There is no time-out here on purpose: closing early is what kills the VM.
        """
        head = b""
        with session.crossing():
            try:
                await backend.present(then)
                await backend.result()
                while len(head) < Header.length(mini=mini):
                    head += await backend.leg.receive(Header.length(mini=mini) - len(head))
            except (BrokerError, LegClosed) as exc:
                raise TurnedAway(
                    getattr(exc, "reason", "backend-closed"), f"the display did not open: {exc}"
                ) from exc
        return head

    async def _read_to_end(self, session: Session, backend: Backend) -> None:
        """VM rule 2: the server closes this channel once MAIN is closed."""
        await session.main_closed.wait()
        try:
            async with asyncio.timeout(self._limits.close_seconds):
                await backend.leg.drop_to_end()
        except TimeoutError:
            pass

    # -- both

    async def _open(
        self, session: Session, admission: Admission, asked: LinkMess, error: LinkError | None
    ) -> Backend:
        try:
            async with self._stage(session):
                return await open_backend(
                    self._dialer, admission, asked, self._limits.backend_seconds
                )
        except BrokerError as exc:
            raise _turned_away(exc, error) from exc

    async def _present(self, session: Session, backend: Backend, error: LinkError | None) -> None:
        try:
            async with self._stage(session, self._limits.backend_seconds):
                await backend.present()
                await backend.result()
        except BrokerError as exc:
            raise _turned_away(exc, error) from exc
        except (TimeoutError, LegClosed) as exc:
            gone = BackendUnreachable("The SPICE server did not answer to our ticket")
            raise _turned_away(gone, error) from exc

    async def _relay(self, session: Session, name: str, peer: Peer, relay: Relay) -> Ending:
        key = (session.admission.session, name)
        with session.on_end(relay.stop):
            self._gate.record(ChannelOpened(*key, peer))
            self.relays[key] = relay
            ending = Ending("failed")
            try:
                ending = await relay.run()
            finally:
                del self.relays[key]
                self._gate.record(
                    ChannelClosed(
                        *key,
                        ending.reason,
                        relay.to_client.forwarded,
                        relay.to_server.forwarded,
                        ending.text,
                    )
                )
        return ending

    @contextlib.asynccontextmanager
    async def _stage(self, session: Session, seconds: float | None = None) -> AsyncIterator[None]:
        """Something that may be broken off when the session ends, or takes too long.

        Raises:
            SessionOver: The session ended.
            TimeoutError: It took longer than `seconds`.
        """
        try:
            async with asyncio.timeout(seconds) as limit:

                def cut(_reason: str) -> None:
                    if not limit.expired():
                        limit.reschedule(asyncio.get_running_loop().time())

                with session.on_end(cut):
                    yield
        except TimeoutError as exc:
            if session.end_reason:
                raise SessionOver(session.end_reason) from exc
            raise


def _turned_away(exc: BrokerError, error: LinkError | None) -> TurnedAway:
    reason = exc.reason if isinstance(exc, Refused) else exc.code
    return TurnedAway(reason, str(exc), error)
