"""The pumps between socket pairs: back-pressure, endings, and what TLS keeps in memory."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Callable, Coroutine
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from broker import pki
from broker.clock import SystemClock
from broker.proxy import engines
from broker.proxy.leg import CHUNK_BYTES, Leg, LegClosed
from broker.proxy.relay import Ending, Relay
from broker.proxy.tls import StdlibEngine, TlsServer
from broker.proxy.watch import new_loop
from broker.spice.inspector import HELD_MAX, Inspector, Verdict
from broker.spice.policy import Rules
from broker.spice.wire import message
from tests.broker.proxy.rig import SECONDS

RULES = Rules({1: 100_000_000, 2: 0})


class Wire:
    """viewer — client leg — relay — backend leg — server."""

    def __init__(self) -> None:
        self.viewer, near = socket.socketpair()
        far, self.server = socket.socketpair()
        for sock in (self.viewer, self.server):
            sock.setblocking(False)
        for sock in (self.viewer, near, far, self.server):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8192)
        self.client, self.backend = Leg(near), Leg(far)
        self.relay = self.new_relay()

    def new_relay(self) -> Relay:
        return Relay(
            self.client,
            self.backend,
            Inspector(RULES, mini=True),
            Inspector(RULES, mini=True),
        )

    def secure(self, server: TlsServer, identity: pki.Identity) -> Leg:
        """Put TLS on the viewer's side, whose leg is returned; both hands are yet to be shaken."""
        self.client.engine = server.engine()
        self.relay = self.new_relay()
        trusting = ssl.create_default_context(cafile=identity.ca_path)
        engine = StdlibEngine(trusting, server_side=False, server_hostname="localhost")
        return Leg(self.viewer, engine)

    def close(self) -> None:
        for sock in (self.viewer, self.server, self.client.sock, self.backend.sock):
            sock.close()


@pytest.fixture
async def wire() -> AsyncIterator[Wire]:
    wire = Wire()
    yield wire
    wire.close()


async def push_until_full(sock: socket.socket, data: memoryview) -> int:
    """Send until nothing moves any more; how much went."""
    sent = idle = 0
    while idle < 20:
        with contextlib.suppress(BlockingIOError):
            sent += sock.send(data[sent : sent + 65536])
            idle = 0
        idle += 1
        await asyncio.sleep(0)
    return sent


async def receive(sock: socket.socket, size: int) -> bytes:
    data = bytearray()
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(SECONDS):
        while len(data) < size:
            data += await loop.sock_recv(sock, size - len(data))
    return bytes(data)


async def test_a_viewer_that_does_not_read_costs_one_chunk_and_slows_the_server(
    wire: Wire,
) -> None:
    running = asyncio.ensure_future(wire.relay.run())
    data = message(1, bytes(range(256)) * 40_000)
    sent = await push_until_full(wire.server, memoryview(data))
    assert sent < 1_000_000
    assert 0 < len(wire.client.unsent) <= CHUNK_BYTES + HELD_MAX
    loop = asyncio.get_running_loop()
    rest = asyncio.ensure_future(loop.sock_sendall(wire.server, data[sent:]))
    assert await receive(wire.viewer, len(data)) == data
    await rest
    assert wire.client.unsent == b""
    wire.relay.stop("enough")
    assert await running == Ending("enough")


async def test_one_direction_that_stands_still_does_not_stop_the_other(wire: Wire) -> None:
    running = asyncio.ensure_future(wire.relay.run())
    await push_until_full(wire.server, memoryview(message(1, bytes(10_000_000))))
    wire.viewer.send(message(2))
    assert await receive(wire.server, 6) == message(2)
    wire.relay.stop("enough")
    await running


@pytest.mark.parametrize(("end", "reason"), [("viewer", "client"), ("server", "backend")])
async def test_who_closed_is_told(wire: Wire, end: str, reason: str) -> None:
    running = asyncio.ensure_future(wire.relay.run())
    getattr(wire, end).close()
    assert (await running).reason == f"{reason}-closed"


async def test_a_side_that_is_gone_while_we_write_is_told(wire: Wire) -> None:
    running = asyncio.ensure_future(wire.relay.run())
    wire.viewer.shutdown(socket.SHUT_RD)
    wire.server.send(message(2))
    assert (await running).reason == "client-reset"


async def test_a_side_that_goes_while_it_owes_us_room_is_told(wire: Wire) -> None:
    running = asyncio.ensure_future(wire.relay.run())
    await push_until_full(wire.server, memoryview(message(1, bytes(10_000_000))))
    wire.viewer.close()
    assert (await running).reason.startswith("client-")


async def test_a_refused_message_ends_it_after_what_was_good(wire: Wire) -> None:
    running = asyncio.ensure_future(wire.relay.run())
    wire.server.send(message(2) + struct.pack("<HI", 9, 5))
    ending = await running
    assert (ending.reason, ending.verdict) == ("firewall", Verdict(9, 5, "type"))
    assert await receive(wire.viewer, 6) == message(2)
    with pytest.raises(BlockingIOError):
        wire.viewer.recv(1)


async def test_what_was_stopped_stays_stopped(wire: Wire) -> None:
    wire.relay.stop("before it ran")
    assert await wire.relay.run() == Ending("before it ran")
    wire.relay.stop("again")
    wire.server.send(message(2))
    await asyncio.sleep(0)
    with pytest.raises(BlockingIOError):
        wire.viewer.recv(1)


async def test_what_is_said_as_it_ends_leaves_nothing_that_listens(wire: Wire) -> None:
    """The descriptor's number is the next connection's, which could not be watched then."""
    running = asyncio.ensure_future(wire.relay.run())
    await push_until_full(wire.server, memoryview(message(1, bytes(10_000_000))))
    wire.relay.stop("enough")
    wire.relay.say_to_client(2, b"")
    assert await running == Ending("enough")
    with contextlib.suppress(BlockingIOError):
        while wire.viewer.recv(65536):
            pass
    for _ in range(3):
        await asyncio.sleep(0)
    with pytest.raises(BlockingIOError):
        wire.viewer.recv(1)


async def test_what_tls_holds_in_memory_is_relayed_without_another_packet(
    wire: Wire, tmp_path: Path
) -> None:
    """A record that came with the link stage's last one wakes no loop."""
    identity = pki.ensure_identity(tmp_path / "pki", ["localhost"], SystemClock())
    viewer = wire.secure(engines.server(identity.server_path), identity)
    async with asyncio.timeout(SECONDS):
        await asyncio.gather(viewer.handshake(), wire.client.handshake())
        await viewer.send(b"ticket")
        await viewer.send(message(2) + message(1, b"x"))
        while not wire.client.has_more:
            assert wire.client.engine is not None
            wire.client.engine.receive(await wire.client.receive_raw(65536))
        assert await wire.client.receive(6) == b"ticket"
        running = asyncio.ensure_future(wire.relay.run())
        assert await receive(wire.server, 13) == message(2) + message(1, b"x")
        wire.relay.stop("enough")
        await running


async def test_a_viewer_that_stops_speaking_tls_is_told(wire: Wire, tmp_path: Path) -> None:
    identity = pki.ensure_identity(tmp_path / "pki", ["localhost"], SystemClock())
    viewer = wire.secure(engines.server(identity.server_path), identity)
    async with asyncio.timeout(SECONDS):
        await asyncio.gather(viewer.handshake(), wire.client.handshake())
        wire.viewer.send(b"\x17\x03\x03\x00\x20" + bytes(32))
        assert (await wire.relay.run()).reason == "client-tls"


async def test_a_leg_says_its_last_words_before_it_closes(wire: Wire) -> None:
    wire.client.write(b"x" * 200_000)
    assert wire.client.unsent
    finishing = asyncio.ensure_future(wire.client.finish(SECONDS))
    assert await receive(wire.viewer, 200_000) == b"x" * 200_000
    assert wire.viewer.recv(1) == b""
    wire.viewer.close()
    await finishing


async def test_a_leg_whose_peer_never_reads_closes_all_the_same(wire: Wire) -> None:
    wire.client.write(b"x" * 200_000)
    await wire.client.finish(0.01)
    assert wire.client.sock.fileno() == -1


class Flooded(socket.socket):
    """However often it is read from, there is more."""

    reads = 0
    peer: socket.socket

    def recv_into(self, *args: Any) -> int:
        count = super().recv_into(*args)
        return count if self._has_more() else 0

    def recv(self, *args: Any) -> bytes:
        data = super().recv(*args)
        return data if self._has_more() else b""

    def _has_more(self) -> bool:
        self.reads += 1
        self.peer.send(b"more")
        return self.reads < 100


@pytest.mark.parametrize("make_loop", [new_loop, asyncio.SelectorEventLoop])
def test_a_peer_that_sends_on_and_on_at_the_end_leaves_others_their_turn(
    make_loop: Callable[[], asyncio.AbstractEventLoop],
) -> None:
    near, far = socket.socketpair()
    sock = Flooded(fileno=near.detach())
    sock.peer = far
    turns: list[int] = []

    async def main() -> None:
        far.send(b"first")
        finishing = asyncio.ensure_future(Leg(sock).finish(SECONDS))
        while not finishing.done():
            turns.append(sock.reads)
            await asyncio.sleep(0)
        turns.append(sock.reads)

    with far, asyncio.Runner(loop_factory=make_loop) as runner:
        runner.run(asyncio.wait_for(main(), SECONDS))
    assert sock.reads == 100
    assert all(after - before <= 1 for before, after in pairwise(turns))


async def test_a_leg_whose_peer_is_gone_says_so(wire: Wire) -> None:
    wire.viewer.close()
    with pytest.raises(LegClosed, match="closed"):
        await wire.client.receive(1)
    with pytest.raises(LegClosed) as caught:
        await wire.client.send(b"x" * 100)
    assert caught.value.reason == "reset"


async def test_the_last_message_of_a_burst_has_a_tls_record_of_its_own(
    wire: Wire, tmp_path: Path
) -> None:
    """spice-gtk handles what TLS holds in memory only while its socket is readable."""
    identity = pki.ensure_identity(tmp_path / "pki", ["localhost"], SystemClock())
    viewer = wire.secure(engines.server(identity.server_path), identity)
    async with asyncio.timeout(SECONDS):
        await asyncio.gather(viewer.handshake(), wire.client.handshake())
        running = asyncio.ensure_future(wire.relay.run())
        await asyncio.sleep(0)
        wire.server.send(message(2) * 5 + message(1, b"x"))
        records = b""
        while lengths_of(records)[-2:] != [5 * 6 + RECORD_OVERHEAD, 7 + RECORD_OVERHEAD]:
            records += await viewer.receive_raw(65536)
        wire.relay.stop("enough")
        await running


RECORD_OVERHEAD = 17
"""TLS 1.3: the content type and the tag of AES-GCM or ChaCha20-Poly1305."""


def lengths_of(records: bytes) -> list[int]:
    """The length of each TLS record, without its five bytes of header."""
    lengths = []
    while len(records) >= 5:
        length = int.from_bytes(records[3:5], "big")
        lengths.append(length)
        records = records[5 + length :]
    return lengths


SCENARIOS = [
    test_a_viewer_that_does_not_read_costs_one_chunk_and_slows_the_server,
    test_one_direction_that_stands_still_does_not_stop_the_other,
    test_a_side_that_is_gone_while_we_write_is_told,
    test_a_side_that_goes_while_it_owes_us_room_is_told,
    test_a_refused_message_ends_it_after_what_was_good,
    test_what_was_stopped_stays_stopped,
    test_what_is_said_as_it_ends_leaves_nothing_that_listens,
    test_a_leg_says_its_last_words_before_it_closes,
    test_a_leg_whose_peer_never_reads_closes_all_the_same,
    test_a_leg_whose_peer_is_gone_says_so,
]


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__[5:])
def test_the_same_on_the_loop_of_relay_workers(
    scenario: Callable[[Wire], Coroutine[None, None, None]],
) -> None:
    async def play() -> None:
        with contextlib.closing(Wire()) as wire:
            await scenario(wire)

    with asyncio.Runner(loop_factory=new_loop, debug=True) as runner:
        runner.run(play())
