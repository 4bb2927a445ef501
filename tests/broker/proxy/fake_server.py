"""A scripted SPICE server: links properly, then does as the test says."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from broker.model import TcpTarget
from broker.spice.constants import COMMON_CAPS, ChannelType, LinkError
from broker.spice.server_link import LinkRequested, ServerLink
from broker.spice.ticket import TicketKey
from broker.spice.wire import LinkMess, MainInit, message
from tests.broker.proxy.rig import SECONDS
from tests.streams import serving

BACKEND_ID = 0x5151


@dataclass
class Served:
    """A connection whose ticket is here."""

    mess: LinkMess
    ticket: bytes | None
    link: ServerLink
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def say(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def accept(self, then: bytes = b"") -> None:
        self.link.accept()
        await self.say(self.link.data_to_send() + then)

    async def hears(self, size: int) -> bytes:
        async with asyncio.timeout(SECONDS):
            return await self.reader.readexactly(size)

    async def is_closed(self) -> bytes:
        """What still came, once the other side has closed."""
        async with asyncio.timeout(SECONDS):
            with contextlib.suppress(ConnectionError):
                return await self.reader.read(-1)
        return b""


@dataclass
class FakeServer:
    """Connections come out of `served` one after the other."""

    key: TicketKey
    common_caps: int = COMMON_CAPS
    channel_caps: int = 0x0F
    refusal: LinkError | None = None
    """Answer the request with this instead of a key."""
    silent: bool = False
    """Do not answer at all."""
    garbage: bytes = b""
    """Answer with this."""
    target: TcpTarget = field(default=TcpTarget("127.0.0.1", port=1))
    connected: asyncio.Queue[asyncio.StreamReader] = field(default_factory=asyncio.Queue)
    served: asyncio.Queue[Served] = field(default_factory=asyncio.Queue)

    async def next(self) -> Served:
        async with asyncio.timeout(SECONDS):
            return await self.served.get()

    async def main(self, *, mini: bool = True) -> Served:
        """Take MAIN, and begin as a server does."""
        served = await self.next()
        assert served.mess.channel_type == ChannelType.MAIN
        await served.accept(message(103, MainInit(BACKEND_ID).encode(), mini=mini))
        return served

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connected.put_nowait(reader)
        await self._link(reader, writer)

    async def _link(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        link, mess = ServerLink(), None
        while data := await reader.read(max(1, link.bytes_wanted)):
            for event in link.receive_data(data):
                if not isinstance(event, LinkRequested):
                    assert mess is not None
                    opened = self.key.open(event.sealed)
                    self.served.put_nowait(Served(mess, opened, link, reader, writer))
                    return
                mess = event.mess
                if self.silent:
                    return
                if self.garbage:
                    writer.write(self.garbage)
                elif self.refusal is not None:
                    link.refuse(self.refusal)
                else:
                    link.offer(self.key.public_bytes, self.common_caps, self.channel_caps)
            writer.write(link.data_to_send())


@contextlib.asynccontextmanager
async def faking(key: TicketKey) -> AsyncIterator[FakeServer]:
    fake = FakeServer(key)
    async with serving(fake.serve) as port:
        fake.target = TcpTarget("127.0.0.1", port=port)
        yield fake
