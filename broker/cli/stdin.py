"""stdin as it comes, whatever it is: a terminal, a pipe, a file."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator
from typing import Final

CHUNK_BYTES: Final = 4096


async def chunks(fd: int = 0) -> AsyncGenerator[bytes, None]:
    """What can be read, until its end. It is not listened to between two chunks."""
    while True:
        try:
            await readable(fd)
            data = os.read(fd, CHUNK_BYTES)
        except BlockingIOError:  # somebody else has read it
            continue
        except OSError:  # a terminal that was hung up
            return
        if not data:
            return
        yield data


async def readable(fd: int) -> None:
    """Wait until reading does not block; a file never does, and cannot be waited for."""
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    try:
        loop.add_reader(fd, ready.set)
    except PermissionError:
        await asyncio.sleep(0)
        return
    try:
        await ready.wait()
    finally:
        loop.remove_reader(fd)
