"""The proxy's gate, kept by the store: admissions are decided there, notices are written there.

Notices come from the middle of relaying, so they only change memory; one task writes what has
changed, about once a second, and at once when something opened or closed. A store that is locked
or full never stops a session: the writing is tried again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from broker import tokens
from broker.clock import Clock
from broker.errors import BrokerError, Refused
from broker.events import Event, Kind
from broker.model import ChannelInfo, Console, MachineKey, Session, SessionId
from broker.proxy.gate import (
    Admission,
    ChannelClosed,
    ChannelOpened,
    ConnectionRefused,
    Judged,
    Notice,
    Peer,
    SessionClosed,
    Traffic,
)
from broker.proxy.link_policy import policy_for
from broker.runtime.verdicts import VerdictLog
from broker.service.admission import REASONS, check_address
from broker.service.admission import Admission as Decisions

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from broker.store.store import Store

log = logging.getLogger(__name__)

WRITE_EVERY = 1.0
"""Seconds between two writings of counters."""

WRITE_SOON = 0.05
"""Seconds after which something that opened or closed is written; a burst becomes one writing."""

RETRY_AFTER = 2.0
"""Seconds until a writing that failed is tried again."""

LOOK_EVERY = 0.25
"""Seconds between looks for sessions that somebody asked to end."""

REFUSALS_PER_SECOND = 5
"""Audit rows of refused connections; more are counted into the next one, so a port scanner or a
viewer that tries for ever does not fill the disk."""

EVENTS_MAX = 10_000
"""Audit rows that wait for a store which cannot be written; the oldest go first."""


@dataclass(slots=True)
class _Live:
    """A session as it stands in memory."""

    session: Session
    channels: dict[str, ChannelInfo] = field(default_factory=dict)
    closed_to_client: int = 0
    closed_to_server: int = 0

    def snapshot(self) -> Session:
        return replace(
            self.session,
            channels=tuple(self.channels.values()),
            bytes_to_client=self.closed_to_client
            + sum(each.bytes_to_client for each in self.channels.values()),
            bytes_to_server=self.closed_to_server
            + sum(each.bytes_to_server for each in self.channels.values()),
        )


@dataclass(slots=True)
class _Due:
    """What waits to be written."""

    sessions: set[SessionId] = field(default_factory=set)
    closed: list[tuple[Session, str]] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.sessions or self.closed or self.events)


class StoreGate:
    """Implements `broker.proxy.gate.Gate`.

    Args:
        ask_driver: The console of a machine that the store does not hold whole.
        sessions_max: Live sessions this worker takes.
        channels_max: Live channels one session may have.
    """

    def __init__(
        self,
        store: Store,
        decisions: Decisions,
        clock: Clock,
        *,
        worker: int,
        ask_driver: Callable[[MachineKey], Awaitable[Console]],
        sessions_max: int = 1000,
        channels_max: int = 64,
    ) -> None:
        self._store = store
        self._decisions = decisions
        self._clock = clock
        self._worker = worker
        self._ask_driver = ask_driver
        self._sessions_max = sessions_max
        self._channels_max = channels_max
        self._live: dict[SessionId, _Live] = {}
        self._due = _Due()
        self._verdicts = VerdictLog(clock.monotonic)
        self._wake = asyncio.Event()
        self._second = 0
        self._refused = 0
        self._uncounted = 0

    # -- the gate

    async def admit(self, token: str, peer: Peer) -> Admission:
        """Open a session for whoever shows a good token; see the protocol."""
        if len(self._live) >= self._sessions_max:
            raise Refused(
                f"{self._sessions_max} sessions are open, which is the most",
                reason="limit",
                fix="End one, or raise proxy.sessions_max",
            )
        admitted = await asyncio.to_thread(self._decisions.admit, token, str(peer))
        session = admitted.session
        self._live[session.id] = _Live(session)
        try:
            console = admitted.console or await self._ask_driver(session.key)
        except BrokerError as problem:
            self.record(SessionClosed(session.id, problem.code, established=False))
            raise
        return Admission(
            session=session.id,
            digest=tokens.digest(token),
            target=console.target,
            console=session.console,
            ticket=console.ticket or "",
            policy=policy_for(session.policy),
        )

    async def join(self, admission: Admission, channel: str, peer: Peer) -> Admission:
        """Another channel of a live session, unless it has too many already."""
        live = self._live.get(admission.session)
        if live is not None:
            check_address(live.session.policy, str(peer))
        if live is not None and len(live.channels) >= self._channels_max:
            raise Refused(
                f"The session has {self._channels_max} channels, which is the most",
                reason="limit",
                fix="Raise proxy.channels_per_session",
            )
        return admission

    def record(self, notice: Notice) -> None:
        """Take note in memory; `write` does the rest."""
        match notice:
            case Traffic():
                self._count(notice)
            case ChannelOpened():
                self._open(notice)
            case ChannelClosed():
                self._close(notice)
            case SessionClosed():
                self._end(notice)
            case ConnectionRefused():
                self._refuse(notice)
            case Judged():
                if live := self._live.get(notice.session):
                    self._verdicts.add(live.session, notice)

    @property
    def live(self) -> int:
        """How many sessions are held."""
        return len(self._live)

    # -- notices

    def _count(self, notice: Traffic) -> None:
        live = self._live.get(notice.session)
        if live is None or (channel := live.channels.get(notice.channel)) is None:
            return
        live.channels[notice.channel] = replace(
            channel,
            bytes_to_client=notice.bytes_to_client,
            bytes_to_server=notice.bytes_to_server,
        )
        self._due.sessions.add(notice.session)

    def _open(self, notice: ChannelOpened) -> None:
        if (live := self._live.get(notice.session)) is None:
            return
        live.channels[notice.channel] = ChannelInfo(notice.channel, self._clock.now())
        self._due.sessions.add(notice.session)
        self._tell(Kind.CHANNEL_OPENED, f"{notice.channel} opened", live, str(notice.peer))

    def _close(self, notice: ChannelClosed) -> None:
        if (live := self._live.get(notice.session)) is None:
            return
        live.channels.pop(notice.channel, None)
        live.closed_to_client += notice.bytes_to_client
        live.closed_to_server += notice.bytes_to_server
        self._due.sessions.add(notice.session)
        text = f"{notice.channel} closed" + (f": {notice.text}" if notice.text else "")
        self._tell(Kind.CHANNEL_CLOSED, text, live, reason=notice.reason)

    def _end(self, notice: SessionClosed) -> None:
        if (live := self._live.pop(notice.session, None)) is None:
            return
        self._due.sessions.discard(notice.session)
        self._due.closed.append((live.snapshot(), notice.reason))
        text = f"{live.session.client} left {live.session.key.source}/{live.session.console}"
        if notice.text:
            text += f": {notice.text}"
        self._tell(Kind.SESSION_CLOSED, text, live, reason=notice.reason)

    def _refuse(self, notice: ConnectionRefused) -> None:
        if notice.reason in REASONS and notice.session is None:
            return  # written where it was decided
        second = int(self._clock.monotonic())
        if second != self._second:
            self._second, self._refused = second, 0
        if self._refused >= REFUSALS_PER_SECOND:
            self._uncounted += 1
            return
        self._refused += 1
        text = notice.text
        if self._uncounted:
            text += f" (and {self._uncounted} more refusals before)"
            self._uncounted = 0
        kind = Kind.CHANNEL_REFUSED if notice.session else Kind.SESSION_REFUSED
        live = self._live.get(notice.session) if notice.session else None
        self._tell(kind, text, live, str(notice.peer), notice.reason)

    def _tell(
        self, kind: Kind, text: str, live: _Live | None, client: str = "", reason: str = ""
    ) -> None:
        session = live.session if live else None
        self._due.events.append(self._event(kind, text, session, client, reason))
        del self._due.events[:-EVENTS_MAX]
        self._wake.set()

    def _event(
        self, kind: Kind, text: str, session: Session | None, client: str, reason: str
    ) -> Event:
        return Event(
            at=self._clock.now(),
            kind=kind,
            text=text,
            source=session.key.source if session else "",
            key=session.key if session else None,
            console=session.console if session else "",
            session=session.id if session else None,
            client=client or (session.client if session else ""),
            reason=reason,
        )

    # -- the store

    async def write(self) -> None:
        """Write what has changed until cancelled; then once more."""
        flushing: asyncio.Future[bool] | None = None
        try:
            while True:
                try:
                    async with asyncio.timeout(WRITE_EVERY):
                        await self._wake.wait()
                    await asyncio.sleep(WRITE_SOON)
                except TimeoutError:
                    pass
                self._wake.clear()
                flushing = asyncio.ensure_future(self._flush())
                if not await asyncio.shield(flushing):
                    await asyncio.sleep(RETRY_AFTER)
        finally:
            # a writing under way is waited for: what it fails to write must not be forgotten
            if flushing is not None:
                await asyncio.wait([flushing])
            await self._flush(last=True)

    async def _flush(self, *, last: bool = False) -> bool:
        """Write everything that is due; keeps it and says False when the store cannot."""
        for row in self._verdicts.due(all_of_it=last):
            self._due.events.append(self._event(row.kind, row.text, row.session, "", row.reason))
        if not self._due:
            return True
        due, self._due = self._due, _Due()
        snapshots = [live.snapshot() for key in due.sessions if (live := self._live.get(key))]
        try:
            await asyncio.to_thread(self._write, due, snapshots)
        except BrokerError as problem:
            log.warning("cannot write down what happened, trying again: %s", problem)
            self._due.sessions |= due.sessions
            self._due.closed[:0] = due.closed
            self._due.events[:0] = due.events
            return False
        return True

    def _write(self, due: _Due, snapshots: list[Session]) -> None:
        now = self._clock.now()
        if snapshots:
            self._store.put_counters(snapshots)
        while due.closed:
            session, reason = due.closed[0]
            self._store.put_counters([session])
            self._store.close_session(session.id, reason, now)
            due.closed.pop(0)
        while due.events:
            self._store.add_event(due.events[0])
            due.events.pop(0)

    async def watch_ends(self, end: Callable[[SessionId, str], object]) -> None:
        """Call `end` for every session that somebody asked to end or whose time is up.

        Until cancelled.

        Args:
            end: Starts the ending, with the reason; called again while the session lives.
        """
        version = -1
        while True:
            await asyncio.sleep(LOOK_EVERY)
            if not self._live:
                continue
            for session in self._outlived():
                end(session, "session-ttl")
            try:
                now = await asyncio.to_thread(self._store.data_version)
                if now == version:
                    continue
                version = now
                asked = await asyncio.to_thread(self._store.end_requests, self._worker)
            except BrokerError as problem:
                log.warning("cannot see which sessions are to end: %s", problem)
                continue
            for session, reason in asked.items():
                end(session, reason)

    def _outlived(self) -> list[SessionId]:
        """Sessions that have lasted as long as their token allows."""
        now = self._clock.now()
        return [
            key
            for key, live in self._live.items()
            if (most := live.session.policy.session_ttl) is not None
            and (now - live.session.started_at).total_seconds() >= most
        ]
