"""An HTTP proxy that knows CONNECT, or answers as the test says."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from tests.streams import ended, joined, serving


@dataclass
class ConnectProxy:
    """Where it listens, and what it was asked."""

    port: int = 0
    answer: bytes = b""
    """Said instead of connecting."""
    asked: list[str] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        self.asked.append(head.decode().split("\r\n")[0])
        if self.answer:
            writer.write(self.answer)
            await writer.drain()
            writer.close()
            return
        host, _, port = head.split()[1].decode().rpartition(":")
        there = await asyncio.open_connection(host, int(port))
        async with ended(there[1]):
            writer.write(b"HTTP/1.1 200 Connection established\r\nVia: 1.1 test\r\n\r\n")
            await joined((reader, writer), there)


@contextlib.asynccontextmanager
async def connect_proxy(answer: bytes = b"") -> AsyncIterator[ConnectProxy]:
    proxy = ConnectProxy(answer=answer)
    async with serving(proxy.serve) as port:
        proxy.port = port
        yield proxy
