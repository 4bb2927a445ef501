"""The adversary's connections: every byte and its moment are the attacker's to choose."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Protocol

from broker.spice.client import ChannelClient, MainReady
from broker.spice.constants import ChannelType
from broker.spice.ticket import seal
from broker.spice.wire import LinkMess, LinkReply
from tests.broker.proxy.rig import Connection, Rig
from tests.streams import cut, ended, joined, serving

PATIENCE = 10.0
"""Seconds that the adversary waits for anything."""
LINGER_NOT = struct.pack("ii", 1, 0)
CAPS = 0x0B
"""What spice-server itself offers: authentication by choice, tickets, short headers."""


class Way(Protocol):
    """How the adversary reaches the machine."""

    @property
    def ticket(self) -> str:
        """What is shown as a password."""
        ...

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A fresh connection, nothing said yet."""
        ...

    def another(self) -> Way:
        """For a second viewer of the same machine."""
        ...


@dataclass(frozen=True)
class Direct:
    """Straight to a port: QEMU's own, or that of something that is not ours."""

    port: int
    ticket: str
    tls: bool = False

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT) if self.tls else None
        if context:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return await asyncio.open_connection("127.0.0.1", self.port, ssl=context)

    def another(self) -> Way:
        return self


@dataclass(frozen=True)
class Through:
    """Through the proxy, by the door that the rig uses, with a token that was let in."""

    rig: Rig
    ticket: str
    another: Callable[[], Way]

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await self.rig.raw()
        self.rig.writers.remove(writer)  # we close it ourselves; there will be thousands
        return reader, writer


@dataclass
class Link:
    """One connection, spoken by hand."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def say(self, data: bytes) -> None:
        self.writer.write(data)
        with contextlib.suppress(ConnectionError):
            await self.writer.drain()

    async def request(
        self, kind: int, session: int = 0, number: int = 0, *, caps: int = CAPS, own: int = 2
    ) -> None:
        await self.say(LinkMess(session, kind, number, caps, own).encode())

    async def sealed(self, ticket: str) -> bytes:
        """What presents the ticket, once the server's key is here."""
        head = await self.reader.readexactly(16)
        (size,) = struct.unpack_from("<I", head, 12)
        reply = LinkReply.decode(await self.reader.readexactly(size))
        if reply.error:
            raise ConnectionError(f"link error {reply.error}")
        return struct.pack("<I", 1) + seal(ticket.encode(), reply.public_key)

    async def result(self) -> int:
        (result,) = struct.unpack("<I", await self.reader.readexactly(4))
        return int(result)

    async def hear(self, seconds: float) -> int:
        """Read and forget for a while; the count of bytes."""
        heard = 0
        with contextlib.suppress(TimeoutError, ConnectionError, ssl.SSLError):
            async with asyncio.timeout(seconds):
                while data := await self.reader.read(65536):
                    heard += len(data)
        return heard

    def reset(self) -> None:
        """Vanish as a killed process does."""
        with contextlib.suppress(OSError, AttributeError):  # AttributeError: it is gone already
            sock = self.writer.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_NOT)
        cut(self.writer)

    def close(self) -> None:
        """Close politely."""
        self.writer.close()


@dataclass
class Assault:
    """Everything one adversary has open at one time."""

    way: Way
    links: list[Link] = field(default_factory=list)

    async def connect(self) -> Link:
        link = Link(*await self.way.connect())
        self.links.append(link)
        return link

    async def main(self) -> tuple[Connection, int]:
        """An honest MAIN, and its session id."""
        link = await self.connect()
        client = ChannelClient(ChannelType.MAIN, self.way.ticket.encode())
        connection = Connection(client, link.reader, link.writer)
        await connection.flush()
        ready = await connection.until(MainReady)
        return connection, ready.init.session_id

    async def linked(self, kind: int, session: int, number: int = 0, then: bytes = b"") -> Link:
        """A channel whose ticket was accepted; `then` travels with the ticket's result pending."""
        link = await self.connect()
        await link.request(kind, session, number)
        await link.say(await link.sealed(self.way.ticket) + then)
        if await link.result():
            raise ConnectionError("refused")
        return link

    async def leave(self) -> None:
        """Reset what is still open."""
        for link in self.links:
            link.reset()
        for link in self.links:
            with contextlib.suppress(OSError, ssl.SSLError):
                await link.writer.wait_closed()


@contextlib.asynccontextmanager
async def assault(way: Way) -> AsyncIterator[Assault]:
    """Whatever happens, nothing stays open behind."""
    made = Assault(way)
    try:
        yield made
    finally:
        await made.leave()


@contextlib.asynccontextmanager
async def plain_relay(port: int) -> AsyncIterator[int]:
    """A TCP relay that looks at nothing, as a load balancer would do it; its port."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            writer.transport.abort()
            return
        async with ended(there[1]):
            await joined((reader, writer), there)

    async with serving(serve) as own:
        yield own
