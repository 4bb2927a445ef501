"""A relay behind TLS behaves the same whether its pumps are the short ones or the general one."""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import sys
from collections.abc import AsyncIterator, Callable
from itertools import pairwise
from pathlib import Path

import pytest

from broker import pki
from broker.clock import SystemClock
from broker.proxy import short_pumps
from broker.proxy.fast_tls import FastServer
from broker.proxy.kernel import room_of
from broker.proxy.leg import CHUNK_BYTES, Leg, LegClosed
from broker.proxy.pump import BULK_BYTES, Pump
from broker.proxy.relay import Ending
from broker.proxy.short_pumps import ToServer, ToViewer, pump_class
from broker.proxy.tls import RECORDS_AT_ONCE, StdlibServer, TlsServer, stdlib_context
from broker.spice.inspector import Inspector, Verdict
from broker.spice.policy import Rules
from broker.spice.wire import message
from tests.broker.proxy.rig import SECONDS
from tests.broker.proxy.test_relay import Wire, push_until_full, receive


def stdlib(path: Path) -> TlsServer:
    return StdlibServer(stdlib_context(path))


@pytest.fixture(params=[FastServer, stdlib], ids=["short", "general"])
def server(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[TlsServer, pki.Identity]:
    make: Callable[[Path], TlsServer] = request.param
    identity = pki.ensure_identity(tmp_path / "pki", ["localhost"], SystemClock())
    return make(identity.server_path), identity


CHUNK_RECORDS_BYTES = CHUNK_BYTES + 20 * 64
"""A chunk as records, each of which is a little longer than what is in it."""


class Secured:
    """A wire with TLS, shaken, whose relay runs."""

    def __init__(self, wire: Wire, viewer: Leg) -> None:
        self.wire = wire
        self.viewer = viewer
        self.running = asyncio.ensure_future(wire.relay.run())

    async def hears(self, size: int) -> bytes:
        """The next bytes at the viewer."""
        data = b""
        async with asyncio.timeout(SECONDS):
            while len(data) < size:
                data += await self.viewer.receive(size - len(data))
        return data


@pytest.fixture
async def secured(server: tuple[TlsServer, pki.Identity]) -> AsyncIterator[Secured]:
    wire = Wire()
    viewer = wire.secure(*server)
    async with asyncio.timeout(SECONDS):
        await asyncio.gather(viewer.handshake(), wire.client.handshake())
    wire.relay = wire.new_relay()
    secured = Secured(wire, viewer)
    await asyncio.sleep(0)
    yield secured
    wire.relay.stop("the test is over")
    await secured.running
    viewer.hand_over()
    wire.close()


async def test_the_short_ones_are_for_a_plain_server_and_our_fast_tls(
    server: tuple[TlsServer, pki.Identity],
) -> None:
    with contextlib.closing(Wire()) as wire:
        viewer = wire.secure(*server)
        async with asyncio.timeout(SECONDS):
            await asyncio.gather(viewer.handshake(), wire.client.handshake())
        fast = isinstance(server[0], FastServer)
        assert pump_class(wire.backend, wire.client) is (ToViewer if fast else Pump)
        assert pump_class(wire.client, wire.backend) is (ToServer if fast else Pump)
        wire.backend.engine = wire.client.engine
        assert pump_class(wire.client, wire.backend) is Pump


async def test_messages_of_all_sizes_arrive_whole_however_they_are_cut(secured: Secured) -> None:
    draw = random.Random(5)
    sizes = [0, 1, 12, 16_378, 16_379, 70_000, 3, CHUNK_BYTES, 600_000, 0, 5]
    said = b"".join(message(1, draw.randbytes(size)) for size in sizes)
    loop = asyncio.get_running_loop()

    async def server_says() -> None:
        at = 0
        while at < len(said):
            end = at + draw.choice([1, 5, 7, 1000, 300_000])
            await loop.sock_sendall(secured.wire.server, said[at:end])
            at = end

    async def viewer_says() -> None:
        engine, sock = secured.viewer.engine, secured.wire.viewer
        assert engine is not None
        at = 0
        while at < len(said):
            end = at + draw.choice([1, 5, 7, 1000, 60_000])
            engine.write(said[at:end])
            records = bytes(engine.take())
            cut = draw.randrange(len(records))  # a record in parts
            await loop.sock_sendall(sock, records[:cut])
            await asyncio.sleep(0)
            await loop.sock_sendall(sock, records[cut:])
            at = end

    async with asyncio.timeout(2 * SECONDS):
        _, heard, _, seen = await asyncio.gather(
            server_says(), secured.hears(len(said)),
            viewer_says(), receive(secured.wire.server, len(said)),
        )  # fmt: skip
    assert heard == said
    assert seen == said
    relay = secured.wire.relay
    assert relay.to_client.forwarded == relay.to_server.forwarded == len(said)
    assert relay.to_client.messages == relay.to_server.messages == len(sizes)


async def test_a_viewer_that_does_not_read_costs_one_chunk_and_loses_nothing(
    secured: Secured,
) -> None:
    data = b"".join(message(1, bytes([number]) * 5000) for number in range(200))
    sent = await push_until_full(secured.wire.server, memoryview(data))
    assert sent < len(data)
    assert 0 < len(secured.wire.client.unsent) <= CHUNK_RECORDS_BYTES
    loop = asyncio.get_running_loop()
    rest = asyncio.ensure_future(loop.sock_sendall(secured.wire.server, data[sent:]))
    assert await secured.hears(len(data)) == data
    await rest
    assert secured.wire.client.unsent == b""


async def test_a_server_that_does_not_read_costs_one_chunk_and_loses_nothing(
    secured: Secured,
) -> None:
    said = b"".join(message(1, bytes([number]) * 5000) for number in range(200))
    sending = asyncio.ensure_future(secured.viewer.send(said))
    async with asyncio.timeout(SECONDS):
        while not secured.wire.backend.unsent:  # noqa: ASYNC110  # it tells nobody
            await asyncio.sleep(0)
    assert len(secured.wire.backend.unsent) <= CHUNK_BYTES
    assert await receive(secured.wire.server, len(said)) == said
    await sending


async def test_a_refused_message_does_not_pass_but_what_was_before_it_does(
    secured: Secured,
) -> None:
    await secured.viewer.send(message(2) + message(9, b"12345"))
    assert await secured.running == Ending(
        "firewall", "message 9 of 5 bytes refused: type", Verdict(9, 5, "type")
    )
    assert await receive(secured.wire.server, 6) == message(2)
    with pytest.raises(BlockingIOError):
        secured.wire.server.recv(1)


async def test_one_refused_message_alone_does_not_pass(secured: Secured) -> None:
    secured.wire.server.send(message(9, b"12345"))
    assert (await secured.running).verdict == Verdict(9, 5, "type")
    assert secured.wire.relay.to_client.forwarded == 0


async def test_a_goodbye_in_tls_is_the_end(secured: Secured) -> None:
    assert secured.viewer.engine is not None
    secured.viewer.engine.close()
    secured.wire.viewer.send(bytes(secured.viewer.engine.take()))
    assert (await secured.running).reason == "client-closed"


async def test_a_flood_of_tiny_records_leaves_others_their_turn(secured: Secured) -> None:
    wire, engine = secured.wire, secured.viewer.engine
    assert engine is not None
    for sock in (wire.viewer, wire.backend.sock):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, CHUNK_BYTES)
    said = message(1, random.Random(6).randbytes(8 * RECORDS_AT_ONCE))
    for number in range(len(said)):
        engine.write(said[number : number + 1])  # a record of its own
    engine.close()
    wire.viewer.send(bytes(engine.take()))
    turns = [0]
    async with asyncio.timeout(SECONDS):
        while not secured.running.done():
            await asyncio.sleep(0)
            turns.append(wire.relay.carried[1])
    assert (await secured.running).reason == "client-closed"
    assert await receive(wire.server, len(said)) == said
    # A turn is one because bytes came, and one because there were more.
    most = max(after - before for before, after in pairwise(turns))
    assert most <= 2 * RECORDS_AT_ONCE


@pytest.mark.parametrize("first", [0, 3], ids=["whole", "in parts"])
async def test_what_comes_with_a_goodbye_is_passed_on(secured: Secured, first: int) -> None:
    engine, said = secured.viewer.engine, message(2) + message(1, b"last")
    assert engine is not None
    if first:
        await secured.viewer.send(said[:first])
        async with asyncio.timeout(SECONDS):
            while not secured.wire.relay.to_server.held:  # noqa: ASYNC110  # it tells nobody
                await asyncio.sleep(0)
    engine.write(said[first:])
    engine.close()
    secured.wire.viewer.send(bytes(engine.take()))
    assert (await secured.running).reason == "client-closed"
    assert await receive(secured.wire.server, len(said)) == said


async def test_who_sent_no_tls_is_found_out_also_when_the_server_speaks_first(
    secured: Secured,
) -> None:
    """The end is told once what was before it is sent on; meanwhile nothing can be sealed."""
    said = message(1, bytes(60_000))
    secured.wire.viewer.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 200_000)
    engine = secured.viewer.engine
    assert engine is not None
    engine.write(said)
    records = bytes(engine.take()) + b"\x17\x03\x03\x00\x20" + bytes(32)
    assert secured.wire.viewer.send(records) == len(records)
    async with asyncio.timeout(SECONDS):
        while not secured.wire.backend.unsent:  # noqa: ASYNC110  # it tells nobody
            await asyncio.sleep(0)
        secured.wire.server.send(message(2))
        assert (await secured.running).reason == "client-tls"


@pytest.mark.parametrize("asker", ["server", "viewer"])
async def test_an_answer_of_ours_that_cannot_be_sent_is_the_end(
    secured: Secured, asker: str
) -> None:
    """Who filters a message may answer the viewer, which may be gone."""

    def answer(_: bytes) -> None:
        secured.wire.relay.say_to_client(2, b"")

    pump = secured.wire.relay._pumps[asker == "viewer"]
    pump._inspector = Inspector(Rules({1: 10, 2: 0}, rewrites={1: answer}), mini=True)
    secured.wire.viewer.shutdown(socket.SHUT_RD)
    if asker == "viewer":
        await secured.viewer.send(message(1, b"?"))
    else:
        secured.wire.server.send(message(1, b"?"))
    async with asyncio.timeout(SECONDS):
        assert (await secured.running).reason == "client-reset"


async def test_what_is_no_tls_is_the_end(secured: Secured) -> None:
    secured.wire.viewer.send(b"\x17\x03\x03\x00\x20" + bytes(32))
    assert (await secured.running).reason == "client-tls"


@pytest.mark.parametrize(("end", "reason"), [("viewer", "client"), ("server", "backend")])
async def test_who_closed_is_told(secured: Secured, end: str, reason: str) -> None:
    getattr(secured.wire, end).shutdown(socket.SHUT_WR)
    assert (await secured.running).reason == f"{reason}-closed"


async def test_a_viewer_that_is_gone_while_we_write_is_told(secured: Secured) -> None:
    secured.wire.viewer.shutdown(socket.SHUT_RD)
    secured.wire.server.send(message(2))
    assert (await secured.running).reason == "client-reset"


async def test_a_server_that_is_gone_while_we_write_is_told(secured: Secured) -> None:
    secured.wire.server.shutdown(socket.SHUT_RD)
    with contextlib.suppress(LegClosed):
        await secured.viewer.send(message(2))
    assert (await secured.running).reason == "backend-reset"


async def test_a_sample_is_taken_of_a_run_that_moves_something(secured: Secured) -> None:
    taken: list[float] = []
    secured.wire.relay.sample(taken.append)
    secured.wire.server.send(message(2))
    assert await secured.hears(6) == message(2)
    await secured.viewer.send(message(2) * 2)
    assert await receive(secured.wire.server, 12) == message(2) * 2
    assert len(taken) == 2


async def test_what_settles_between_messages_goes_on(secured: Secured) -> None:
    relay, bulk = secured.wire.relay, message(1, bytes(100_000))
    loop = asyncio.get_running_loop()
    for _ in range(2):
        saying = asyncio.ensure_future(loop.sock_sendall(secured.wire.server, bulk))
        assert await secured.hears(len(bulk)) == bulk
        await saying
        relay.settle()
        saying = asyncio.ensure_future(secured.viewer.send(bulk))
        assert await receive(secured.wire.server, len(bulk)) == bulk
        await saying
        relay.settle()


async def test_what_settles_while_a_viewer_does_not_read_loses_nothing(secured: Secured) -> None:
    data = b"".join(message(1, bytes([number]) * 5000) for number in range(200))
    sent = await push_until_full(secured.wire.server, memoryview(data))
    assert secured.wire.relay.is_waiting
    secured.wire.relay.settle()
    loop = asyncio.get_running_loop()
    rest = asyncio.ensure_future(loop.sock_sendall(secured.wire.server, data[sent:]))
    assert await secured.hears(len(data)) == data
    await rest
    assert not secured.wire.relay.is_waiting


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells")
def test_a_connection_that_takes_no_more_has_no_room() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        near = socket.create_connection(listener.getsockname())
        far, _ = listener.accept()
    with near, far:
        near.setblocking(False)
        near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65536)  # and no more by itself
        assert room_of(near) >= 65536
        while room_of(near) > 32768:
            with contextlib.suppress(BlockingIOError):
                near.send(bytes(4096))
    assert room_of(near) == 0


@pytest.mark.parametrize("room", [0, 1 << 30], ids=["in chunks", "in bulk"])
async def test_bulk_arrives_whole_also_where_the_kernel_promised_too_much(
    secured: Secured, monkeypatch: pytest.MonkeyPatch, room: int
) -> None:
    monkeypatch.setattr(short_pumps, "room_of", lambda _: room)
    secured.wire.backend.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 * BULK_BYTES)
    secured.wire.server.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 * BULK_BYTES)
    data = b"".join(message(1, bytes([number]) * 70_000) for number in range(100))
    loop = asyncio.get_running_loop()
    saying = asyncio.ensure_future(loop.sock_sendall(secured.wire.server, data))
    assert await secured.hears(len(data)) == data
    await saying
    assert len(secured.wire.client.unsent) == 0


class Plenty:
    """A server's connection that holds all of `data` from the start, as TCP does at its best."""

    def __init__(self, data: bytes) -> None:
        self._rest = memoryview(data)

    def recv_into(self, view: memoryview) -> int:
        piece, self._rest = self._rest[: len(view)], self._rest[len(view) :]
        if not piece:
            raise BlockingIOError
        view[: len(piece)] = piece
        return len(piece)


class Taker:
    """A viewer's connection that takes so many bytes at a time."""

    def __init__(self, most: int) -> None:
        self.taken = bytearray()
        self._most = most

    def send(self, data: bytes | memoryview) -> int:
        self.taken += data[: self._most]
        return min(len(data), self._most)


@pytest.mark.parametrize("most", [2 * BULK_BYTES, 400_000])
async def test_bulk_arrives_whole_whether_the_viewer_takes_it_at_once_or_not(
    secured: Secured, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    monkeypatch.setattr(short_pumps, "room_of", lambda _: 2 * BULK_BYTES)
    data = b"".join(message(1, bytes([number]) * 70_000) for number in range(60))
    wire, taker = secured.wire, Taker(most)
    wire.server.send(message(2))
    assert await secured.hears(6) == message(2)  # and what TLS itself had to say
    with monkeypatch.context() as instead:
        instead.setattr(wire.backend, "sock", Plenty(data))
        instead.setattr(wire.client, "sock", taker)
        wire.server.send(b"!")  # something is there, says the kernel
        async with asyncio.timeout(SECONDS):
            while wire.relay.to_client.forwarded < 6 + len(data) or wire.client.unsent:  # noqa: ASYNC110  # it tells nobody
                await asyncio.sleep(0)
        wire.relay.stop("all has passed")
    engine, view = secured.viewer.engine, memoryview(bytearray(len(data) + 1))
    assert engine is not None
    engine.receive(bytes(taker.taken))
    heard = 0
    while count := engine.read_into(view[heard:]):
        heard += count
    assert view[:heard] == data
    await secured.running


@pytest.mark.parametrize("first", [b"", message(2), message(1, bytes(20_000))])
async def test_what_a_leg_holds_goes_in_front_of_the_first_message_or_alone(
    server: tuple[TlsServer, pki.Identity], first: bytes
) -> None:
    with contextlib.closing(Wire()) as wire:
        viewer = wire.secure(*server)
        async with asyncio.timeout(SECONDS):
            await asyncio.gather(viewer.handshake(), wire.client.handshake())
        wire.relay = wire.new_relay()
        wire.client.hold(b"held")
        saying = asyncio.ensure_future(asyncio.get_running_loop().sock_sendall(wire.server, first))
        await asyncio.sleep(0)
        secured = Secured(wire, viewer)
        assert await secured.hears(4 + len(first)) == b"held" + first
        await saying
        wire.relay.stop("the test is over")
        await secured.running
        viewer.hand_over()
