"""Servers of tests that leave nothing open behind, wherever their connections are cut.

`asyncio.start_server` lets go of what it accepted: a handler that is still at it when the loop
ends leaves its transport, and often the one it opened itself, to the garbage collector. That is an
error, and it is raised in whichever test runs by then.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

CUT = (ConnectionError, asyncio.IncompleteReadError, ssl.SSLError)
"""How a connection ends that the other side cut."""


@contextlib.asynccontextmanager
async def serving(
    handler: Handler, *, tls: ssl.SSLContext | None = None, path: str | None = None
) -> AsyncIterator[int]:
    """Accept on a port of the loopback, or at `path`, until the body ends; the port.

    A connection stays open after its handler has returned, until either side closes it, and ends
    with the body. What a handler raises beside the other side's going is raised here.
    """
    loop = asyncio.get_running_loop()
    ends: list[socket.socket] = []
    tasks: list[asyncio.Task[None]] = []
    with socket.socket(socket.AF_INET if path is None else socket.AF_UNIX) as listener:
        listener.setblocking(False)
        listener.bind(("127.0.0.1", 0) if path is None else path)
        listener.listen(256)

        def accept() -> None:
            with contextlib.suppress(BlockingIOError, ConnectionAbortedError):
                end, _ = listener.accept()
                end.setblocking(False)
                if path is None:  # asyncio does so only where the socket names its protocol
                    end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                ends.append(end)
                tasks.append(loop.create_task(_served(handler, end, tls)))

        loop.add_reader(listener, accept)
        try:
            yield 0 if path is not None else listener.getsockname()[1]
        finally:
            loop.remove_reader(listener)
            for task in tasks:
                task.cancel()
            outcomes = await asyncio.gather(*tasks, return_exceptions=True)
            for end in ends:  # of tasks that never began
                end.close()
    for outcome in outcomes:
        if isinstance(outcome, Exception):
            raise outcome


async def _served(handler: Handler, end: socket.socket, tls: ssl.SSLContext | None) -> None:
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    protocol = asyncio.StreamReaderProtocol(reader)
    try:
        transport, _ = await loop.connect_accepted_socket(lambda: protocol, end, ssl=tls)
    except CUT:
        return
    writer = asyncio.StreamWriter(transport, protocol, reader, loop)
    async with ended(writer):
        with contextlib.suppress(*CUT):
            await handler(reader, writer)
            await writer.wait_closed()


def cut(writer: asyncio.StreamWriter) -> None:
    """End that connection at once."""
    with contextlib.suppress(AttributeError):  # Python 3.11.2 says so of TLS that is closed already
        writer.transport.abort()


@contextlib.asynccontextmanager
async def ended(writer: asyncio.StreamWriter) -> AsyncIterator[None]:
    """That connection is gone after the body, and what it did not send with it."""
    try:
        yield
    finally:
        cut(writer)
        with contextlib.suppress(*CUT):
            await writer.wait_closed()


async def joined(
    one: tuple[asyncio.StreamReader, asyncio.StreamWriter],
    other: tuple[asyncio.StreamReader, asyncio.StreamWriter],
) -> None:
    """Copy between two connections, both ways, until both have said all."""

    async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(*CUT):
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        writer.close()

    await asyncio.gather(copy(one[0], other[1]), copy(other[0], one[1]))
