"""One connection's life after TLS: link stage, backend, relay, and its part in the end.

The rules that keep spice-server 0.15 alive, each marked VM where it is obeyed:

1. A display's backend ticket is held back until the viewer's DISPLAY INIT is here and is sane;
   both go in one write, and the connection stays until SET_ACK came back.
2. MAIN is closed only when no display is in that window; the server closes the rest, which is
   read to its end.
3. One DISPLAY INIT per link: the relay's table has none.
4. MAIN is only ever opened with connection id 0, and migration is never offered.
5. A channel into a device is closed for sending first and read to its end: when an answer cannot
   be written while the server hands the device its last words, the server aborts.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from broker import logs
from broker.proxy.backoff import BAD, Backoff
from broker.proxy.gate import ConnectionRefused, Peer
from broker.proxy.later_channel import LaterChannel
from broker.proxy.leg import Leg
from broker.proxy.main_channel import MainChannel
from broker.proxy.neighbours import Seats
from broker.proxy.session import SessionOver
from broker.proxy.steps import Steps
from broker.proxy.viewer import TurnedAway, Viewer
from broker.spice.constants import ChannelType, LinkError
from broker.spice.ticket import TicketKey
from broker.spice.wire import LinkMess

FORGET_SECONDS: Final = 900.0
"""Without a bad token, after which an address is as any other."""

_NAMES: Final = {int(kind): kind.name.lower() for kind in ChannelType}


def channel_name(mess: LinkMess) -> str:
    """`main`, or type and id as people read them: `display.0`."""
    kind = _NAMES[mess.channel_type]
    return kind if mess.channel_type == ChannelType.MAIN else f"{kind}.{mess.channel_id}"


class Channels:
    """Serves connections, one call each."""

    def __init__(self, steps: Steps, seats: Seats, key: TicketKey) -> None:
        self.key = key
        """For links that begin from now on; may be replaced at any time."""
        self.draining = False
        """Nobody new is let in; channels of sessions that live still are."""
        self._steps = steps
        self._seats = seats
        self._backoff = Backoff(
            steps.limits.bad_tokens,
            steps.limits.backoff_seconds,
            FORGET_SECONDS,
            asyncio.get_running_loop().time,
        )
        self._main = MainChannel(steps)
        self._later = LaterChannel(steps)

    async def serve(
        self, leg: Leg, peer: Peer, admitted: Callable[[], None], *, early: bytes = b""
    ) -> None:
        """Serve one connection from LinkMess to its end; closes the leg.

        Args:
            admitted: Called once it has shown a good ticket.
            early: Bytes of the leg that were read already.
        """
        viewer = Viewer(leg, peer, self.key, self._steps.link_patience, early=early)
        name = ""
        try:
            mess = await viewer.request()
            name = channel_name(mess)
            logs.about(channel=name)
            if mess.channel_type == ChannelType.MAIN:
                self._see_whether_it_may(peer)
                await self._main.serve(viewer, mess, admitted)
            else:
                await self._serve_later(viewer, mess, name, admitted)
        except TurnedAway as exc:
            if exc.reason in BAD:
                self.bad_token(peer.host)
                self._seats.tell_bad_token(peer.host)
            if exc.error is not None:
                await viewer.refuse(exc.error)
            if not exc.told:
                self._steps.gate.record(ConnectionRefused(peer, exc.reason, exc.text, channel=name))
        except SessionOver:
            pass  # told by SessionClosed
        finally:
            await leg.finish(self._steps.limits.close_seconds)

    def bad_token(self, host: str) -> None:
        """Somebody there tried one, here or in another worker."""
        self._backoff.failed(host)

    def _see_whether_it_may(self, peer: Peer) -> None:
        """Turn a new viewer away whose turn it is not."""
        if self.draining:
            raise TurnedAway("draining", "the proxy is stopping", LinkError.ERROR)
        if wait := self._backoff.wait(peer.host):
            raise TurnedAway(
                "back-off",
                f"too many tokens from this address were no good; it has to wait {wait:.0f} s",
                LinkError.PERMISSION_DENIED,
            )

    async def _serve_later(
        self, viewer: Viewer, mess: LinkMess, name: str, admitted: Callable[[], None]
    ) -> None:
        seat = await self._seats.find(mess.connection_id, name, viewer.peer)
        if seat is not None:
            logs.about(session=seat.session.admission.session)
        try:
            await self._later.serve(viewer, mess, name, seat, admitted)
        except TurnedAway as exc:
            if seat is not None and not exc.told:
                session = seat.session.admission.session
                seat.record(ConnectionRefused(viewer.peer, exc.reason, exc.text, session, name))
                exc.told = True
            raise
        finally:
            if seat is not None:
                seat.close()

    async def refuse_plain(self, leg: Leg, peer: Peer, *, early: bytes = b"") -> None:
        """Tell a viewer without TLS to come back with it; closes the leg."""
        viewer = Viewer(leg, peer, self.key, self._steps.link_patience, early=early)
        try:
            await viewer.request()
            await viewer.refuse(LinkError.NEED_SECURED)
            raise TurnedAway("plain", "the viewer came without TLS")
        except TurnedAway as exc:
            self._steps.gate.record(ConnectionRefused(peer, exc.reason, exc.text))
        finally:
            await leg.finish(self._steps.limits.close_seconds)
