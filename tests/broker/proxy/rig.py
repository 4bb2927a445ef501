"""A proxy on the loopback, somebody at its gate, and viewers without a window."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import socket
import ssl
import tempfile
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

import pytest

from broker import pki, tokens
from broker.clock import SystemClock
from broker.errors import Refused, StoreError
from broker.model import SessionId, Target
from broker.proxy import engines
from broker.proxy.dial import TargetDialer
from broker.proxy.gate import Admission, Dialer, Notice, Peer, Policy, Spares
from broker.proxy.limits import Limits
from broker.proxy.listener import Door
from broker.proxy.neighbours import Place
from broker.proxy.private import bound
from broker.proxy.proxy import Proxy
from broker.proxy.tls import TlsServer
from broker.spice.client import ChannelClient, Event, MainReady
from broker.spice.constants import ChannelType
from tests.streams import cut

SECONDS = float(os.environ.get("TEST_SECONDS", "60"))
"""Nothing a test waits for takes longer; a hang fails here, with a traceback of the wait."""
TOKEN = "token-of-a-test"
EITHER_WAY = pytest.mark.parametrize("rig", ["tls", "private"], indirect=True)
"""Viewers come over TLS, and by the private socket."""
N = TypeVar("N", bound=Notice)
E = TypeVar("E", bound=Event)


class FakeGate:
    """Lets each token in once, and remembers what it was told."""

    def __init__(self) -> None:
        self.notices: list[Notice] = []
        self.joined: list[str] = []
        self._admissions: dict[str, Admission] = {}
        self._waiting: list[asyncio.Future[None]] = []

    def allow(
        self, target: Target, ticket: str = "", token: str = TOKEN, policy: Policy | None = None
    ) -> str:
        self._admissions[token] = Admission(
            SessionId(f"s-{token}"), tokens.digest(token), target, "vm", ticket, policy or Policy()
        )
        return token

    async def admit(self, token: str, peer: Peer) -> Admission:
        if token == "trouble":
            raise StoreError("the database is locked")
        if token in ("limit", "limit-label"):
            raise Refused("too many sessions are open", reason=token)
        if token == "bug":
            raise ZeroDivisionError
        admission = self._admissions.pop(token, None)
        if admission is None:
            raise Refused("no such token", reason="token-unknown")
        return admission

    async def join(self, admission: Admission, channel: str, peer: Peer) -> Admission:
        if channel == "cursor.9":
            raise Refused("not this one", reason="not-allowed")
        if channel == "cursor.7":
            raise Refused("the session has 64 channels, which is the most", reason="limit")
        if channel == "cursor.8":
            raise StoreError("the database is locked")
        self.joined.append(channel)
        return replace(admission)

    def record(self, notice: Notice) -> None:
        self.notices.append(notice)
        waiting, self._waiting = self._waiting, []
        for each in waiting:
            if not each.done():
                each.set_result(None)

    async def heard(
        self, kind: type[N], matches: Callable[[N], bool] = lambda _: True, count: int = 1
    ) -> N:
        """The `count`-th notice of that kind, once it has come."""
        async with asyncio.timeout(SECONDS):
            while True:
                found = [n for n in self.notices if isinstance(n, kind) and matches(n)]
                if len(found) >= count:
                    return found[count - 1]
                told: asyncio.Future[None] = asyncio.get_running_loop().create_future()
                self._waiting.append(told)
                await told


class Connection:
    """One channel of a viewer: our headless client on a real connection."""

    def __init__(
        self,
        client: ChannelClient,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        self.client = client
        self.reader = reader
        self.writer = writer
        self.events: list[Event] = []

    async def flush(self) -> None:
        self.writer.write(self.client.data_to_send())
        await self.writer.drain()

    async def until(self, kind: type[E], matches: Callable[[E], bool] = lambda _: True) -> E:
        """The next event of that kind; those before it are dropped."""
        async with asyncio.timeout(SECONDS):
            while True:
                while self.events:
                    event = self.events.pop(0)
                    if isinstance(event, kind) and matches(event):
                        return event
                data = await self.reader.read(65536)
                if not data:
                    raise ConnectionError(f"closed while waiting for {kind.__name__}")
                self.events += self.client.receive_data(data)
                if self.client.failure is not None:
                    raise self.client.failure
                await self.flush()

    async def closed(self) -> None:
        """Read until the other side closes; answers what needs an answer."""
        async with asyncio.timeout(SECONDS):
            with contextlib.suppress(ConnectionError, ssl.SSLError):
                while data := await self.reader.read(65536):
                    self.client.receive_data(data)
                    await self.flush()

    async def press(self, code: int) -> None:
        self.client.press(code)
        await self.flush()

    async def close(self) -> None:
        async with asyncio.timeout(SECONDS):
            self.writer.close()
            with contextlib.suppress(ConnectionError, ssl.SSLError):
                await self.writer.wait_closed()

    def reset(self) -> None:
        """Vanish: the other side gets a reset, as from a process that was killed."""
        sock = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        cut(self.writer)


@dataclass
class Rig:
    """A running proxy and what a viewer needs to reach it."""

    proxy: Proxy
    gate: FakeGate
    port: int
    plain_port: int
    tls: ssl.SSLContext
    identity: pki.Identity
    private: Path
    by_private: bool = False
    """Viewers come by the private socket."""
    writers: list[asyncio.StreamWriter] = field(default_factory=list)

    async def open(
        self,
        kind: ChannelType,
        *,
        ticket: str = TOKEN,
        connection_id: int = 0,
        channel_id: int = 0,
    ) -> Connection:
        """Connect, and send the request."""
        reader, writer = await self.raw()
        client = ChannelClient(
            kind, ticket.encode(), connection_id=connection_id, channel_id=channel_id
        )
        connection = Connection(client, reader, writer)
        await connection.flush()
        return connection

    async def open_main(self, ticket: str = TOKEN) -> tuple[Connection, int]:
        """MAIN, and the session id for the other channels."""
        main = await self.open(ChannelType.MAIN, ticket=ticket)
        ready = await main.until(MainReady)
        return main, ready.init.session_id

    async def raw(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Connected, with TLS where that is spoken, and nothing said yet."""
        if self.by_private:
            reader, writer = await asyncio.open_unix_connection(self.private)
        else:
            reader, writer = await asyncio.open_connection(
                "127.0.0.1", self.port, ssl=self.tls, server_hostname="localhost"
            )
        self.writers.append(writer)
        return reader, writer

    def vv(self, token: str = TOKEN) -> str:
        """A file that sends a real viewer here."""
        ca = self.identity.ca_pem.replace("\n", "\\n")
        return (
            f"[virt-viewer]\ntype=spice\nhost=localhost\ntls-port={self.port}\n"
            f"password={token}\nhost-subject={self.identity.host_subject}\nca={ca}\n"
        )

    async def close(self) -> None:
        """Close what tests left open."""
        for writer in self.writers:
            cut(writer)
            with contextlib.suppress(OSError, ssl.SSLError):
                await writer.wait_closed()


def listening() -> socket.socket:
    """A listening socket on a free port of the loopback."""
    sock = socket.socket()
    sock.bind(("127.0.0.1", 0))
    sock.listen(256)
    return sock


@contextlib.asynccontextmanager
async def proxying(
    directory: Path,
    *,
    dialer: Dialer | None = None,
    limits: Limits | None = None,
    tls: Callable[[Path], TlsServer] = engines.server,
    place: Place | None = None,
    spares: Spares | None = None,
) -> AsyncIterator[Rig]:
    """A proxy until the body ends; then it ends every session and lets go."""
    identity = pki.ensure_identity(directory / "pki", ["localhost"], SystemClock())
    trusts = ssl.create_default_context(cafile=identity.ca_path)
    gate = FakeGate()
    short = Path(tempfile.mkdtemp(prefix="cbp", dir="/tmp"))  # as the paths of sockets have to be
    secured, plain, private = listening(), listening(), bound(short / "own.sock")
    private.listen()
    proxy = Proxy(
        [Door(secured), Door(plain, secured=False), Door(private, private=True)],
        tls(identity.server_path),
        gate,
        dialer or TargetDialer(),
        limits=limits,
        place=place,
        spares=spares,
    )
    with secured, plain, private:
        async with asyncio.TaskGroup() as group:
            ready = asyncio.Event()
            running = group.create_task(proxy.run(ready), name="proxy")
            async with asyncio.timeout(SECONDS):
                await ready.wait()
            ports = secured.getsockname()[1], plain.getsockname()[1]
            rig = Rig(proxy, gate, *ports, trusts, identity, short / "own.sock")
            try:
                yield rig
            finally:
                running.cancel()
                await rig.close()
                shutil.rmtree(short)
