"""QEMU as a process of this host: found again, signalled, awaited. Linux only.

A process is never known by its pid alone: the number may be somebody else's tomorrow. Here it is
the pid together with the start time in `/proc/PID/stat`, and a signal goes through a pidfd that
was opened before that start time was compared.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import os
import signal
import socket
import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, NamedTuple

from broker.within import within

_FLOCK: Final = "hhqqi4x"
"""`struct flock` of 64-bit Linux: type, whence, start, length, pid."""
_UCRED: Final = struct.Struct("iII")
"""`struct ucred`: pid, uid, gid."""


@dataclass(frozen=True, slots=True)
class Process:
    """One life of one process.

    Attributes:
        ticks: Its start, in clock ticks since boot (field 22 of `/proc/PID/stat`).
    """

    pid: int
    ticks: int

    @property
    def started_at(self) -> datetime:
        """When it started, to a hundredth of a second or so; aware, in UTC."""
        seconds = _boot_time() + self.ticks / os.sysconf("SC_CLK_TCK")
        return datetime.fromtimestamp(seconds, UTC)

    @property
    def age(self) -> float:
        """Seconds since it started."""
        since_boot = time.clock_gettime(time.CLOCK_BOOTTIME)
        return since_boot - self.ticks / os.sysconf("SC_CLK_TCK")


def of_pid(pid: int) -> Process | None:
    """The process that has that number now; None when none does or it is a zombie."""
    stat = _stat(pid)
    return Process(pid, stat.ticks) if stat and stat.letter not in "ZX" else None


def find(pidfile: Path) -> Process | None:
    """The QEMU that holds its lock on `pidfile`; None when nobody does, as after a crash.

    The lock is only looked at, never taken: a QEMU that starts at this moment is not disturbed.
    """
    try:
        with pidfile.open("rb") as file:
            holder = _lock_holder(file.fileno())
            if holder is None:
                return None
            written = file.read(32).strip()
    except OSError:
        return None
    if holder <= 0 and written.isdigit():  # held from outside our pid namespace
        holder = int(written)
    return of_pid(holder) if holder > 0 else None


def parent(process: Process) -> Process | None:
    """Who started it, if that one lives; whoever else took an orphan in is not meant.

    What `reaper` starts is in the session of its parent, which nobody else leads.
    """
    stat = _stat(process.pid)
    if stat is None or stat.ticks != process.ticks or stat.parent != stat.session:
        return None
    return of_pid(stat.parent)


@contextlib.contextmanager
def seized(pidfile: Path) -> Iterator[bool]:
    """Hold the lock of a pidfile, so that no QEMU can get past it; False if one has it already.

    One that starts at this moment, by a broker that was killed, ends instead of being overlooked.

    Raises:
        OSError: The file cannot be made.
    """
    fd = -1
    try:
        while True:
            fd = os.open(pidfile, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            asked = struct.pack(_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
            try:
                fcntl.fcntl(fd, fcntl.F_OFD_SETLK, asked)
            except BlockingIOError:
                yield False
                return
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(fd), pidfile.stat()):
                    break
            os.close(fd)  # a QEMU that ended took it away
            fd = -1
        yield True
    finally:
        if fd >= 0:
            os.close(fd)


def with_argument(word: str) -> Process | None:
    """A process of ours that was started with that argument; reads the whole process list."""
    wanted = b"\0" + os.fsencode(word) + b"\0"
    for directory in Path("/proc").iterdir():
        if directory.name.isdigit():
            with contextlib.suppress(OSError):
                if wanted in (directory / "cmdline").read_bytes():
                    return of_pid(int(directory.name))
    return None


def listener(socket_path: Path) -> Process | None:
    """The process that listens on a unix socket; None when nobody does.

    QEMU has one client at a monitor and a short queue, so this says nothing and leaves at once.
    """
    with socket.socket(socket.AF_UNIX) as end:
        end.setblocking(False)
        try:
            end.connect(os.fspath(socket_path))
            told = end.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
        except OSError:
            return None
    return of_pid(_UCRED.unpack(told)[0])


def alive(process: Process) -> bool:
    """Whether that very process still runs; a zombie does not."""
    return of_pid(process.pid) == process


def hindrance(process: Process) -> str:
    """Why it cannot answer anything now, as far as the kernel tells; empty when it could."""
    stat = _stat(process.pid)
    if stat is None or stat.ticks != process.ticks:
        return ""
    if stat.letter in "Tt":
        return f"its QEMU is held by a signal; go on: kill -CONT {process.pid}"
    if stat.letter == "D":
        return "its QEMU waits for a disk or a device of this host"
    return ""


def is_stopped(process: Process) -> bool:
    """Whether it is held by SIGSTOP or a debugger, and so cannot answer anything."""
    stat = _stat(process.pid)
    return stat is not None and stat.ticks == process.ticks and stat.letter in "Tt"


def send(process: Process, number: signal.Signals) -> bool:
    """Signal that very process, whatever became of its number; False when it is gone.

    Raises:
        PermissionError: It belongs to another user.
    """
    with contextlib.suppress(ProcessLookupError), _pidfd(process) as fd:
        if fd is not None:
            signal.pidfd_send_signal(fd, number)
            return True
    return False


async def wait_gone(process: Process, timeout: float) -> bool:
    """Wait until it has ended, at most `timeout` seconds; whether it has."""
    loop = asyncio.get_running_loop()
    with _pidfd(process) as fd:
        if fd is None:
            return True
        gone = asyncio.Event()
        loop.add_reader(fd, gone.set)
        try:
            async with within(timeout):
                await gone.wait()
        except TimeoutError:
            return False
        finally:
            loop.remove_reader(fd)
        return True


@contextlib.contextmanager
def _pidfd(process: Process) -> Iterator[int | None]:
    """A handle on that very process, or None when there is nothing of it left.

    A zombie still has one: its other threads may live, and it has not told its exit code.
    """
    try:
        fd = os.pidfd_open(process.pid)
    except ProcessLookupError:
        yield None
        return
    try:
        stat = _stat(process.pid)
        yield fd if stat is not None and stat.ticks == process.ticks else None
    finally:
        os.close(fd)


class _Stat(NamedTuple):
    """A few fields of `/proc/PID/stat`."""

    letter: str
    parent: int
    session: int
    ticks: int


def _stat(pid: int) -> _Stat | None:
    try:
        text = Path(f"/proc/{pid}/stat").read_bytes().decode("ascii", "replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = text[text.rindex(")") + 2 :].split()  # the name before may hold anything
    return _Stat(fields[0], int(fields[1]), int(fields[3]), int(fields[19]))


def _lock_holder(fd: int) -> int | None:
    """Pid of the process with a lock on that file (0 or less: not one we can see), or None."""
    asked = struct.pack(_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
    kind, _, _, _, pid = struct.unpack(_FLOCK, fcntl.fcntl(fd, fcntl.F_GETLK, asked))
    return None if kind == fcntl.F_UNLCK else pid


def _boot_time() -> int:
    for line in Path("/proc/stat").read_text("ascii").splitlines():
        if line.startswith("btime "):
            return int(line.split()[1])
    raise OSError(errno.ENOENT, "no btime", "/proc/stat")


def boot_id() -> str:
    """What names this boot of this machine; a run of another boot has ended with it."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
    except OSError:
        return ""
