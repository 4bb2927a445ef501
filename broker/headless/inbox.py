"""A connection's two directions for a reader that keeps up: bytes lie in one buffer, read in place.

asyncio's streams copy what comes five times on its way, and over TLS take a quarter of a megabyte
of memory for each record of 16 KiB; a screen that moves sends thousands of these a second.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Callable
from typing import Final

from broker.within import within

BUFFER_BYTES: Final = 512 * 1024
"""The most that waits to be read; the other side is then left to wait."""
ROOM_BYTES: Final = 64 * 1024
"""With less room than that nothing more is read, until what is there has been."""
GOODBYE_SECONDS: Final = 1.0


class Inbox(asyncio.BufferedProtocol):
    """One connection. Made for `loop.create_connection`; one task reads, any may write."""

    def __init__(self) -> None:
        self._view = memoryview(bytearray(BUFFER_BYTES))
        self._filled = 0
        self._paused = False
        self._over = False
        self._lost: Exception | None = None
        self._transport: asyncio.Transport | None = None
        self._came: asyncio.Future[None] | None = None
        self._into: Callable[[memoryview], bool] | None = None
        self._writable = asyncio.Event()
        self._writable.set()
        self._closed = asyncio.Event()

    async def read(self) -> memoryview:
        """What has come, at least a byte; empty when the other side has closed.

        It is good until the next await of whoever reads.

        Raises:
            OSError, ssl.SSLError: The connection broke.
        """
        while not self._filled:
            if self._lost is not None:
                raise self._lost
            if self._over:
                break
            self._came = asyncio.get_running_loop().create_future()
            try:
                await self._came
            finally:
                self._came = None
        found, self._filled = self._view[: self._filled], 0
        if self._paused and self._transport is not None:
            self._paused = False
            self._transport.resume_reading()
        return found

    async def pour(self, into: Callable[[memoryview], bool]) -> None:
        """Give `into` all that comes, at once and without a task that wakes for each piece.

        While what is written finds no room, nothing is read.

        Args:
            into: Has what it is given until it returns, and says whether it takes more.

        Raises:
            OSError, ssl.SSLError: The connection broke.
        """
        self._into = into
        try:
            while found := await self.read():
                if not into(found):
                    break
        finally:
            self._into = None

    def write(self, data: bytes) -> None:
        """Have it sent."""
        if self._transport is not None and not self._over:
            self._transport.write(data)

    async def drain(self) -> None:
        """Wait until there is room for more; raises as `read` does."""
        if self._lost is not None:
            raise self._lost
        await self._writable.wait()

    async def close(self) -> None:
        """Close it; what the other side makes of that does not matter."""
        if self._transport is None:
            return
        self._transport.close()
        with contextlib.suppress(TimeoutError):
            async with within(GOODBYE_SECONDS):
                await self._closed.wait()
        self.abort()

    def abort(self) -> None:
        """Close it at once."""
        # In Python 3.11.2, Debian 12's, TLS that has ended has nothing left that could be aborted.
        with contextlib.suppress(AttributeError):
            if self._transport is not None:
                self._transport.abort()

    @property
    def tls(self) -> ssl.SSLObject | None:
        """TLS, where it is spoken."""
        found: ssl.SSLObject | None = (
            None if self._transport is None else self._transport.get_extra_info("ssl_object")
        )
        return found

    # -- what asyncio calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """It is there."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def get_buffer(self, _: int) -> memoryview:
        """Where to put what comes."""
        return self._view[self._filled :]

    def buffer_updated(self, size: int) -> None:
        """So many bytes came."""
        self._filled += size
        if self._into is not None:
            found, self._filled = self._view[: self._filled], 0
            if not self._into(found):
                self.eof_received()
            return
        if BUFFER_BYTES - self._filled < ROOM_BYTES and self._transport is not None:
            self._paused = True
            self._transport.pause_reading()
        self._wake()

    def eof_received(self) -> None:
        """No more will come."""
        self._over = True
        self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        """It is gone."""
        self._over, self._lost = True, exc
        self._closed.set()
        self._writable.set()
        self._wake()

    def pause_writing(self) -> None:
        """Too much waits to be sent."""
        self._writable.clear()
        if self._into is not None and self._transport is not None:
            self._transport.pause_reading()

    def resume_writing(self) -> None:
        """It has gone."""
        self._writable.set()
        if not self._paused and self._transport is not None:
            self._transport.resume_reading()

    def _wake(self) -> None:
        if self._came is not None and not self._came.done():
            self._came.set_result(None)
