"""Our records of TLS 1.3 and OpenSSL's own client, on a socket: what Python's client cannot do."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import socket
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from broker import pki
from broker.clock import SystemClock
from broker.proxy.fast_tls import FastEngine, FastServer
from broker.proxy.leg import Leg, LegClosed
from broker.proxy.tls_records import RecordEngine
from tests.broker.proxy.rig import SECONDS, listening

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl")

RETRY = bytes.fromhex("cf21ad74e59a6111be1d8c021e65b891c2a211167abb8c5e079e09e2c8a8339c")
"""The random of a server's hello that asks for another one of the client's (RFC 8446, 4.1.3)."""


class Listened(Leg):
    """Knows what it has sent."""

    def __init__(self, sock: socket.socket, engine: FastEngine) -> None:
        super().__init__(sock, engine)
        self.said = b""

    def send_raw(self, data: bytes | memoryview) -> None:
        self.said += bytes(data)
        super().send_raw(data)


class Both:
    """A client in a process, and our end."""

    def __init__(self, process: Process, leg: Listened) -> None:
        self.process = process
        self.leg = leg

    async def types(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(line.encode() + b"\n")
        await self.process.stdin.drain()

    async def shows(self, words: bytes) -> None:
        """Wait until it has printed that."""
        assert self.process.stdout is not None
        async with asyncio.timeout(SECONDS):
            await self.process.stdout.readuntil(words)

    async def hears(self, size: int) -> bytes:
        data = b""
        async with asyncio.timeout(SECONDS):
            while len(data) < size:
                data += await self.leg.receive(size - len(data))
        return data

    async def echo(self, line: str) -> None:
        """A line goes there and back."""
        await self.types(line)
        heard = await self.hears(len(line) + 1)
        assert heard == line.encode() + b"\n"
        await self.leg.send(heard.upper())
        await self.shows(line.upper().encode())

    async def is_gone(self) -> None:
        async with asyncio.timeout(SECONDS):
            with pytest.raises(LegClosed):
                await self.leg.receive(1)


@contextlib.asynccontextmanager
async def talking(directory: Path, *options: str) -> AsyncIterator[Both]:
    """A client with those options has shaken hands with us."""
    identity = pki.ensure_identity(directory / "pki", ["localhost"], SystemClock())
    loop = asyncio.get_running_loop()
    with listening() as door:
        door.setblocking(False)
        process = await asyncio.create_subprocess_exec(
            "openssl", "s_client", "-connect", f"127.0.0.1:{door.getsockname()[1]}",
            "-CAfile", str(identity.ca_path), "-verify_return_error", "-tls1_3", *options,
            stdin=PIPE, stdout=PIPE, stderr=asyncio.subprocess.STDOUT, limit=1 << 20,
        )  # fmt: skip
        leg = None
        try:
            async with asyncio.timeout(SECONDS):
                sock, _ = await loop.sock_accept(door)
                engine = FastServer(identity.server_path).engine()
                assert isinstance(engine, FastEngine)
                leg = Listened(sock, engine)
                await leg.handshake()
            yield Both(process, leg)
        finally:
            if leg is not None:
                leg.close()
            if process.returncode is None:
                process.kill()
            await process.communicate()


async def test_keys_change_in_both_directions(tmp_path: Path) -> None:
    async with talking(tmp_path) as both:
        engine = both.leg.engine
        assert isinstance(engine, RecordEngine)
        await both.echo("hello there")
        for command, asks in (("k", False), ("K", True), ("K", True), ("k", False)):
            theirs, ours = engine.inward.secret, engine.outward.secret
            await both.types(command)
            await both.shows(b"KEYUPDATE")
            await both.echo("and on")
            assert engine.inward.secret != theirs
            assert (engine.outward.secret != ours) is asks
            await both.echo("and on again")
        engine.outward.most = engine.outward.number  # as after 2^24 records
        ours = engine.outward.secret
        await both.echo("with a key of our own")
        assert engine.outward.secret != ours
        await both.types("Q")
        await both.is_gone()


async def test_our_own_goodbye_ends_it(tmp_path: Path) -> None:
    async with talking(tmp_path) as both:
        await both.leg.finish(SECONDS)
        async with asyncio.timeout(SECONDS):
            await both.process.wait()


@pytest.mark.parametrize("padding", ["100", "4096", "16384"])
async def test_a_client_may_pad_its_records(tmp_path: Path, padding: str) -> None:
    async with talking(tmp_path, "-record_padding", padding) as both:
        assert isinstance(both.leg.engine, RecordEngine)
        await both.echo("hello")
        await both.echo("again")


async def test_a_client_may_have_to_begin_anew(tmp_path: Path) -> None:
    async with talking(tmp_path, "-groups", "ffdhe4096:X25519") as both:
        assert RETRY in both.leg.said
        assert isinstance(both.leg.engine, RecordEngine)
        await both.echo("hello")


@pytest.mark.parametrize("most", [512, 4096])
async def test_a_client_that_wants_short_records_gets_them(tmp_path: Path, most: int) -> None:
    async with talking(tmp_path, "-maxfraglen", str(most), "-quiet") as both:
        assert isinstance(both.leg.engine, FastEngine)
        await both.leg.send(b"x" * 20_000 + b"\n")
        await both.shows(b"x" * 20_000)
        await both.types("hello")
        assert await both.hears(6) == b"hello\n"


async def test_a_client_without_wishes_gets_no_ticket(tmp_path: Path) -> None:
    async with talking(tmp_path, "-msg") as both:
        await both.leg.send(b"hello\n")
        shown = b""
        assert both.process.stdout is not None
        async with asyncio.timeout(SECONDS):
            while b"hello\n" not in shown:
                shown += await both.process.stdout.read(65536)
        assert b"Finished" in shown
        assert b"NewSessionTicket" not in shown
