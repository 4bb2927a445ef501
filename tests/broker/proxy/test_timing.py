"""Times that are taken of what passes, by the proxy with a scripted server behind it."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from broker.model import SessionId
from broker.proxy.gate import Admission, ChannelClosed, Peer, Timed
from broker.proxy.kernel import tcp_of
from broker.proxy.leg import Leg
from broker.proxy.limits import Limits
from broker.proxy.relay import Relay
from broker.proxy.session import Session
from broker.proxy.timing import ChannelTimes
from broker.spice.client import Linked, MessageReceived
from broker.spice.constants import ChannelType
from broker.spice.inspector import Inspector
from broker.spice.policy import FROM_CLIENT, FROM_SERVER
from broker.spice.wire import message
from tests.broker.proxy.fake_server import FakeServer
from tests.broker.proxy.rig import SECONDS, TOKEN, Rig, proxying

SESSION = SessionId(f"s-{TOKEN}")
PING = message(4, struct.pack("<IQ", 1, 99))
PONG = message(3, struct.pack("<IQ", 1, 99))
DRAW = message(304, bytes(60))
KEY = message(101, b"\x1e\0\0\0")

linux = pytest.mark.skipif(sys.platform != "linux", reason="TCP_INFO is Linux's")


class Loose:
    """A channel's relay between two socket pairs, driven by hand."""

    def __init__(self, kind: ChannelType, session: Session) -> None:
        self.viewer, near = socket.socketpair()
        far, self.server = socket.socketpair()
        for sock in (self.viewer, self.server):
            sock.setblocking(False)
        self.legs = Leg(near), Leg(far)
        self.relay = Relay(
            *self.legs,
            Inspector(FROM_SERVER[kind], mini=True),
            Inspector(FROM_CLIENT[kind], mini=True),
        )
        self.name = f"{kind.name.lower()}.0"
        self.times = ChannelTimes(self.relay, session, self.name)

    @contextlib.asynccontextmanager
    async def relaying(self) -> AsyncIterator[None]:
        with self.times:
            running = asyncio.ensure_future(self.relay.run())
            await asyncio.sleep(0)
            try:
                yield
            finally:
                self.relay.stop("test")
                await running
                for sock in (self.viewer, self.server, *(leg.sock for leg in self.legs)):
                    sock.close()

    async def pass_on(self, data: bytes, source: socket.socket, sink: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(SECONDS):
            await loop.sock_sendall(source, data)
            got = b""
            while len(got) < len(data):
                got += await loop.sock_recv(sink, len(data) - len(got))
        assert got == data

    async def from_server(self, data: bytes) -> None:
        await self.pass_on(data, self.server, self.viewer)

    async def from_viewer(self, data: bytes) -> None:
        await self.pass_on(data, self.viewer, self.server)

    def told(self, *, carried: bool = False) -> Timed | None:
        return self.times.notice(SESSION, self.name, carried=carried)


@pytest.fixture
def session() -> Session:
    return Session(1, Admission(SESSION, b"", None), Peer("127.0.0.1", 1))  # type: ignore[arg-type]


def total(counts: object) -> int:
    assert isinstance(counts, dict)
    return sum(counts.values())


async def test_a_ping_is_timed_until_its_pong(session: Session) -> None:
    loose = Loose(ChannelType.CURSOR, session)
    async with loose.relaying():
        await loose.from_viewer(PONG)  # of a ping that nobody sent
        await loose.from_server(PING)
        await loose.from_viewer(PONG)
        told = loose.told()
        again = loose.told()
    assert told is not None
    assert (total(told.timing.ping), total(told.timing.draw)) == (1, 0)
    assert again is None


async def test_a_channel_that_ends_tells_the_times_it_has_not_told_yet(session: Session) -> None:
    loose = Loose(ChannelType.CURSOR, session)
    async with loose.relaying():
        assert loose.told(carried=True) is not None
        await loose.from_server(PING)
        await loose.from_viewer(PONG)
        last = loose.times.notice(SESSION, loose.name, carried=False, over=True)
        nothing_new = loose.times.notice(SESSION, loose.name, carried=False, over=True)
    assert last is not None
    assert total(last.timing.ping) == 1
    assert (last.timing.client, last.timing.server) == (None, None)
    assert nothing_new is None


async def test_a_press_is_timed_until_the_next_drawing(session: Session) -> None:
    inputs, display = Loose(ChannelType.INPUTS, session), Loose(ChannelType.DISPLAY, session)
    async with inputs.relaying(), display.relaying():
        await display.from_server(DRAW)
        await inputs.from_viewer(KEY)
        await display.from_server(PING + DRAW + DRAW)
        await display.from_viewer(PONG)
        told = display.told()
    assert told is not None
    assert (total(told.timing.draw), total(told.timing.ping)) == (1, 1)


async def test_of_a_flood_of_presses_one_is_taken_each_time_it_is_asked_for(
    session: Session,
) -> None:
    presses: list[float] = []
    inputs = Loose(ChannelType.INPUTS, session)
    with session.on_press(presses.append):
        async with inputs.relaying():
            await inputs.from_viewer(KEY * 400)
            assert len(presses) == 1
            inputs.times.sample()
            inputs.times.sample()
            await inputs.from_viewer(message(102, b"\x9e\0\0\0") + KEY * 400)
    assert len(presses) == 2


async def test_a_run_of_a_pump_is_timed_when_asked_for(session: Session) -> None:
    loose = Loose(ChannelType.DISPLAY, session)
    async with loose.relaying():
        await loose.from_server(DRAW)
        none = loose.told()
        loose.times.sample()
        await loose.from_server(DRAW)
        await loose.from_server(DRAW)
        once = loose.told()
        loose.times.sample()
        await loose.from_server(DRAW)
        twice = loose.told()
    assert none is None
    assert once is not None
    assert twice is not None
    assert (total(once.timing.proxy), total(twice.timing.proxy)) == (1, 2)


@linux
async def test_the_kernel_says_how_a_connection_does() -> None:
    near, far = socket.socketpair()
    with near, far:
        assert tcp_of(near) is None
    with socket.create_server(("127.0.0.1", 0)) as server:
        with socket.create_connection(server.getsockname()) as viewer:
            known = tcp_of(viewer)
        assert known is not None
        assert 0 < known.network <= known.rtt < 60
        assert (known.retransmits, known.unacked) == (0, 0)
    assert tcp_of(viewer) is None


# -- through whole proxies


async def begin(rig: Rig, fake: FakeServer) -> int:
    opening = asyncio.ensure_future(rig.open_main())
    await fake.main()
    _, session = await opening
    return session


@linux
async def test_the_gate_hears_the_times_of_a_channel(tmp_path: Path, fake: FakeServer) -> None:
    async with proxying(tmp_path, limits=Limits(report_seconds=0.02)) as rig:
        rig.gate.allow(fake.target)
        session = await begin(rig, fake)
        viewer = await rig.open(ChannelType.CURSOR, connection_id=session)
        linking = asyncio.ensure_future(viewer.until(Linked))
        served = await fake.next()
        await served.accept()
        await linking
        reading = asyncio.ensure_future(viewer.until(MessageReceived))
        await served.say(PING)
        heard = await rig.gate.heard(Timed, lambda timed: bool(timed.timing.ping))
        assert (heard.session, heard.channel) == (SESSION, "cursor.0")
        assert heard.timing.client is not None
        assert heard.timing.server is not None
        await served.say(message(105))
        await reading
        await viewer.close()
        await rig.gate.heard(ChannelClosed, lambda closed: closed.channel == "cursor.0")
        last = [n for n in rig.gate.notices if isinstance(n, Timed) and n.channel == "cursor.0"][-1]
        assert last.timing.ping == heard.timing.ping
