"""A guest's serial console for many readers and one writer.

QEMU's socket serves one client, and a client that does not read holds the guest up: its port stays
busy until the client goes on. So nobody reads there. All that the guest writes is in the log, which
everybody follows; the writer, who holds a lock, is connected only while there is something to type,
and what comes back is thrown away.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
import socket
import struct
import termios
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Final

from broker.errors import Refused, Unreachable
from broker.vm.asking import Asker
from broker.vm.monitor import MonitorGone
from broker.vm.paths import cannot_use
from broker.within import within

IDLE_SECONDS: Final = 2.0
"""How long the writer stays connected after the last key."""
SHORTEST_PAUSE: Final = 0.001
LONGEST_PAUSE: Final = 0.1
"""Seconds between looks at the log; short after something came, and when the socket stirs."""
LOOK_IF_ALIVE_SECONDS: Final = 0.5
FREE_SECONDS: Final = 1.0
"""How long QEMU may take to notice that the client before us is gone."""
DRAIN_PAUSE: Final = 0.01
CHUNK_BYTES: Final = 64 * 1024
MAX_BACK_BYTES: Final = 128 * 1024


class LoggedSerial:
    """The serial console of the VM that `asker` asks; see `broker.guest.SerialLine`.

    Args:
        path: QEMU's socket.
        log: Where QEMU writes down what the guest says; a new file for each run.
        lock: A file for the writer's lock; made when needed.
        alive: Whether the VM's QEMU lives.
    """

    def __init__(
        self, asker: Asker, path: Path, log: Path, lock: Path, alive: Callable[[], bool]
    ) -> None:
        self._asker = asker
        self._path = path
        self._log = log
        self._lock = lock
        self._alive = alive
        self._news = asyncio.Event()

    def alive(self) -> bool:
        """Whether more may come."""
        return self._alive()

    def end(self) -> int:
        """The position of what comes next."""
        try:
            return self._log.stat().st_size
        except OSError:
            return 0

    def lines_back(self, count: int) -> int:
        """Where the last `count` lines begin."""
        end = self.end()
        begin = max(0, end - MAX_BACK_BYTES)
        try:
            with self._log.open("rb") as file:
                file.seek(begin)
                lines = file.read(end - begin).splitlines(keepends=True)
        except OSError:
            return end
        return end - sum(map(len, lines[-count:])) if count else end

    async def follow(self, begin: int) -> AsyncGenerator[bytes, None]:
        """What the guest wrote from `begin` on, and writes; ends with the run.

        Raises:
            StoreError: The log cannot be read.
        """
        try:
            file = self._log.open("rb")
        except FileNotFoundError:
            return
        except OSError as exc:
            raise cannot_use(self._log, exc) from exc
        with file:
            file.seek(begin)
            pause, quiet = SHORTEST_PAUSE, 0.0
            while True:
                # Asked first: what was written before the end is then still read.
                over = quiet >= LOOK_IF_ALIVE_SECONDS and not self._is_current(file.fileno())
                if data := file.read(CHUNK_BYTES):
                    pause, quiet = SHORTEST_PAUSE, 0.0
                    yield data
                    continue
                if over:
                    return
                if os.fstat(file.fileno()).st_size < file.tell():  # somebody has emptied it
                    file.seek(0, os.SEEK_END)
                quiet = 0.0 if quiet >= LOOK_IF_ALIVE_SECONDS else quiet + pause
                pause = await self._wait(pause)

    async def _wait(self, pause: float) -> float:
        """Wait for a stir on the socket or for a while; how long to wait the next time."""
        with contextlib.suppress(TimeoutError):
            async with within(pause):
                await self._news.wait()
                self._news.clear()
                await asyncio.sleep(0)  # the log is written right after the socket
                return SHORTEST_PAUSE
        return min(pause * 2, LONGEST_PAUSE)

    def _is_current(self, fd: int) -> bool:
        """Whether that open log is the one of a run that goes on."""
        try:
            now, ours = self._log.stat(), os.fstat(fd)
        except OSError:
            return False
        return (now.st_dev, now.st_ino) == (ours.st_dev, ours.st_ino) and self._alive()

    @contextlib.asynccontextmanager
    async def writing(self) -> AsyncIterator[Typist]:
        """Be the only one who types, among brokers and all others.

        Raises:
            Refused: Somebody else is.
            MonitorGone: The VM is off.
            VmUnresponsive: QEMU does not answer.
        """
        if not self._alive():
            fix = f"Start it: broker vm start {self._asker.name}"
            raise MonitorGone(f"{self._asker.name} is off", fix=fix)
        with self._seat():
            await self.see_that_it_is_free()
            typist = Typist(self, self._asker.name, self._path, self._news.set)
            try:
                yield typist
            finally:
                typist.let_go()

    @contextlib.contextmanager
    def _seat(self) -> Iterator[None]:
        try:
            fd = os.open(self._lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except OSError as exc:
            raise cannot_use(self._lock, exc) from exc
        try:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as exc:
                who = _who(os.pread(fd, 4096, 0))
                raise self.taken(f"somebody types there already ({who})") from exc
            os.ftruncate(fd, 0)
            os.pwrite(fd, json.dumps({"pid": os.getpid(), "tty": _tty()}).encode(), 0)
            yield
        finally:
            os.close(fd)

    async def see_that_it_is_free(self) -> None:
        """See that no program but ours is connected: QEMU would let us wait without a word.

        Raises:
            Refused: One is.
            MonitorGone, VmUnresponsive: As `Asker.ask`.
        """
        with contextlib.suppress(TimeoutError):
            async with within(FREE_SECONDS):
                while await self._is_served():  # noqa: ASYNC110 - QEMU tells nobody
                    await asyncio.sleep(DRAIN_PAUSE)
                return
        raise self.taken("another program is connected to it")

    async def _is_served(self) -> bool:
        answer = await self._asker.one("query-chardev")
        names = [
            str(one.get("filename", ""))
            for one in (answer if isinstance(answer, list) else [])
            if isinstance(one, dict)
        ]
        ours = [name for name in names if f"unix:{self._path}" in name]
        return bool(ours) and not ours[0].startswith("disconnected:")

    def taken(self, why: str) -> Refused:
        """The error that it is not our turn."""
        return Refused(
            f"{self._asker.name}: {why}",
            reason="serial-taken",
            fix=f"Look on without typing: broker vm serial {self._asker.name} --no-input",
        )


class Typist:
    """The writer; see `broker.guest.SerialWriter`. Made by `LoggedSerial.writing`."""

    def __init__(
        self, line: LoggedSerial, name: str, path: Path, stirred: Callable[[], None]
    ) -> None:
        self._line = line
        self._name = name
        self._path = path
        self._stirred = stirred
        self._end: socket.socket | None = None
        self._idle: asyncio.TimerHandle | None = None

    async def send(self, data: bytes) -> None:
        """Type; connects first when nothing was typed for a while."""
        if self._idle is not None:
            self._idle.cancel()
        loop = asyncio.get_running_loop()
        end = self._end or await self._connect()
        try:
            await loop.sock_sendall(end, data)
        except OSError as exc:
            self.let_go()
            raise Unreachable(f"{self._name}: its serial port is gone ({exc.strerror})") from exc
        self._idle = loop.call_later(IDLE_SECONDS, self._rest)

    async def drained(self, timeout: float) -> bool:
        """Whether QEMU has taken all that was sent; it takes what the guest's port has room for."""
        with contextlib.suppress(TimeoutError):
            async with within(timeout):
                while self._waiting():  # noqa: ASYNC110 - the kernel tells nobody
                    await asyncio.sleep(DRAIN_PAUSE)
        return not self._waiting()

    def let_go(self) -> None:
        """Disconnect, so that another program may have the port."""
        if self._idle is not None:
            self._idle.cancel()
            self._idle = None
        if self._end is not None:
            asyncio.get_running_loop().remove_reader(self._end)
            self._end.close()
            self._end = None

    def _rest(self) -> None:
        if self._waiting():
            self._idle = asyncio.get_running_loop().call_later(IDLE_SECONDS, self._rest)
        else:
            self.let_go()

    def _waiting(self) -> int:
        """Bytes that QEMU has not read yet; it would lose them if we left."""
        if self._end is None:
            return 0
        answer = fcntl.ioctl(self._end, termios.TIOCOUTQ, b"\0" * 4)
        return int(struct.unpack("i", answer)[0])

    async def _connect(self) -> socket.socket:
        await self._line.see_that_it_is_free()
        end = socket.socket(socket.AF_UNIX)
        try:
            end.setblocking(False)
            end.connect(str(self._path))
        except OSError as exc:
            end.close()
            raise Unreachable(f"{self._name}: its serial port is gone ({exc.strerror})") from exc
        self._end = end
        asyncio.get_running_loop().add_reader(end, self._throw_away)
        return end

    def _throw_away(self) -> None:
        assert self._end is not None
        try:
            data = self._end.recv(CHUNK_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        self._stirred()
        if not data:
            self.let_go()


def _who(content: bytes) -> str:
    try:
        said = json.loads(content)
        return f"process {int(said['pid'])}" + (f" on {said['tty']}" if said.get("tty") else "")
    except (ValueError, TypeError, KeyError):
        return "process unknown"


def _tty() -> str:
    """The terminal we are on, for whoever is refused; empty without one."""
    try:
        return os.ttyname(0)
    except OSError:
        return ""
