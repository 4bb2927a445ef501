"""The proxy as one part of a process: give it sockets, a gate and a dialer, and run it."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Sequence

from broker.model import SessionId
from broker.proxy.channel import Channels
from broker.proxy.connections import Connections
from broker.proxy.courtesy import Courtesy
from broker.proxy.desk import open_desk
from broker.proxy.gate import Dialer, Gate, NoSpares, Spares, Traffic
from broker.proxy.judging import judged
from broker.proxy.leg import LegClosed
from broker.proxy.limits import Limits
from broker.proxy.listener import Door, Listener
from broker.proxy.neighbours import Place, Seats, connection_id
from broker.proxy.session import Sessions
from broker.proxy.steps import Steps
from broker.proxy.tls import TlsServer
from broker.spice.constants import Base
from broker.spice.errors import RemoteProtocolError
from broker.spice.notify import to_people
from broker.spice.ticket import TicketKey
from broker.within import within


class Proxy:
    """Relays viewers to machines until it is cancelled.

    Args:
        doors: Listening sockets; they stay the caller's to close.
        tls: From `engines.server`.
        gate: Who may reach what, and who is told.
        dialer: Usually `dial.TargetDialer`.
        place: Which of the workers on one port this is; None where it is the only one.
        spares: Who looks after opening displays if this process is killed; None where nobody does.
    """

    name = "proxy"

    def __init__(
        self,
        doors: Sequence[Door],
        tls: TlsServer,
        gate: Gate,
        dialer: Dialer,
        *,
        limits: Limits | None = None,
        place: Place | None = None,
        spares: Spares | None = None,
    ) -> None:
        self._limits = limits or Limits()
        self._place = place
        self._doors = doors
        self._tls = tls
        self._gate = gate
        self._dialer = dialer
        self._spares = spares or NoSpares()
        number = place.number if place else 0
        self._sessions = Sessions(lambda: connection_id(number))
        self._seats = Seats(self._sessions, gate, place, self._limits.link_seconds)
        self._listener: Listener | None = None
        self._steps: Steps | None = None
        self._channels: Channels | None = None
        self._connections = Connections()

    async def run(self, ready: asyncio.Event) -> None:
        """Serve; returns only when cancelled, after ending every session in the safe order."""
        key = await asyncio.to_thread(TicketKey.generate)
        steps = Steps(self._seats, self._dialer, self._spares, self._limits, self._sessions)
        self._steps = steps
        channels = self._channels = Channels(steps, self._seats, key)
        async with contextlib.AsyncExitStack() as held, asyncio.TaskGroup() as group:
            spawn = self._connections.spawn
            courtesy = Courtesy(steps.relays, self._has_neighbours)
            self._listener = Listener(
                self._doors, self._tls, self._gate, self._limits, channels, spawn, courtesy
            )
            if self._place is not None:
                await held.enter_async_context(
                    open_desk(
                        self._place.socket(), self._sessions, self._gate, spawn, channels.bad_token
                    )
                )
            report = group.create_task(self._report(steps), name="traffic report")
            rotate = group.create_task(self._rotate_key(channels), name="ticket key rotation")
            self._listener.open()
            ready.set()
            try:
                await asyncio.get_running_loop().create_future()
            finally:
                self.stop_accepting()
                self.end_all("proxy-stopped")
                with contextlib.suppress(TimeoutError):
                    async with within(self._limits.drain_seconds):
                        await self._connections.gone()
                await self._connections.cut()
                report.cancel()
                rotate.cancel()

    # -- from outside, on the loop that runs it

    @property
    def session_count(self) -> int:
        """Live sessions."""
        return len(self._sessions.all())

    @property
    def connection_count(self) -> int:
        """Connections in whatever step, those without a good ticket among them."""
        return len(self._connections)

    def stop_accepting(self) -> None:
        """Take no new connections; sessions go on, without new channels."""
        if self._listener is not None:
            self._listener.close()

    def drain(self) -> None:
        """Let nobody new in; sessions go on, and open channels."""
        if self._channels is not None:
            self._channels.draining = True

    def renew_tls(self, tls: TlsServer) -> None:
        """Use another certificate for connections from now on."""
        self._tls = tls
        if self._listener is not None:
            self._listener.tls = tls

    def end_session(self, session: SessionId, reason: str = "disconnected") -> bool:
        """Begin to end a session in the order that is safe for its VM; whether it is one of ours.

        `SessionClosed` is recorded when it has ended.
        """
        for each in self._sessions.all():
            if each.admission.session == session:
                each.end(reason)
                return True
        return False

    def say(self, session: SessionId, text: str) -> bool:
        """Say something to the person in a session; whether it went on its way.

        What its viewer does with it is the viewer's: see `broker.spice.notify`.
        """
        relay = self._steps.relays.get((session, "main")) if self._steps is not None else None
        if relay is None:
            return False
        try:
            relay.say_to_client(Base.NOTIFY, to_people(text, time.monotonic_ns()))
        except (LegClosed, RemoteProtocolError):
            return False  # it is about to end, or does not read
        return True

    def end_all(self, reason: str) -> None:
        """Begin to end every session."""
        for session in self._sessions.all():
            session.end(reason)
        self._seats.leave_all(reason)

    async def drained(self) -> None:
        """Wait until no connection is left."""
        await self._connections.gone()

    # -- inside

    def _has_neighbours(self) -> bool:
        """Whether others are on this port."""
        return self._place is not None and self._place.has_neighbours()

    async def _report(self, steps: Steps) -> None:
        told: dict[tuple[SessionId, str], tuple[int, int]] = {}
        while True:
            await asyncio.sleep(self._limits.report_seconds)
            now = {key: relay.carried for key, relay in steps.relays.items()}
            for key, carried in now.items():
                is_new = told.get(key) != carried
                if is_new:
                    self._seats.record(Traffic(*key, *carried))
                times = steps.times[key]
                if (timed := times.notice(*key, carried=is_new)) is not None:
                    self._seats.record(timed)
                times.sample()
                relay = steps.relays[key]
                if not is_new or relay.is_waiting:
                    relay.settle()
            for key, relay in steps.relays.items():
                for notice in judged(*key, relay):
                    self._seats.record(notice)
            told = now

    async def _rotate_key(self, channels: Channels) -> None:
        while True:
            await asyncio.sleep(self._limits.key_seconds)
            channels.key = await asyncio.to_thread(TicketKey.generate)
