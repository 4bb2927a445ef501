"""Two relay workers: MAIN comes to one, later channels to the other; against a scripted server."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import socket
import stat
import struct
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from broker.model import SessionId
from broker.proxy import backoff
from broker.proxy.backoff import Backoff
from broker.proxy.gate import (
    ChannelClosed,
    ChannelOpened,
    ConnectionRefused,
    Peer,
    SessionClosed,
    Timed,
    Traffic,
)
from broker.proxy.limits import Limits, share
from broker.proxy.neighbours import Place, connection_id
from broker.proxy.words import Crossed, Granted, Join, Unknown, Wire, Word, decoded, encoded
from broker.spice.client import Linked
from broker.spice.client_link import LinkRefused
from broker.spice.constants import ChannelType, LinkError
from broker.spice.wire import message
from tests.broker.proxy.fake_server import FakeServer, Served
from tests.broker.proxy.rig import SECONDS, TOKEN, Connection, Rig, proxying

SESSION = SessionId(f"s-{TOKEN}")
SET_ACK = message(3, struct.pack("<II", 1, 20))
INIT = message(101, b"\1" + bytes(8) + b"\1" + bytes(4))


@dataclass
class Pair:
    """The worker that holds MAIN, and the other one."""

    owner: Rig
    other: Rig
    directory: Path
    main: Connection
    session: int
    served: Served
    fake: FakeServer

    async def open(self, kind: ChannelType) -> tuple[Connection, Served]:
        """A later channel by way of the other worker, linked; a display is not begun."""
        viewer = await self.other.open(kind, connection_id=self.session)
        linking = asyncio.ensure_future(viewer.until(Linked))
        served = await self.fake.next()
        if kind is not ChannelType.DISPLAY:
            await served.accept()
        await linking
        return viewer, served

    async def crossing(self) -> tuple[Connection, Served]:
        """A display by way of the other worker, whose ticket and INIT are at the server."""
        viewer, served = await self.open(ChannelType.DISPLAY)
        await served.hears(len(INIT) + 7)
        return viewer, served


@pytest.fixture
def runtime() -> Iterator[Path]:
    """A private directory with a short path."""
    directory = Path(tempfile.mkdtemp(prefix="cbn", dir="/tmp"))
    yield directory
    shutil.rmtree(directory)


@contextlib.asynccontextmanager
async def workers(directory: Path, runtime: Path) -> AsyncIterator[tuple[Rig, Rig]]:
    limits = Limits(close_seconds=0.3, report_seconds=0.05)
    async with (
        proxying(directory, limits=limits, place=Place(1, runtime)) as owner,
        proxying(directory, limits=limits, place=Place(2, runtime)) as other,
    ):
        yield owner, other


@pytest.fixture
async def pair(tmp_path: Path, runtime: Path, fake: FakeServer) -> AsyncIterator[Pair]:
    async with workers(tmp_path, runtime) as (owner, other):
        owner.gate.allow(fake.target, "the-hypervisors")
        opening = asyncio.ensure_future(owner.open_main())
        served = await fake.main()
        main, session = await opening
        await served.hears(6)  # ATTACH_CHANNELS
        yield Pair(owner, other, runtime, main, session, served, fake)


def test_the_top_bits_of_a_connection_id_name_the_worker() -> None:
    drawn = {connection_id(number) for number in (0, 5, 63) for _ in range(20)}
    assert {each >> 26 for each in drawn} == {0, 5, 63}
    assert 0 not in {each & 0x3FFFFFF for each in drawn}
    assert max(drawn) < 2**32


async def test_a_channel_that_another_worker_took_counts_in_its_session(pair: Pair) -> None:
    viewer, served = await pair.open(ChannelType.INPUTS)
    assert served.ticket == b"the-hypervisors"
    await viewer.press(0x1E)
    assert await served.hears(6)
    opened = await pair.owner.gate.heard(ChannelOpened, lambda n: n.channel == "inputs.0")
    assert opened.session == SESSION
    await pair.owner.gate.heard(Traffic, lambda n: n.channel == "inputs.0")
    assert pair.owner.gate.joined == ["inputs.0"]
    await viewer.close()
    closed = await pair.owner.gate.heard(ChannelClosed)
    assert (closed.channel, closed.reason) == ("inputs.0", "client-closed")
    assert closed.bytes_to_server > 0
    assert pair.other.gate.notices == []


async def test_disconnecting_reaches_the_other_worker_in_the_safe_order(pair: Pair) -> None:
    viewer, served = await pair.open(ChannelType.INPUTS)
    assert pair.owner.proxy.end_session(SESSION)
    assert await pair.served.is_closed() == b""
    served.writer.close()
    assert await served.is_closed() == b""
    await viewer.closed()
    await pair.main.closed()
    assert (await pair.owner.gate.heard(SessionClosed)).reason == "disconnected"


async def test_main_waits_for_a_display_that_crosses_in_the_other_worker(pair: Pair) -> None:
    viewer, display = await pair.crossing()
    await pair.main.close()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.5):
            await pair.served.reader.read(1)
    await display.accept(SET_ACK)
    assert await pair.served.is_closed() == b""
    display.writer.close()
    await viewer.closed()
    assert (await pair.owner.gate.heard(SessionClosed)).reason == "client-closed"


async def test_no_ticket_is_sent_once_the_session_is_over(pair: Pair) -> None:
    viewer = await pair.other.open(ChannelType.DISPLAY, connection_id=pair.session)
    viewer.client.receive_data(await viewer.reader.readexactly(16 + 178 + 8))
    await viewer.flush()
    assert (await viewer.reader.readexactly(4)) == bytes(4)
    pair.owner.proxy.end_session(SESSION)
    viewer.writer.write(INIT)
    await viewer.closed()
    assert pair.fake.served.empty()


async def test_a_channel_opens_once_wherever_it_comes_in(pair: Pair) -> None:
    await pair.open(ChannelType.INPUTS)
    for rig in (pair.owner, pair.other):
        twin = await rig.open(ChannelType.INPUTS, connection_id=pair.session)
        assert (await twin.until(LinkRefused)).error == LinkError.CHANNEL_NOT_AVAILABLE
    refused = await pair.owner.gate.heard(ConnectionRefused, count=2)
    assert (refused.reason, refused.session) == ("channel-twice", SESSION)


async def test_an_owner_that_is_silent_about_a_claim_is_not_waited_for(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("broker.proxy.neighbours.WORD_SECONDS", 0.05)
    monkeypatch.setattr("broker.proxy.desk._Guest._claim", lambda *_: None)
    viewer = await pair.other.open(ChannelType.INPUTS, connection_id=pair.session)
    assert (await viewer.until(LinkRefused)).error == LinkError.ERROR
    refused = await pair.owner.gate.heard(ConnectionRefused)
    assert (refused.reason, refused.session) == ("worker-silent", SESSION)


async def test_a_display_that_may_not_cross_yet_never_shows_its_ticket(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("broker.proxy.neighbours.WORD_SECONDS", 0.05)
    monkeypatch.setattr("broker.proxy.desk._Guest._cross", lambda *_: None)
    viewer = await pair.other.open(ChannelType.DISPLAY, connection_id=pair.session)
    await viewer.until(Linked)
    refused = await pair.owner.gate.heard(ConnectionRefused)
    assert (refused.reason, refused.session) == ("worker-silent", SESSION)
    await viewer.closed()
    assert pair.fake.served.empty()


async def test_another_token_is_refused_and_told_to_the_owner(pair: Pair) -> None:
    thief = await pair.other.open(ChannelType.INPUTS, connection_id=pair.session, ticket="another")
    assert await thief.until(LinkRefused) == LinkRefused(7, ticket_judged=True)
    refused = await pair.owner.gate.heard(ConnectionRefused)
    assert (refused.reason, refused.session) == ("token-wrong", SESSION)


@pytest.mark.parametrize(
    ("channel", "error"), [(9, LinkError.PERMISSION_DENIED), (8, LinkError.ERROR)]
)
async def test_what_the_owners_gate_says_counts(pair: Pair, channel: int, error: LinkError) -> None:
    viewer = await pair.other.open(
        ChannelType.CURSOR, connection_id=pair.session, channel_id=channel
    )
    assert await viewer.until(LinkRefused) == LinkRefused(error, ticket_judged=False)
    assert (await pair.owner.gate.heard(ConnectionRefused)).channel == f"cursor.{channel}"
    assert pair.other.gate.notices == []


@pytest.mark.parametrize("number", [1, 2, 3], ids=["owner", "ourselves", "no-such-worker"])
async def test_a_session_nobody_knows_is_refused(pair: Pair, number: int) -> None:
    lost = await pair.other.open(ChannelType.INPUTS, connection_id=connection_id(number))
    assert (await lost.until(LinkRefused)).error == LinkError.BAD_CONNECTION_ID
    refused = await pair.other.gate.heard(ConnectionRefused)
    assert refused.reason == "session-unknown"


async def test_a_worker_that_must_stop_has_the_owner_end_its_sessions(pair: Pair) -> None:
    viewer, _ = await pair.open(ChannelType.INPUTS)
    pair.other.proxy.end_all("proxy-stopped")
    assert (await pair.owner.gate.heard(SessionClosed)).reason == "proxy-stopped"
    await viewer.closed()


async def test_the_workers_socket_is_private(pair: Pair) -> None:
    mode = (pair.directory / "worker-1.sock").stat().st_mode
    assert stat.S_IMODE(mode) == 0o600


# --- one worker speaks for the other --------------------------------------------------------------


async def call(path: Path) -> tuple[Wire, asyncio.Queue[Word | None]]:
    """Speak to a worker as another one would; None is its hanging up."""
    heard: asyncio.Queue[Word | None] = asyncio.Queue()
    wire = Wire(heard.put_nowait, lambda: heard.put_nowait(None))
    await asyncio.get_running_loop().create_unix_connection(lambda: wire, str(path))
    return wire, heard


async def test_a_worker_that_dies_while_a_display_crosses_lets_main_go(pair: Pair) -> None:
    viewer, display = await pair.crossing()
    await pair.main.close()
    (away,) = pair.other.proxy._seats._away.values()
    assert away.wire._transport is not None
    away.wire._transport.abort()
    assert await pair.served.is_closed() == b""
    await display.accept(SET_ACK)
    display.writer.close()
    await viewer.closed()


async def test_a_dead_workers_channel_is_closed_and_the_rest_of_its_session_ended(
    pair: Pair,
) -> None:
    _, served = await pair.open(ChannelType.INPUTS)
    (away,) = pair.other.proxy._seats._away.values()
    assert away.wire._transport is not None
    away.wire._transport.abort()
    closed = await pair.owner.gate.heard(ChannelClosed, lambda n: n.channel == "inputs.0")
    assert closed.reason == "worker-died"
    assert (await pair.owner.gate.heard(SessionClosed)).reason == "worker-died"
    await served.is_closed()


@pytest.mark.parametrize("junk", [b"Nonsense {}\n", b"Join {}\n", b"Crossed {}\n", b"\xff\n"])
async def test_nonsense_is_hung_up_on_and_harms_nobody(pair: Pair, junk: bytes) -> None:
    reader, writer = await asyncio.open_unix_connection(str(pair.directory / "worker-1.sock"))
    writer.write(junk)
    async with asyncio.timeout(SECONDS):
        assert await reader.read() == b""
    writer.close()
    viewer, _ = await pair.open(ChannelType.INPUTS)
    await viewer.close()


async def test_a_line_without_an_end_is_hung_up_on(pair: Pair) -> None:
    reader, writer = await asyncio.open_unix_connection(str(pair.directory / "worker-1.sock"))
    with contextlib.suppress(ConnectionError):
        writer.write(b"x" * 600_000)
        async with asyncio.timeout(SECONDS):
            assert await reader.read() == b""
    writer.close()


async def test_a_worker_asked_for_nothing_it_has_says_so(pair: Pair) -> None:
    wire, heard = await call(pair.directory / "worker-1.sock")
    wire.say(Join(5, "inputs.0", Peer("127.0.0.1", 1)))
    assert await heard.get() == Unknown()
    wire.close()
    assert await heard.get() is None


@pytest.mark.parametrize("word", [Granted(), Crossed(), Traffic(SESSION, "main", 1, 2), Unknown()])
def test_words_are_the_same_after_the_wire(word: Word) -> None:
    assert decoded(encoded(word).rstrip(b"\n")) == word


@pytest.mark.parametrize("inputs_far", [True, False])
async def test_a_press_in_one_worker_is_timed_until_a_drawing_in_another(
    pair: Pair, inputs_far: bool
) -> None:
    near, far = (ChannelType.DISPLAY, ChannelType.INPUTS)
    if not inputs_far:
        near, far = far, near
    opened = {far: await pair.open(far)}
    viewer = await pair.owner.open(near, connection_id=pair.session)
    linking = asyncio.ensure_future(viewer.until(Linked))
    served = await pair.fake.next()
    if near is not ChannelType.DISPLAY:
        await served.accept()
    await linking
    opened[near] = viewer, served
    keyboard, _ = opened[ChannelType.INPUTS]
    _, screen = opened[ChannelType.DISPLAY]
    await screen.hears(len(INIT) + 7)
    await screen.accept(SET_ACK)
    hearing = asyncio.ensure_future(
        pair.owner.gate.heard(Timed, lambda timed: bool(timed.timing.draw))
    )
    while not hearing.done():
        await keyboard.press(0x1E)
        await asyncio.wait([hearing], timeout=0.05)  # the word of the press has to get about
        await screen.say(message(304, bytes(60)))
    timed = await hearing
    assert (timed.session, timed.channel) == (SESSION, "display.0")


async def test_a_bad_token_counts_in_every_worker(
    tmp_path: Path, runtime: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backoff, "FIRST_SECONDS", 60.0)
    limits = Limits(bad_tokens=2, backoff_seconds=60.0)
    async with (
        proxying(tmp_path, limits=limits, place=Place(1, runtime)) as one,
        proxying(tmp_path, limits=limits, place=Place(2, runtime)) as two,
    ):
        counted = Counter[str]()
        monkeypatch.setattr(Backoff, "failed", counting(Backoff.failed, counted))
        for rig in (one, two):
            guess = await rig.open(ChannelType.MAIN, ticket="guess")
            assert await guess.until(LinkRefused) == LinkRefused(7, ticket_judged=True)
        async with asyncio.timeout(SECONDS):
            while counted["127.0.0.1"] < 4:  # noqa: ASYNC110 - the word is under way
                await asyncio.sleep(0.01)
        for rig in (one, two):
            guess = await rig.open(ChannelType.MAIN, ticket="guess")
            assert await guess.until(LinkRefused) == LinkRefused(7, ticket_judged=False)


def counting(
    failed: Callable[[Backoff, str], None], counted: Counter[str]
) -> Callable[[Backoff, str], None]:
    def count(self: Backoff, host: str) -> None:
        counted[host] += 1
        failed(self, host)

    return count


async def test_a_worker_that_has_died_is_told_nothing(
    tmp_path: Path, runtime: Path, fake: FakeServer
) -> None:
    with contextlib.closing(socket.socket(socket.AF_UNIX)) as dead:
        dead.bind(str(runtime / "worker-7.sock"))
    async with proxying(tmp_path, limits=Limits(bad_tokens=3), place=Place(1, runtime)) as rig:
        guess = await rig.open(ChannelType.MAIN, ticket="guess")
        assert await guess.until(LinkRefused) == LinkRefused(7, ticket_judged=True)


@pytest.mark.parametrize(
    ("limit", "workers", "each"), [(512, 2, 256), (32, 2, 16), (32, 8, 16), (33, 2, 17), (4, 8, 4)]
)
def test_workers_share_what_may_be_half_open(limit: int, workers: int, each: int) -> None:
    assert share(limit, workers) == each
