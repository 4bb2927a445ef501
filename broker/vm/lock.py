"""One broker at a time: the lock of an action on a VM, and the turn at a VM's monitor.

All are locks that belong to one open file: they keep two tasks of one process apart as well as two
processes, and the kernel drops them when their holder dies, however it dies.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import struct
import zlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Final
from weakref import WeakValueDictionary

from broker.errors import Unreachable
from broker.vm.paths import cannot_use
from broker.within import within

FIRST_PAUSE: Final = 0.001
LONGEST_PAUSE: Final = 0.05
ACTION_FILE: Final = "lock"
_FLOCK: Final = "hhqqi4x"
"""`struct flock` of 64-bit Linux: type, whence, start, length, pid (0 for these locks)."""

_queues: WeakValueDictionary[tuple[int, str], asyncio.Lock] = WeakValueDictionary()
"""First come, first served among the tasks of one loop; processes only take turns."""


@contextlib.asynccontextmanager
async def action(path: Path, name: str, *, timeout: float) -> AsyncIterator[None]:
    """Be the only one to start or stop the VM called `name`, while the block runs.

    Args:
        path: Its lock file; its directory exists. The file stays.
        timeout: Seconds to wait for whoever holds it.

    Raises:
        Unreachable: Another broker still works on that VM.
        StoreError: The file cannot be made.
    """
    try:
        lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as exc:
        raise cannot_use(path, exc) from exc
    try:
        try:
            async with within(timeout):
                await _acquire(lambda: fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB))
        except TimeoutError as exc:
            raise Unreachable(
                f"{name}: another broker is still starting or stopping it",
                fix="Wait for that to end, and ask again",
            ) from exc
        yield
    finally:
        os.close(lock)


def is_taken(path: Path) -> bool:
    """Whether somebody holds the lock of `action` there; whoever wants it is not disturbed.

    By the file's number alone: what `stat` and the kernel's table call its device is not the same
    on every file system.
    """
    try:
        wanted = b":%d " % path.stat().st_ino
        with Path("/proc/locks").open("rb") as table:
            return any(b" FLOCK " in line and wanted in line for line in table)
    except OSError:
        return False


@contextlib.asynccontextmanager
async def turn(monitor: Path) -> AsyncIterator[None]:
    """Be the only broker at a monitor while the block runs; waits until cancelled.

    QEMU serves one client per monitor, lets two more wait, and refuses the rest with EINVAL, so
    brokers queue here. The monitors of a VM have a byte each of its lock file, apart from the lock
    of `action`: a channel is handed over by one while a start still waits for the other. Beside a
    monitor that is not of ours no file is made: there the lock is on its directory.

    Raises:
        FileNotFoundError: That directory is gone, and the VM with it.
    """
    loop = asyncio.get_running_loop()
    queue = _queues.setdefault((id(loop), str(monitor)), asyncio.Lock())
    async with queue:
        fd, seize = _place(monitor)
        try:
            await _acquire(seize)
            yield
        finally:
            os.close(fd)


def _place(monitor: Path) -> tuple[int, Callable[[], object]]:
    """An open file for the turns at that monitor, and what takes its lock or says it is taken."""
    try:
        fd = os.open(monitor.parent / ACTION_FILE, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        fd = os.open(monitor.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        return fd, lambda: fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    byte = zlib.crc32(monitor.name.encode())
    asked = struct.pack(_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, byte, 1, 0)
    return fd, lambda: fcntl.fcntl(fd, fcntl.F_OFD_SETLK, asked)


async def _acquire(seize: Callable[[], object]) -> None:
    pause = FIRST_PAUSE
    while True:
        try:
            seize()
        except BlockingIOError:
            await asyncio.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE)
        else:
            return
