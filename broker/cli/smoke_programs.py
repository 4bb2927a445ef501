"""Programs of others that `broker smoke` starts, and ends again."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

from broker.errors import Unreachable
from broker.within import within

LOOK_SECONDS: Final = 0.1
LEAVING_SECONDS: Final = 5.0
FIRST_DISPLAY: Final = 1000


def program(name: str) -> str | None:
    """It on the PATH, or beside our own Python, as pip puts it."""
    return shutil.which(name) or shutil.which(name, path=str(Path(sys.executable).parent))


@contextlib.asynccontextmanager
async def running(
    *command: str, log: Path, **environment: str
) -> AsyncIterator[asyncio.subprocess.Process]:
    """A program while the block lasts; what it says goes into that file."""
    with await asyncio.to_thread(log.open, "wb") as said:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=said,
            stderr=said,
            env={**os.environ, "NO_AT_BRIDGE": "1", **environment},
        )
    try:
        yield process
    finally:
        await ended(process)


async def ended(process: asyncio.subprocess.Process) -> None:
    """End a process of ours, politely first."""
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        try:
            async with within(LEAVING_SECONDS):
                await process.wait()
        except TimeoutError:
            process.kill()
    await process.wait()


async def still(process: asyncio.subprocess.Process) -> None:
    """A moment later it still runs.

    Raises:
        Unreachable: It has ended.
    """
    await asyncio.sleep(LOOK_SECONDS)
    if process.returncode is not None:
        raise Unreachable(f"The viewer ended with code {process.returncode}", fix="See viewer.log")


@contextlib.asynccontextmanager
async def screen() -> AsyncIterator[str]:
    """An X display of our own, `:N`.

    Its number is far from those that others find free from 0 on: one that ends takes the socket
    of its number away, also when that is somebody else's by then.
    """
    name = f":{FIRST_DISPLAY + os.getpid() % 20000}"
    read, write = os.pipe()
    try:
        try:
            process = await asyncio.create_subprocess_exec(
                *("Xvfb", name, "-displayfd", str(write), "-screen", "0", "1024x768x24"),
                *("-nolisten", "tcp"),
                pass_fds=(write,),
                stderr=asyncio.subprocess.DEVNULL,
            )
        finally:
            os.close(write)
        try:
            if not await asyncio.to_thread(os.read, read, 16):
                raise Unreachable(f"Xvfb cannot open display {name}")
            yield name
        finally:
            await ended(process)
    finally:
        os.close(read)
