"""What is sent is read, all of it and in order, and an end is told."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator

import pytest

from broker.headless.inbox import BUFFER_BYTES, Inbox

SECONDS = 30.0
PATTERN = bytes(range(251)) * (4 * BUFFER_BYTES // 251)


@contextlib.asynccontextmanager
async def connected() -> AsyncIterator[tuple[Inbox, asyncio.StreamReader, asyncio.StreamWriter]]:
    """One, and the other end."""
    ours, theirs = socket.socketpair()
    _, inbox = await asyncio.get_running_loop().create_connection(Inbox, sock=ours)
    reader, writer = await asyncio.open_connection(sock=theirs)
    try:
        async with asyncio.timeout(SECONDS):
            yield inbox, reader, writer
    finally:
        await inbox.close()
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


async def test_more_than_it_has_room_for_arrives_in_order() -> None:
    async with connected() as (inbox, _, writer), asyncio.TaskGroup() as group:
        writer.write(PATTERN)
        writer.write_eof()
        group.create_task(writer.drain())
        found = bytearray()
        while part := await inbox.read():
            found += part

        assert found == PATTERN


async def test_what_came_before_the_end_is_read_and_then_the_end() -> None:
    async with connected() as (inbox, _, writer):
        writer.write(b"last words")
        writer.write_eof()

        assert (bytes(await inbox.read()), bytes(await inbox.read())) == (b"last words", b"")


async def test_a_reader_that_was_called_away_misses_nothing() -> None:
    async with connected() as (inbox, _, writer):
        waiting = asyncio.ensure_future(inbox.read())
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait([waiting])
        writer.write(b"news")

        assert bytes(await inbox.read()) == b"news"


async def test_all_that_is_written_is_sent_however_slowly_it_is_read() -> None:
    async with connected() as (inbox, reader, _):
        inbox.write(PATTERN)
        async with asyncio.TaskGroup() as group:
            group.create_task(inbox.drain())
            assert await reader.readexactly(len(PATTERN)) == PATTERN


async def test_a_connection_that_broke_is_told_to_reader_and_writer() -> None:
    async with connected() as (inbox, _, writer):
        assert inbox._transport is not None
        writer.write(b"before")
        assert bytes(await inbox.read()) == b"before"
        inbox.connection_lost(ConnectionResetError())

        with pytest.raises(ConnectionResetError):
            await inbox.read()
        with pytest.raises(ConnectionResetError):
            await inbox.drain()


async def test_what_is_poured_arrives_in_order_until_the_other_side_has_closed() -> None:
    async with connected() as (inbox, _, writer), asyncio.TaskGroup() as group:
        writer.write(PATTERN)
        writer.write_eof()
        group.create_task(writer.drain())
        found = bytearray()

        def take(data: memoryview) -> bool:
            found.extend(data)
            return True

        await inbox.pour(take)
        assert found == PATTERN


async def test_who_has_had_enough_is_given_no_more() -> None:
    async with connected() as (inbox, _, writer):
        found: list[bytes] = []

        def take(data: memoryview) -> bool:
            found.append(bytes(data))
            writer.write(b"more")
            return len(found) < 3

        writer.write(b"some")
        await inbox.pour(take)
        assert len(found) == 3


async def test_who_is_called_away_from_what_pours_reads_on_where_it_was() -> None:
    async with connected() as (inbox, _, writer):
        came = asyncio.Event()

        def take(data: memoryview) -> bool:
            came.set()
            return True

        pouring = asyncio.ensure_future(inbox.pour(take))
        writer.write(b"before")
        await came.wait()
        pouring.cancel()
        await asyncio.wait([pouring])
        writer.write(b"after")

        assert bytes(await inbox.read()) == b"after"


async def test_nothing_is_poured_while_nobody_takes_what_is_said_to_it() -> None:
    async with connected() as (inbox, reader, writer):
        heard = 0
        came = asyncio.Event()

        def take(data: memoryview) -> bool:
            nonlocal heard
            heard += len(data)
            inbox.write(PATTERN)
            came.set()
            return True

        pouring = asyncio.ensure_future(inbox.pour(take))
        writer.write(b"x")
        await came.wait()
        came.clear()
        assert inbox._transport is not None
        assert not inbox._transport.is_reading()

        writer.write(b"y")
        await reader.readexactly(len(PATTERN))
        await came.wait()
        assert heard == 2
        pouring.cancel()
        await asyncio.wait([pouring])
        inbox.abort()
