"""Who gets as far as a request: TLS, limits, plain viewers, strangers."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import socket
import ssl
from collections.abc import Callable
from pathlib import Path

import pytest

from broker.proxy.connections import Connections, Life
from broker.proxy.gate import ConnectionRefused, Peer
from broker.proxy.leg import Leg
from broker.proxy.limits import Limits
from broker.proxy.listener import Door, Listener
from broker.proxy.tls import StdlibServer
from broker.spice.client import AgentChanged, Linked
from broker.spice.constants import COMMON_CAPS, ChannelType, LinkError
from broker.spice.wire import LinkMess, LinkReply
from tests.broker.proxy.fake_server import FakeServer
from tests.broker.proxy.rig import SECONDS, FakeGate, Rig, proxying

HELLO = LinkMess(0, 1, 0, COMMON_CAPS, 0).encode()


async def said_to(port: int, data: bytes) -> bytes:
    """What a plain connection is answered until it is closed."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(data)
    try:
        async with asyncio.timeout(SECONDS):
            return await reader.read(-1)
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


@pytest.mark.parametrize("door", ["plain", "secured"])
async def test_a_viewer_without_tls_is_told_to_come_back_with_it(rig: Rig, door: str) -> None:
    port = rig.plain_port if door == "plain" else rig.port
    answer = await said_to(port, HELLO)
    assert LinkReply.decode(answer[16:]).error == LinkError.NEED_SECURED
    assert (await rig.gate.heard(ConnectionRefused)).reason == "plain"


async def test_a_stranger_gets_no_tls(rig: Rig) -> None:
    answer = await said_to(rig.port, b"GET / HTTP/1.0\r\n\r\n")
    assert len(answer) < 20  # an alert at most
    assert (await rig.gate.heard(ConnectionRefused)).reason == "no-tls"


async def test_a_stranger_inside_tls_gets_the_protocols_own_answer(rig: Rig) -> None:
    reader, writer = await rig.raw()
    writer.write(b"GET / HTTP/1.0\r\n\r\n")
    async with asyncio.timeout(SECONDS):
        answer = await reader.read(-1)
    assert LinkReply.decode(answer[16:]).error == LinkError.INVALID_MAGIC
    assert (await rig.gate.heard(ConnectionRefused)).reason == "protocol"


async def test_whoever_says_nothing_is_closed(tmp_path: Path) -> None:
    limits = Limits(tls_seconds=0.05, close_seconds=0.05)
    async with proxying(tmp_path, limits=limits) as rig:
        assert await said_to(rig.port, b"") == b""
        assert (await rig.gate.heard(ConnectionRefused)).reason == "handshake-timeout"


async def test_whoever_leaves_at_once_is_told_about(rig: Rig) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", rig.port)
    writer.close()
    await writer.wait_closed()
    assert (await rig.gate.heard(ConnectionRefused)).reason == "no-tls"


async def test_old_tls_is_refused(rig: Rig) -> None:
    old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    old.load_verify_locations(rig.identity.ca_path)
    with pytest.warns(DeprecationWarning, match="TLSv1"):
        old.minimum_version = ssl.TLSVersion.TLSv1
    with pytest.warns(DeprecationWarning, match="TLSv1"):
        old.maximum_version = ssl.TLSVersion.TLSv1_1
    old.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.raises((ssl.SSLError, ConnectionError)):
        await asyncio.open_connection("127.0.0.1", rig.port, ssl=old, server_hostname="localhost")
    assert (await rig.gate.heard(ConnectionRefused)).reason == "no-tls"


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_both_living_versions_of_tls_work(
    rig: Rig, fake: FakeServer, version: ssl.TLSVersion
) -> None:
    rig.tls.minimum_version = rig.tls.maximum_version = version
    main = await rig.open(ChannelType.MAIN)
    opening = asyncio.ensure_future(main.until(Linked))
    await fake.main()
    await opening


@pytest.mark.parametrize(
    "limits",
    [Limits(half_open=2), Limits(half_open_per_address=2)],
    ids=["in-all", "per-address"],
)
async def test_too_many_without_a_ticket_are_closed_and_others_let_in_when_they_go(
    tmp_path: Path, fake: FakeServer, limits: Limits
) -> None:
    async with proxying(tmp_path, limits=limits) as rig:
        rig.gate.allow(fake.target)
        waiting = [await rig.raw() for _ in range(2)]
        with pytest.raises((ConnectionError, ssl.SSLError)):
            await rig.raw()
        assert (await rig.gate.heard(ConnectionRefused)).reason == "limit"
        for _, writer in waiting:
            writer.close()
        async with asyncio.timeout(SECONDS):
            await rig.proxy.drained()
        main = await rig.open(ChannelType.MAIN)
        opening = asyncio.ensure_future(main.until(Linked))
        await fake.main()
        await opening


async def test_a_session_does_not_count_as_half_open(tmp_path: Path, fake: FakeServer) -> None:
    async with proxying(tmp_path, limits=Limits(half_open=1)) as rig:
        for token in ("one", "two", "three"):
            rig.gate.allow(fake.target, token=token)
            main = await rig.open(ChannelType.MAIN, ticket=token)
            opening = asyncio.ensure_future(main.until(Linked))
            await fake.main()
            await opening
        assert rig.proxy.session_count == 3


async def test_a_proxy_that_stopped_accepting_lets_sessions_go_on(
    rig: Rig, fake: FakeServer
) -> None:
    main = await rig.open(ChannelType.MAIN)
    opening = asyncio.ensure_future(main.until(Linked))
    served = await fake.main()
    await opening
    rig.proxy.stop_accepting()
    await served.say(b"\x6b\0\0\0\0\0")
    await main.until(AgentChanged)
    await main.close()
    async with asyncio.timeout(SECONDS):
        await rig.proxy.drained()


@pytest.mark.parametrize("courtesy", [0.0, 0.001])
@pytest.mark.parametrize("number", [errno.EMFILE, errno.EPROTO, errno.EPERM, errno.EIO])
async def test_a_process_that_cannot_accept_accepts_again_later(
    tmp_path: Path,
    fake: FakeServer,
    monkeypatch: pytest.MonkeyPatch,
    number: int,
    courtesy: float,
) -> None:
    monkeypatch.setattr("broker.proxy.listener.PAUSE_SECONDS", 0.01)
    async with proxying(tmp_path) as rig:
        assert rig.proxy._listener is not None
        rig.proxy._listener._courtesy = lambda: courtesy
        door = rig.proxy._doors[0]
        failing = FailingOnce(door.sock, number)
        object.__setattr__(door, "sock", failing)
        rig.gate.allow(fake.target)
        main = await rig.open(ChannelType.MAIN)
        opening = asyncio.ensure_future(main.until(Linked))
        await fake.main()
        await opening
        assert failing.failed


class FailingOnce:
    """A listening socket that fails the first time."""

    def __init__(self, sock: socket.socket, number: int) -> None:
        self._sock, self._number, self.failed = sock, number, False

    def accept(self) -> tuple[socket.socket, tuple[str, int]]:
        if not self.failed:
            self.failed = True
            raise OSError(self._number, os.strerror(self._number))
        return self._sock.accept()

    def fileno(self) -> int:
        return self._sock.fileno()


@pytest.mark.parametrize(
    ("peer", "text"), [(Peer("10.0.0.1", 5), "10.0.0.1:5"), (Peer("::1", 5), "[::1]:5")]
)
def test_an_address_reads_as_people_write_it(peer: Peer, text: str) -> None:
    assert str(peer) == text


async def test_who_relays_leaves_new_viewers_to_a_worker_that_does_not() -> None:
    with socket.create_server(("127.0.0.1", 0)) as sock, contextlib.ExitStack() as viewers:
        taken: asyncio.Queue[str] = asyncio.Queue()
        tasks: list[asyncio.Future[None]] = []

        def at(who: str, seconds: float) -> Listener:
            def spawn(connection: Life, _name: str) -> None:
                taken.put_nowait(who)
                tasks.append(asyncio.ensure_future(connection))

            door = Door(viewers.enter_context(sock.dup()))
            tls = StdlibServer(ssl.create_default_context())
            limits = Limits(tls_seconds=0.01)
            listener = Listener(
                [door], tls, FakeGate(), limits, NoChannels(), spawn, lambda: seconds
            )
            listener.open()
            return listener

        busy, free = at("busy", 0.001), at("free", 0.0)
        for _ in range(5):
            viewers.enter_context(socket.create_connection(sock.getsockname()))
            async with asyncio.timeout(SECONDS):
                assert await taken.get() == "free"
        free.close()
        for _ in range(3):
            viewers.enter_context(socket.create_connection(sock.getsockname()))
        async with asyncio.timeout(SECONDS):
            assert [await taken.get() for _ in range(3)] == ["busy"] * 3
            await asyncio.gather(*tasks)
        busy.close()


class NoChannels:
    """Nobody gets so far."""

    async def serve(
        self, leg: Leg, peer: Peer, admitted: Callable[[], None], *, early: bytes = b""
    ) -> None:
        raise AssertionError

    async def refuse_plain(self, leg: Leg, peer: Peer, *, early: bytes = b"") -> None:
        raise AssertionError


async def test_a_viewer_that_came_in_the_last_moment_is_let_go_as_any_other() -> None:
    gate, connections, came = FakeGate(), Connections(), asyncio.Event()

    def spawn(life: Life, name: str) -> None:
        came.set()  # whoever waits for it goes on before the first step of that life
        connections.spawn(life, name)

    tls = StdlibServer(ssl.create_default_context())
    with socket.create_server(("127.0.0.1", 0)) as sock:
        limits = Limits(half_open=1)
        listener = Listener([Door(sock)], tls, gate, limits, NoChannels(), spawn)
        listener.open()
        for _ in range(2):  # the first leaves no count behind
            came.clear()
            with socket.create_connection(sock.getsockname()) as viewer:
                async with asyncio.timeout(SECONDS):
                    await came.wait()
                    await connections.cut()
                viewer.settimeout(SECONDS)
                assert viewer.recv(1) == b""
        listener.close()
    assert not gate.notices
