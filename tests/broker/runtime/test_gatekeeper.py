"""What the proxy reports ends up in the store, whatever the store is doing just then."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest

from broker import tokens
from broker.config.locations import Locations
from broker.errors import Occupied, Refused, StoreError, Unreachable
from broker.events import Event, Kind
from broker.latency import Tcp, Timing
from broker.model import (
    Console,
    LinkPolicy,
    Machine,
    MachineId,
    MachineKey,
    Session,
    SourceName,
    State,
    TcpTarget,
    Token,
)
from broker.proxy.gate import (
    Admission,
    ChannelClosed,
    ChannelOpened,
    ConnectionRefused,
    Judged,
    Peer,
    SessionClosed,
    Timed,
    Traffic,
)
from broker.runtime import gatekeeper, ledger
from broker.runtime.gatekeeper import REFUSALS_PER_SECOND, StoreGate
from broker.service.admission import Admission as Decisions
from broker.spice.constants import ChannelType
from broker.store.store import Store
from tests.conftest import FakeClock

LAB = SourceName("lab")
KEY = MachineKey(LAB, MachineId("00000000-0000-0000-0000-000000000001"))
WEB = Machine(key=KEY, name="web-01", state=State.UNKNOWN, target=TcpTarget("192.0.2.1", 5900))
PEER = Peer("198.51.100.7", 40000)
FRESH = Console(TcpTarget("192.0.2.9", tls_port=5901), ticket="minted")


@pytest.fixture
def store(locations: Locations, clock: FakeClock) -> Iterator[Store]:
    store = Store.open(locations, clock=clock)
    store.put_configured([(LAB, "static")])
    store.put_machines(LAB, [WEB], tickets={KEY.uuid: "the-ticket"}, kept=True)
    yield store
    store.close()


def gate_over(store: Any, clock: FakeClock, ask: Any = None) -> StoreGate:
    async def unasked(_: MachineKey) -> Console:
        raise AssertionError("a console that is stored needs no driver")

    return StoreGate(
        store, Decisions(store, clock, worker=4711), clock, worker=4711, ask_driver=ask or unasked
    )


@pytest.fixture
def gate(store: Store, clock: FakeClock) -> StoreGate:
    return gate_over(store, clock)


def issue(store: Store, clock: FakeClock, policy: LinkPolicy | None = None, label: str = "") -> str:
    secret = tokens.mint()
    now = clock.now()
    until = now + timedelta(seconds=60)
    token = Token(
        tokens.digest(secret), KEY, now, until, label=label, policy=policy or LinkPolicy()
    )
    store.add_token(token)
    return secret


@asynccontextmanager
async def writing(gate: StoreGate) -> AsyncIterator[None]:
    """Everything recorded in the body is written when it ends."""
    task = asyncio.ensure_future(gate.write())
    await asyncio.sleep(0)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])


async def admitted(gate: StoreGate, store: Store, clock: FakeClock) -> Admission:
    return await gate.admit(issue(store, clock), PEER)


async def test_an_admission_tells_where_the_screen_is(
    gate: StoreGate, store: Store, clock: FakeClock
) -> None:
    secret = issue(store, clock)
    admission = await gate.admit(secret, PEER)
    assert (admission.target, admission.ticket) == (WEB.target, "the-ticket")
    assert admission.digest == tokens.digest(secret)
    assert "the-ticket" not in repr(admission)
    assert [session.id for session in store.sessions()] == [admission.session]


async def test_an_admission_carries_what_the_token_allows(
    gate: StoreGate, store: Store, clock: FakeClock
) -> None:
    admission = await gate.admit(issue(store, clock, LinkPolicy(view_only=True)), PEER)
    assert admission.policy.view_only
    assert ChannelType.USBREDIR in admission.policy.hidden


async def test_verdicts_become_few_rows_and_outlive_their_session(
    gate: StoreGate, store: Store, clock: FakeClock
) -> None:
    admission = await admitted(gate, store, clock)
    async with writing(gate):
        gate.record(ChannelOpened(admission.session, "inputs.0", PEER))
        for _ in range(50):
            gate.record(Judged(admission.session, "inputs.0", "dropped", (("key-down", 2),)))
        gate.record(SessionClosed(admission.session, "client-closed", established=True))
        gate.record(Judged(admission.session, "inputs.0", "dropped", (("key-down", 2),)))
    (row,) = [event for event in store.events() if event.kind is Kind.MESSAGE_DROPPED]
    assert row.text == "inputs.0: 100 messages dropped by policy (key-down 100)"
    assert (row.session, row.reason, row.key) == (admission.session, "policy", KEY)
    assert row.client == str(PEER)


async def test_a_later_channel_from_another_address_is_refused_and_told(
    gate: StoreGate, store: Store, clock: FakeClock
) -> None:
    secret = issue(store, clock, LinkPolicy(sources_from=("198.51.100.0/24",)))
    admission = await gate.admit(secret, PEER)
    assert await gate.join(admission, "usbredir.0", PEER) is admission
    with pytest.raises(Refused) as caught:
        await gate.join(admission, "usbredir.0", Peer("192.0.2.1", 5))
    async with writing(gate):
        gate.record(
            ConnectionRefused(
                Peer("192.0.2.1", 5), "address", caught.value.what, admission.session, "usbredir.0"
            )
        )
    last = store.events()[-1]
    assert (last.kind, last.reason, last.session) == (
        Kind.CHANNEL_REFUSED, "address", admission.session,
    )  # fmt: skip


async def test_a_console_that_is_not_stored_is_asked_of_its_driver(
    store: Store, clock: FakeClock
) -> None:
    async def ask(key: MachineKey) -> Console:
        assert key == KEY
        return FRESH

    store.put_machines(LAB, [WEB], tickets={}, kept=False)
    admission = await gate_over(store, clock, ask).admit(issue(store, clock), PEER)
    assert (admission.target, admission.ticket) == (FRESH.target, "minted")


async def test_a_driver_that_cannot_say_ends_the_session_it_would_have_been(
    store: Store, clock: FakeClock
) -> None:
    async def ask(_: MachineKey) -> Console:
        raise Unreachable("lab does not answer")

    store.put_machines(LAB, [WEB], tickets={}, kept=False)
    gate = gate_over(store, clock, ask)
    async with writing(gate):
        with pytest.raises(Unreachable):
            await gate.admit(issue(store, clock), PEER)
    assert store.sessions() == []
    assert gate.live == 0


async def test_channels_and_their_bytes_are_seen_while_they_live(
    gate: StoreGate, store: Store, clock: FakeClock
) -> None:
    admission = await admitted(gate, store, clock)
    async with writing(gate):
        gate.record(ChannelOpened(admission.session, "main", PEER))
        gate.record(ChannelOpened(admission.session, "display.0", PEER))
        gate.record(Traffic(admission.session, "display.0", 5000, 70))
    (session,) = store.sessions()
    assert {channel.name: channel.bytes_to_client for channel in session.channels} == {
        "main": 0,
        "display.0": 5000,
    }
    assert (session.bytes_to_client, session.bytes_to_server) == (5000, 70)


async def test_bytes_of_closed_channels_still_count(
    gate: StoreGate, store: Store, clock: FakeClock
) -> None:
    admission = await admitted(gate, store, clock)
    async with writing(gate):
        gate.record(ChannelOpened(admission.session, "cursor.0", PEER))
        gate.record(ChannelClosed(admission.session, "cursor.0", "client-closed", 300, 20))
        gate.record(ChannelOpened(admission.session, "cursor.0", PEER))
        gate.record(Traffic(admission.session, "cursor.0", 7, 1))
    (session,) = store.sessions()
    assert (session.bytes_to_client, session.bytes_to_server) == (307, 21)


async def test_a_session_that_ended_is_closed_with_its_reason_and_last_count(
    gate: StoreGate, store: Store, clock: FakeClock
) -> None:
    admission = await admitted(gate, store, clock)
    async with writing(gate):
        gate.record(ChannelOpened(admission.session, "main", PEER))
        gate.record(ChannelClosed(admission.session, "main", "client-closed", 99, 11))
        gate.record(SessionClosed(admission.session, "client-closed", established=True))
    assert store.sessions() == []
    (session,) = store.sessions(live=False)
    assert (session.end_reason, session.bytes_to_client) == ("client-closed", 99)
    assert [event.kind for event in store.events()] == [
        Kind.SESSION_OPENED,
        Kind.CHANNEL_OPENED,
        Kind.CHANNEL_CLOSED,
        Kind.SESSION_CLOSED,
    ]


async def test_why_something_ended_is_said_where_that_says_more_than_that_it_did(
    gate: StoreGate, store: Store, clock: FakeClock
) -> None:
    admission = await admitted(gate, store, clock)
    closed = ("client-closed", 0, 0)
    async with writing(gate):
        for name, text in (("main", "closed"), ("inputs.0", "the VM has ended")):
            gate.record(ChannelOpened(admission.session, name, PEER))
            gate.record(ChannelClosed(admission.session, name, *closed, text=text))
        gate.record(
            SessionClosed(admission.session, "client-closed", established=True, text="closed")
        )
    texts = [event.text for event in store.events()]
    assert "main closed" in texts
    assert "inputs.0 closed: the VM has ended" in texts
    assert "closed" not in texts[-1]


async def test_times_are_kept_for_the_session_also_when_a_channel_has_closed(
    gate: StoreGate, store: Store, clock: FakeClock
) -> None:
    admission = await admitted(gate, store, clock)
    seen = Timing(ping={40: 2}, draw={60: 1}, client=Tcp(0.01, 1, 2))
    async with writing(gate):
        gate.record(ChannelOpened(admission.session, "display.0", PEER))
        gate.record(Timed(admission.session, "display.0", seen))
        gate.record(ChannelClosed(admission.session, "display.0", "client-closed", 3, 2))
        gate.record(ChannelOpened(admission.session, "main", PEER))
        gate.record(Timed(admission.session, "main", Timing(ping={40: 1, 41: 1})))
    (session,) = store.sessions()
    assert session.timing == Timing(ping={40: 3, 41: 1}, draw={60: 1})
    assert [each.timing.ping for each in session.channels] == [{40: 1, 41: 1}]


async def test_what_happened_is_counted_for_everybody(
    gate: StoreGate, store: Store, clock: FakeClock
) -> None:
    admission = await admitted(gate, store, clock)
    name = "display.0"
    async with writing(gate):
        gate.record(ChannelOpened(admission.session, name, PEER))
        gate.record(Traffic(admission.session, name, 50, 7))
        gate.record(Timed(admission.session, name, Timing(ping={40: 2}, proxy={3: 1})))
        gate.record(Timed(admission.session, name, Timing(ping={40: 3}, proxy={3: 1})))
        gate.record(Judged(admission.session, name, "warned", (("message-7", 4),)))
        gate.record(ChannelClosed(admission.session, name, "client-closed", 60, 7))
        gate.record(SessionClosed(admission.session, "client-closed", established=True))
        gate.record(ConnectionRefused(PEER, "handshake-timeout", "said nothing"))
    assert store.counts() == {
        "opened": 1,
        "channels:display": 1,
        "bytes:client:display": 60,
        "bytes:server:display": 7,
        "ping:display:40": 3,
        "proxy:3": 1,
        "messages:warned:display": 4,
        "ended:client-closed": 1,
        "refused:handshake-timeout": 1,
    }


async def test_bytes_a_second_are_seen_while_they_flow_and_gone_when_they_do_not(
    gate: StoreGate, store: Store, clock: FakeClock
) -> None:
    admission = await admitted(gate, store, clock)

    async def rates() -> tuple[float, float]:
        async with writing(gate):
            pass
        (session,) = store.sessions()
        return session.rate_to_client, session.rate_to_server

    gate.record(ChannelOpened(admission.session, "main", PEER))
    assert await rates() == (0, 0)
    gate.record(Traffic(admission.session, "main", 3000, 10))
    clock.forward(2)
    assert await rates() == (1500, 5)
    clock.forward(2)
    assert await rates() == (0, 0)


async def test_the_audit_log_names_the_tokens_label_the_channel_and_the_verdict(
    gate: StoreGate, store: Store, clock: FakeClock
) -> None:
    admission = await gate.admit(issue(store, clock, label="Ada"), PEER)
    async with writing(gate):
        gate.record(ChannelOpened(admission.session, "inputs.0", PEER))
        gate.record(Judged(admission.session, "inputs.0", "dropped", (("key-down", 1),)))
        gate.record(ConnectionRefused(PEER, "token-wrong", "no", admission.session, "main"))
        gate.record(ChannelClosed(admission.session, "inputs.0", "client-closed", 1, 1))
    told = [(e.kind, e.verdict, e.channel) for e in store.events()]
    assert told == [
        (Kind.SESSION_OPENED, "admitted", ""),
        (Kind.CHANNEL_OPENED, "admitted", "inputs.0"),
        (Kind.CHANNEL_REFUSED, "refused", "main"),
        (Kind.CHANNEL_CLOSED, "", "inputs.0"),
        (Kind.MESSAGE_DROPPED, "dropped", "inputs.0"),
    ]
    assert {(e.label, e.session, e.key) for e in store.events()} == {
        ("Ada", admission.session, KEY)
    }


async def test_who_finds_a_console_in_use_is_written_down_with_the_machine(
    gate: StoreGate, store: Store, clock: FakeClock
) -> None:
    await admitted(gate, store, clock)
    late = Peer("198.51.100.8", 1)
    secret = issue(store, clock, label="Ben")
    async with writing(gate):
        with pytest.raises(Occupied):
            await gate.admit(secret, late)
        with pytest.raises(Occupied) as caught:
            await gate.admit(secret, late)
        gate.record(ConnectionRefused(late, caught.value.reason, caught.value.what))
    refused = store.events()[-1]
    assert (refused.reason, refused.verdict) == ("occupied", "refused")
    assert (refused.key, refused.console, refused.label) == (KEY, "web-01", "Ben")


async def test_a_refusal_by_the_gate_is_written_once(
    gate: StoreGate, store: Store, clock: FakeClock
) -> None:
    async with writing(gate):
        with pytest.raises(Refused) as caught:
            await gate.admit("A" * 48, PEER)
        gate.record(ConnectionRefused(PEER, caught.value.reason, caught.value.what))
    assert [event.reason for event in store.events()] == ["token-unknown"]


async def test_a_flood_of_refusals_is_counted_and_not_written_row_by_row(
    gate: StoreGate, store: Store, clock: FakeClock
) -> None:
    async with writing(gate):
        for _ in range(1000):
            gate.record(ConnectionRefused(PEER, "handshake-timeout", "said nothing"))
        clock.forward(1)
        gate.record(ConnectionRefused(PEER, "handshake-timeout", "said nothing"))
    events = store.events(limit=5000)
    assert len(events) == REFUSALS_PER_SECOND + 1
    assert "995 more" in events[-1].text


class Stubborn:
    """A store that is locked for the first few writes."""

    def __init__(self, store: Store, times: int) -> None:
        self._store = store
        self.times = times

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def put_counters(self, sessions: list[Session]) -> None:
        if self.times:
            self.times -= 1
            raise StoreError("the database is locked")
        self._store.put_counters(sessions)


async def test_a_store_that_is_locked_for_a_while_loses_nothing(
    store: Store, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger, "RETRY_AFTER", 0.0)
    monkeypatch.setattr(ledger, "WRITE_EVERY", 0.001)
    stubborn = Stubborn(store, times=3)
    gate = gate_over(stubborn, clock)
    admission = await admitted(gate, store, clock)
    async with writing(gate):
        gate.record(ChannelOpened(admission.session, "main", PEER))
        gate.record(Traffic(admission.session, "main", 10, 1))
        async with asyncio.timeout(60):
            while stubborn.times:
                gate.record(Traffic(admission.session, "main", 10, 1))
                await asyncio.sleep(0)
    (session,) = store.sessions()
    assert session.bytes_to_client == 10
    assert [event.kind for event in store.events()].count(Kind.CHANNEL_OPENED) == 1


class FullOnce:
    """A store that takes one handful of rows, and has no room for the second at first."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.handfuls: list[int] = []
        self.all_taken = asyncio.Event()
        self._loop = asyncio.get_running_loop()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def add_events(self, events: Sequence[Event]) -> None:
        self.handfuls.append(len(events))
        if len(self.handfuls) == 2:
            raise StoreError("the disk is full")
        self._store.add_events(events)
        if len(self.handfuls) == 3:
            self._loop.call_soon_threadsafe(self.all_taken.set)


async def test_a_storm_is_written_in_handfuls_each_once_and_in_order(
    store: Store, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger, "RETRY_AFTER", 0.0)
    monkeypatch.setattr(ledger, "WRITE_SOON", 0.0)
    full = FullOnce(store)
    gate = gate_over(full, clock)
    admission = await admitted(gate, store, clock)
    channels = [f"inputs.{number}" for number in range(2 * ledger.AT_ONCE)]
    async with writing(gate):
        for channel in channels:
            gate.record(ChannelOpened(admission.session, channel, PEER))
        async with asyncio.timeout(30):
            await full.all_taken.wait()
    assert full.handfuls == [ledger.AT_ONCE] * 3
    opened = [e.channel for e in store.events(limit=9999) if e.kind is Kind.CHANNEL_OPENED]
    assert opened == channels


class Counting:
    """A store that tells of each addition to its counters."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._loop = asyncio.get_running_loop()
        self.added: asyncio.Queue[dict[str, float]] = asyncio.Queue()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def add_counts(self, counts: dict[str, float]) -> None:
        self._store.add_counts(counts)
        self._loop.call_soon_threadsafe(self.added.put_nowait, dict(counts))


async def test_counters_are_added_to_seldom_and_though_nothing_happens_any_more(
    store: Store, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger, "WRITE_SOON", 0.0)
    monkeypatch.setattr(ledger, "WRITE_APART", 0.0)
    monkeypatch.setattr(ledger, "WRITE_EVERY", 0.01)
    counting = Counting(store)
    gate = gate_over(counting, clock)
    admission = await admitted(gate, store, clock)
    async with writing(gate), asyncio.timeout(30):
        gate.record(ChannelOpened(admission.session, "main", PEER))
        assert (await counting.added.get())["channels:main"] == 1
        version = store.data_version()
        gate.record(ChannelOpened(admission.session, "inputs.0", PEER))
        while store.data_version() == version:  # noqa: ASYNC110 - the store tells nobody
            await asyncio.sleep(0.01)
        assert "channels:inputs" not in store.counts()
        clock.forward(1)
        assert (await counting.added.get())["channels:inputs"] == 1


async def test_a_session_somebody_asked_to_end_is_ended(
    gate: StoreGate, store: Store, clock: FakeClock
) -> None:
    admission = await admitted(gate, store, clock)
    ended: asyncio.Future[tuple[str, str]] = asyncio.get_running_loop().create_future()
    task = asyncio.ensure_future(gate.watch_ends(lambda *said: ended.set_result(said)))
    store.ask_end(admission.session)
    async with asyncio.timeout(60):
        assert await ended == (admission.session, "disconnected")
    task.cancel()
    await asyncio.wait([task])


@pytest.mark.parametrize("jump", [timedelta(hours=9), timedelta(hours=-9)])
async def test_a_clock_that_is_set_ends_no_session_and_loses_nothing(
    store: Store, clock: FakeClock, monkeypatch: pytest.MonkeyPatch, jump: timedelta
) -> None:
    gate = gate_over(store, clock)
    monkeypatch.setattr(gatekeeper, "LOOK_EVERY", 0.0)
    admission = await gate.admit(issue(store, clock, LinkPolicy(session_ttl=3600.0)), PEER)
    ended: list[object] = []
    looking = asyncio.ensure_future(gate.watch_ends(lambda *said: ended.append(said)))
    async with writing(gate):
        gate.record(ChannelOpened(admission.session, "main", PEER))
        gate.record(Traffic(admission.session, "main", 10, 1))
        clock.time += jump
        for _ in range(20):
            await asyncio.sleep(0.001)  # it looks, and finds nobody whose time is up
        assert not ended
        gate.record(Traffic(admission.session, "main", 30, 3))
    (session,) = store.sessions()
    assert (session.bytes_to_client, session.bytes_to_server) == (30, 3)
    clock.seconds += 3600  # as long as it was allowed, by the clock that never jumps
    async with asyncio.timeout(60):
        while not ended:  # noqa: ASYNC110 - it calls again and again
            await asyncio.sleep(0.001)
    assert ended[0] == (admission.session, "session-ttl")
    looking.cancel()
    await asyncio.wait([looking])


async def test_a_worker_that_is_full_spends_no_token(store: Store, clock: FakeClock) -> None:
    gate = StoreGate(
        store,
        Decisions(store, clock, worker=4711),
        clock,
        worker=4711,
        ask_driver=lambda key: pytest.fail("not asked"),
        sessions_max=1,
    )
    await admitted(gate, store, clock)
    secret = issue(store, clock)
    with pytest.raises(Refused) as caught:
        await gate.admit(secret, PEER)
    token = store.token(tokens.digest(secret))
    assert caught.value.reason == "limit"
    assert token is not None
    assert token.used_at is None


async def test_a_session_has_only_so_many_channels(store: Store, clock: FakeClock) -> None:
    gate = StoreGate(
        store,
        Decisions(store, clock, worker=4711),
        clock,
        worker=4711,
        ask_driver=lambda key: pytest.fail("not asked"),
        channels_max=1,
    )
    admission = await admitted(gate, store, clock)
    assert await gate.join(admission, "main", PEER) is admission
    gate.record(ChannelOpened(admission.session, "main", PEER))
    with pytest.raises(Refused, match="has 1 channels"):
        await gate.join(admission, "display.0", PEER)


async def test_a_channel_that_comes_after_the_tickets_end_has_the_source_asked_anew_once(
    store: Store, clock: FakeClock
) -> None:
    store.put_machines(LAB, [WEB], tickets={}, kept=False)
    asked: list[str] = []

    async def ask(_: MachineKey) -> Console:
        asked.append(f"ticket-{len(asked)}")
        await asyncio.sleep(0)
        until = clock.now() + timedelta(seconds=30)
        return Console(TcpTarget("192.0.2.9", 5900), ticket=asked[-1], expires_at=until)

    gate = gate_over(store, clock, ask)
    admission = await admitted(gate, store, clock)
    assert (await gate.join(admission, "display.0", PEER)).ticket == "ticket-0"
    clock.forward(21)  # less than ten seconds are left
    both = await asyncio.gather(
        gate.join(admission, "usbredir.0", PEER), gate.join(admission, "usbredir.1", PEER)
    )
    assert [each.ticket for each in both] == ["ticket-1", "ticket-1"]
    assert asked == ["ticket-0", "ticket-1"]


async def test_a_bug_in_a_driver_does_not_leave_the_console_taken(
    store: Store, clock: FakeClock
) -> None:
    store.put_machines(LAB, [WEB], tickets={}, kept=False)

    async def breaks(_: MachineKey) -> Console:
        raise ZeroDivisionError

    gate = gate_over(store, clock, breaks)
    async with writing(gate):
        with pytest.raises(ZeroDivisionError):
            await gate.admit(issue(store, clock), PEER)
        assert gate.live == 0
    assert not store.sessions()
