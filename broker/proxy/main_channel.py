"""MAIN: the connection that opens a session, and whose end is the session's end.

VM rules (see `channel`) 2 and 4 are obeyed here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Final

from broker import logs
from broker.errors import BrokerError, Occupied, Refused
from broker.proxy.backend import Backend
from broker.proxy.dial import pinned
from broker.proxy.gate import Admission, SessionClosed
from broker.proxy.relay import Ending, Relay
from broker.proxy.session import Session, SessionOver
from broker.proxy.steps import MINI, Steps
from broker.proxy.viewer import TurnedAway, Viewer
from broker.spice.agent import AgentFilter
from broker.spice.constants import AUTH_CAPS, COMMON_CAPS, MAIN_CAPS, ChannelType, LinkError
from broker.spice.inspector import Inspector
from broker.spice.policy import HIDDEN, choosing_no_mouse, main_from_client, main_from_server
from broker.spice.wire import LinkMess

ASK_AGAIN_SECONDS: Final = 0.2
"""Between two looks whether a console that is in use has become free."""

NO_PASSWORD_HELPS: Final = frozenset({"limit", "limit-label"})
"""Reasons for which the viewer is let go without a word: with one, it asks for a password."""


class MainChannel:
    """Serves MAIN connections."""

    def __init__(self, steps: Steps) -> None:
        self._steps = steps

    async def serve(self, viewer: Viewer, mess: LinkMess, admitted: Callable[[], None]) -> None:
        """From the request to the end of the session.

        Raises:
            TurnedAway: It did not come to relaying.
        """
        if mess.connection_id:  # VM rule 4: the server would take it for a migration
            raise TurnedAway(
                "main-not-new",
                f"MAIN asked for connection {mess.connection_id}",
                LinkError.BAD_CONNECTION_ID,
            )
        await viewer.offer(COMMON_CAPS, MAIN_CAPS)
        admission = await self._admit(viewer)
        logs.about(session=admission.session)
        admitted()
        session = self._steps.sessions.open(admission, viewer.peer)
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
            session.main_has_closed()
            try:
                await session.emptied(self._steps.limits.close_seconds)
            finally:  # also when that is broken off
                self._steps.sessions.forget(session)
                self._steps.gate.record(
                    SessionClosed(admission.session, session.end_reason, established, ending.text)
                )

    async def _admit(self, viewer: Viewer) -> Admission:
        token = await viewer.ticket()
        if token is None:
            raise TurnedAway(
                "token-unreadable", "the password cannot be read", LinkError.PERMISSION_DENIED
            )
        loop = asyncio.get_running_loop()
        began = loop.time()
        while True:
            try:
                return await self._steps.gate.admit(token, viewer.peer)
            except Occupied as exc:
                limits = self._steps.limits
                patience = limits.turn_seconds if exc.in_turn else limits.settle_seconds
                if loop.time() - began >= patience:
                    reason = "turn-timeout" if exc.in_turn else exc.reason
                    raise TurnedAway(reason, exc.what) from exc
            except Refused as exc:
                error = None if exc.reason in NO_PASSWORD_HELPS else LinkError.PERMISSION_DENIED
                raise TurnedAway(exc.reason, exc.what, error) from exc
            except BrokerError as exc:
                raise TurnedAway(exc.code, exc.what) from exc
            await viewer.idle(ASK_AGAIN_SECONDS)

    async def _link_main(self, session: Session, viewer: Viewer, mess: LinkMess) -> Backend:
        """Link to the server as the viewer linked to us, and pass its word on."""
        mini = mess.common_caps & MINI
        asked = LinkMess(0, ChannelType.MAIN, 0, AUTH_CAPS | mini, mess.channel_caps & MAIN_CAPS)
        backend = await self._steps.open(session, session.admission, asked, None)
        target = pinned(session.admission.target, backend.leg.sock)
        session.admission = replace(session.admission, target=target)
        try:
            if backend.link.mini_header != bool(mini):
                raise TurnedAway("backend-headers", "the hypervisor knows long headers only")
            await self._steps.present(session, backend, None)
            await viewer.accept()
            session.keep_main = partial(self._steps.spares.kept, backend.leg.sock, main=True)
        except BaseException:
            backend.leg.close()
            raise
        return backend

    async def _relay_main(self, session: Session, viewer: Viewer, backend: Backend) -> Ending:
        mini = backend.link.mini_header
        policy = session.admission.policy
        agent = AgentFilter(policy.agent) if policy.agent.takes_anything_away else None

        def learn(backend_id: int) -> None:
            session.backend_id = backend_id

        def answer() -> None:
            while agent is not None and agent.for_client:
                relay.say_to_client(*agent.for_client.pop(0))

        hidden = HIDDEN | policy.hidden
        from_client = main_from_client(agent, answer)
        if policy.view_only:
            from_client = choosing_no_mouse(from_client)
        from_server = main_from_server(session.connection_id, hidden, learn, agent, answer)
        relay = Relay(
            viewer.leg,
            backend.leg,
            Inspector(from_server, mini=mini, warns=self._steps.limits.firewall_warns),
            Inspector(from_client, mini=mini, warns=self._steps.limits.firewall_warns),
        )
        if agent is not None:
            relay.dropped = agent.dropped
        reason = "failed"
        try:
            ending = await self._steps.relay(session, "main", viewer.peer, relay)
            reason = ending.reason
            return ending
        finally:
            session.end(reason)
            try:
                if session.is_crossing:  # a frozen machine must not keep the viewer waiting
                    await viewer.leg.finish(self._steps.limits.close_seconds)
                await session.calm()  # VM rule 2
                backend.leg.hang_up()
            finally:
                backend.leg.close()  # when that was broken off, whoever keeps it goes on
