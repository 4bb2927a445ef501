"""A domain in use: its picture, and its serial console as a stream of libvirt's."""

from __future__ import annotations

import asyncio
import contextlib
import struct
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from functools import partial
from typing import Any, Final, NoReturn

from broker.errors import NoConsole, Refused, Unreachable, UsageError
from broker.guest import Screenshot, SerialLine
from broker.model import Machine
from broker.png import SIGNATURE, encode_png
from broker.view import CALM_SECONDS, View
from sources.libvirt import link
from sources.libvirt.link import Connection, Link
from sources.libvirt.view import ScreenshotView

NONBLOCK: Final = 1
READABLE: Final = 1
GONE: Final = 4 | 8
PIECE: Final = 65536
HISTORY_MAX: Final = 100_000
"""Bytes of a serial console that are kept to look back."""
PICTURE_MAX: Final = 64 * 1024 * 1024


class LibvirtGuest:
    """See `broker.guest.Guest`; what libvirt has no verb for says so."""

    def __init__(self, connection: Link, machine: Machine) -> None:
        self._link = connection
        self._machine = machine

    async def screenshot(self) -> Screenshot:
        """What is on its first screen."""
        kind, data = await self._link.call(self._shoot, right="domain.screenshot")
        return _picture(kind, data)

    def view(self, *, calm: float = CALM_SECONDS) -> View:
        """Its screen while it changes, to look at."""
        return ScreenshotView(self._machine.full_name, self.screenshot, calm=calm)

    def serial(self) -> SerialLine:
        """Its first serial console. Nothing is known of what was said before it is opened."""
        return LibvirtSerial(self._link, self._machine)

    def _shoot(self, connection: Connection) -> tuple[str, bytes]:
        binding = link.load()
        found = connection.lookupByUUIDString(self._machine.key.uuid)
        stream = connection.newStream(0)
        try:
            kind = found.screenshot(stream, 0, 0)
            data = bytearray()
            while (piece := stream.recv(PIECE)) and len(data) < PICTURE_MAX:
                data += piece
            stream.finish()
        except binding.libvirtError as exc:
            with contextlib.suppress(binding.libvirtError):
                stream.abort()
            if exc.get_error_code() == link.WRONG_STATE:
                raise Unreachable(f"{self._machine.full_name} is off") from None
            raise
        return str(kind), bytes(data)

    def __getattr__(self, verb: str) -> Callable[..., Any]:
        """The verbs of a guest that are not above."""
        if verb.startswith("_"):
            raise AttributeError(verb)

        async def cannot(*_: object, **__: object) -> NoReturn:
            raise UsageError(
                f"{self._machine.full_name}: not through libvirt ({verb.replace('_', ' ')})",
                fix="Do that with virsh on its host",
            )

        return cannot


class LibvirtSerial:
    """See `broker.guest.SerialLine`. Positions count from when this object first listened."""

    def __init__(self, connection: Link, machine: Machine) -> None:
        self._link = connection
        self._machine = machine
        self._kept = bytearray()
        self._first = 0
        self._stream: Any = None
        self._ended = False
        self._more = asyncio.Event()
        self._opening = asyncio.Lock()
        self._users = 0
        self._writes = False

    def alive(self) -> bool:
        """Whether more may come."""
        return not self._ended

    def end(self) -> int:
        """The position of what comes next."""
        return self._first + len(self._kept)

    def lines_back(self, count: int) -> int:
        """The position where the last lines begin that were heard."""
        at = len(self._kept)
        for _ in range(count + 1):
            at = self._kept.rfind(b"\n", 0, at)
            if at < 0:
                return self._first
        return self._first + at + 1

    async def follow(self, begin: int) -> AsyncGenerator[bytes, None]:
        """All that the guest says from there on."""
        async with self._open():
            at = max(begin, self._first)
            while True:
                self._more.clear()
                if new := bytes(self._kept[at - self._first :]):
                    at += len(new)
                    yield new
                elif self._ended:
                    return
                else:
                    await self._more.wait()
                    at = max(at, self._first)

    @contextlib.asynccontextmanager
    async def writing(self) -> AsyncIterator[LibvirtSerial]:
        """Be the one who types."""
        if self._writes:
            raise Refused("You type there already", reason="serial-busy")
        async with self._open():
            self._writes = True
            try:
                yield self
            finally:
                self._writes = False

    async def send(self, data: bytes) -> None:
        """Type; waits while libvirt has no room."""
        pause = 0.005
        while data:
            if self._ended:
                raise Unreachable(f"{self._machine.full_name}: its serial console has ended")
            sent = await self._link.call(partial(_send, self._stream, data), again=False)
            if sent < 0:
                await asyncio.sleep(pause)
                pause = min(pause * 2, 0.2)
            else:
                data, pause = data[sent:], 0.005

    async def drained(self, timeout: float) -> bool:
        """Libvirt does not tell; what was sent is on its way."""
        return True

    @contextlib.asynccontextmanager
    async def _open(self) -> AsyncIterator[None]:
        """The stream, while anybody reads or writes."""
        self._users += 1
        try:
            async with self._opening:
                if self._stream is None:
                    await self._begin()
            yield
        finally:
            self._users -= 1
            if not self._users and self._stream is not None:
                stream, self._stream = self._stream, None
                await asyncio.shield(self._link.call(lambda _: _close(stream), again=False))

    async def _begin(self) -> None:
        loop = asyncio.get_running_loop()
        binding = link.load()

        def happened(stream: Any, events: int, _: object) -> None:
            """In libvirt's thread."""
            data: Any = b""
            try:
                if events & READABLE:
                    data = stream.recv(PIECE)
            except binding.libvirtError:
                data = b""
            over = bool(events & GONE) or (bool(events & READABLE) and data == b"")
            if over:
                with contextlib.suppress(binding.libvirtError):
                    stream.eventRemoveCallback()
            with contextlib.suppress(RuntimeError):  # our loop has ended
                loop.call_soon_threadsafe(
                    self._take, data if isinstance(data, bytes) else b"", over
                )

        def begin(connection: Connection) -> Any:
            found = connection.lookupByUUIDString(self._machine.key.uuid)
            stream = connection.newStream(NONBLOCK)
            try:
                found.openConsole(None, stream, 0)
            except binding.libvirtError as exc:
                said = str(exc)
                if "in use" in said or "ctive console" in said:
                    raise Refused(
                        f"{self._machine.full_name}: somebody else is at its serial console",
                        reason="serial-busy",
                    ) from None
                if exc.get_error_code() == link.WRONG_STATE:
                    raise Unreachable(f"{self._machine.full_name} is off") from None
                if "cannot find" in said:
                    raise NoConsole(f"{self._machine.full_name} has no serial console") from None
                raise
            stream.eventAddCallback(READABLE | GONE, happened, None)
            return stream

        self._stream = await self._link.call(begin, again=False, right="domain.open-device")
        self._ended = False

    def _take(self, data: bytes, over: bool) -> None:
        self._kept += data
        if len(self._kept) > 2 * HISTORY_MAX:
            surplus = len(self._kept) - HISTORY_MAX
            del self._kept[:surplus]
            self._first += surplus
        self._ended |= over
        self._more.set()


def _send(stream: Any, data: bytes, _: Connection) -> int:
    return int(stream.send(data))


def _close(stream: Any) -> None:
    binding = link.load()
    with contextlib.suppress(binding.libvirtError):
        stream.eventRemoveCallback()
    with contextlib.suppress(binding.libvirtError):
        stream.abort()


def _picture(kind: str, data: bytes) -> Screenshot:
    """What libvirt sent as a PNG; QEMU before 7.1 makes PPMs."""
    if data.startswith(SIGNATURE) and len(data) > 24:
        width, height = struct.unpack(">II", data[16:24])
        return Screenshot(data, width, height)
    parts = data.split(maxsplit=4)
    if len(parts) == 5 and parts[0] == b"P6" and parts[1].isdigit() and parts[2].isdigit():
        width, height = int(parts[1]), int(parts[2])
        return Screenshot(encode_png(data[-width * height * 3 :], width, height), width, height)
    raise NoConsole(f"libvirt sent a picture of a kind that is not known here ({kind[:40]})")
