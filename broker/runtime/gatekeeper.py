"""The proxy's gate, kept by the store: admissions are decided there, notices are written there.

Notices come from the middle of relaying, so they only change memory; the ledger's task writes what
has changed.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

from broker import tokens
from broker.clock import Clock
from broker.errors import BrokerError, Occupied, Refused
from broker.events import Event, Kind, of_session, session_closed
from broker.model import Console, MachineKey, Session, SessionId
from broker.proxy.gate import (
    Admission,
    ChannelClosed,
    ChannelOpened,
    ConnectionRefused,
    Judged,
    Notice,
    Peer,
    SessionClosed,
    Timed,
    Traffic,
)
from broker.proxy.link_policy import policy_for
from broker.runtime.counters import Counters, kind_of
from broker.runtime.ledger import Due, Ledger
from broker.runtime.live import Live
from broker.runtime.verdicts import VerdictLog
from broker.service.admission import REASONS, Wanted, check_address
from broker.service.admission import Admission as Decisions

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from broker.store.store import Store

log = logging.getLogger(__name__)

LOOK_EVERY = 0.25
"""Seconds between looks for sessions that somebody asked to end."""

REFUSALS_PER_SECOND = 5
"""Audit rows of refused connections; more are counted into the next one, so a port scanner or a
viewer that tries for ever does not fill the disk."""


COUNT_EVERY = 0.9
"""The least seconds between two additions to the store's counters: each is a row, and nobody looks
at them more often."""

SPARE_TIME = timedelta(seconds=10)
"""A ticket with less time left than this is asked for anew."""


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
        self._live: dict[SessionId, Live] = {}
        self._counters = Counters()
        self._ledger = Ledger(
            store,
            clock,
            collect=self._collect,
            snapshot=self._snapshot,
            give_back=self._counters.give_back,
        )
        self._in_turn: dict[Peer, Wanted] = {}
        self._verdicts = VerdictLog(clock.monotonic)
        self._counts_due = 0.0
        self._counts_wait = False
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
        try:
            admitted = await asyncio.to_thread(self._decisions.admit, token, str(peer))
        except Occupied:
            if peer not in self._in_turn:  # it is told about when the viewer is turned away
                self._in_turn[peer] = await asyncio.to_thread(self._decisions.wanted, token)
            raise
        self._in_turn.pop(peer, None)
        session = admitted.session
        live = self._live[session.id] = Live(session, self._clock.monotonic())
        self._counters.add("opened")
        try:
            console = live.console = admitted.console or await self._ask_driver(session.key)
        except BaseException as problem:  # a driver's bug must not leave the console taken
            reason = problem.code if isinstance(problem, BrokerError) else "failed"
            self.record(SessionClosed(session.id, reason, established=False))
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
        if live is None or live.console is None or not self._is_stale(live.console):
            return admission
        async with live.asking:
            if self._is_stale(live.console):
                live.console = await self._ask_driver(live.session.key)
            fresh = live.console
        return replace(admission, target=fresh.target, ticket=fresh.ticket or "")

    def _is_stale(self, console: Console) -> bool:
        """Whether what was asked for when the session began opens no further channel by now."""
        until = console.expires_at
        return until is not None and until - self._clock.now() < SPARE_TIME

    def record(self, notice: Notice) -> None:
        """Take note in memory; `write` does the rest."""
        match notice:
            case Traffic():
                self._count(notice)
            case Timed():
                self._time(notice)
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
                    self._counters.judged(notice)

    @property
    def live(self) -> int:
        """How many sessions are held."""
        return len(self._live)

    # -- notices

    def _count(self, notice: Traffic) -> None:
        live = self._live.get(notice.session)
        if live is not None and (before := live.carried(notice)) is not None:
            self._counters.carried(before, notice)
            self._ledger.due.sessions.add(notice.session)

    def _time(self, notice: Timed) -> None:
        live = self._live.get(notice.session)
        if live is not None and (before := live.timed(notice)) is not None:
            self._counters.timed(before, notice)
            self._ledger.due.sessions.add(notice.session)

    def _open(self, notice: ChannelOpened) -> None:
        if (live := self._live.get(notice.session)) is None:
            return
        live.opened(notice.channel, self._clock.now())
        self._counters.add("channels", kind_of(notice.channel))
        self._ledger.due.sessions.add(notice.session)
        event = Event(
            at=self._clock.now(),
            kind=Kind.CHANNEL_OPENED,
            text=f"{notice.channel} opened",
            client=str(notice.peer),
            verdict="admitted",
            channel=notice.channel,
        )
        self._tell(event, live)

    def _close(self, notice: ChannelClosed) -> None:
        if (live := self._live.get(notice.session)) is None:
            return
        if (before := live.closed(notice)) is not None:
            self._counters.carried(before, notice)
        self._ledger.due.sessions.add(notice.session)
        event = Event(
            at=self._clock.now(),
            kind=Kind.CHANNEL_CLOSED,
            text=f"{notice.channel} closed{_why(notice.text)}",
            reason=notice.reason,
            channel=notice.channel,
        )
        self._tell(event, live)

    def _end(self, notice: SessionClosed) -> None:
        if (live := self._live.pop(notice.session, None)) is None:
            return
        self._ledger.due.sessions.discard(notice.session)
        self._ledger.due.closed.append((live.snapshot(ended=True), notice.reason))
        self._counters.add("ended", notice.reason)
        more = "" if notice.text == "closed" else notice.text
        self._ledger.tell(session_closed(live.session, notice.reason, self._clock.now(), more=more))

    def _refuse(self, notice: ConnectionRefused) -> None:
        wanted = self._in_turn.pop(notice.peer, None)
        self._counters.add("refused", notice.reason)
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
        event = Event(
            at=self._clock.now(),
            kind=Kind.CHANNEL_REFUSED if notice.session else Kind.SESSION_REFUSED,
            text=text,
            client=str(notice.peer),
            reason=notice.reason,
            verdict="refused",
            channel=notice.channel,
        )
        self._tell(event, self._live.get(notice.session) if notice.session else None, wanted)

    def _tell(self, event: Event, live: Live | None, wanted: Wanted | None = None) -> None:
        """Have it written, with what is known of its session, or of what was asked for."""
        if live is not None:
            event = of_session(event, live.session)
        elif wanted is not None:
            event = wanted.told(event)
        self._ledger.tell(event)

    # -- the store

    async def write(self) -> None:
        """Write what has changed until cancelled; then once more."""
        await self._ledger.write()

    def _collect(self, due: Due, last: bool) -> None:
        now = self._clock.monotonic()
        due.events += self._verdicts.due(self._clock.now(), all_of_it=last)
        due.sessions |= {key for key, live in self._live.items() if live.rate(now)}
        if due or last or self._counts_wait:
            self._counts_wait = not last and now < self._counts_due
            if not self._counts_wait:
                self._counts_due = now + COUNT_EVERY
                due.counts = self._counters.take()

    def _snapshot(self, session: SessionId) -> Session | None:
        live = self._live.get(session)
        return live.snapshot() if live else None

    async def watch_ends(
        self,
        end: Callable[[SessionId, str], object],
        say: Callable[[SessionId, str], bool] = lambda _session, _text: False,
    ) -> None:
        """Call `end` for every session that somebody asked to end or whose time is up.

        Until cancelled.

        Args:
            end: Starts the ending, with the reason; called again while the session lives.
            say: Says something to the person in a session; whether it could.
        """
        version = -1
        while True:
            began = self._clock.monotonic()
            await asyncio.sleep(LOOK_EVERY)
            if not self._live:
                continue
            self._counters.lagged(self._clock.monotonic() - began - LOOK_EVERY)
            for session in self._outlived():
                end(session, "session-ttl")
            try:
                now = await asyncio.to_thread(self._store.data_version)
                if now == version:
                    continue
                asked = await asyncio.to_thread(self._store.end_requests, self._worker)
                await self._pass_on(say)
                version = now
            except BrokerError as problem:
                log.warning("cannot see which sessions are to end: %s", problem)
                continue
            for session, reason in asked.items():
                end(session, reason)

    async def _pass_on(self, say: Callable[[SessionId, str], bool]) -> None:
        for session, text in await asyncio.to_thread(self._store.take_messages, self._worker):
            if (live := self._live.get(session)) is not None and say(session, text):
                told = f"{live.session.client} at {live.session.key.source}/{live.session.console}"
                said = f"{told} was sent: {text}"
                self._tell(Event(at=self._clock.now(), kind=Kind.SESSION_MESSAGE, text=said), live)

    def _outlived(self) -> list[SessionId]:
        """Sessions that have lasted as long as their token allows."""
        now = self._clock.monotonic()  # the time of day may be set meanwhile
        return [
            key
            for key, live in self._live.items()
            if (most := live.session.policy.session_ttl) is not None and now - live.began >= most
        ]


def _why(text: str) -> str:
    """Why something ended, behind what ended; that it was closed says nothing more."""
    return f": {text}" if text not in ("", "closed") else ""
