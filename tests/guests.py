"""Real guests for tests: the demo guest under TCG, its serial port, its keys.

The fixtures made of these are in `tests/integration/conftest.py`.
"""

import asyncio
import contextlib
import os
import shutil
import signal
import tempfile
import uuid
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from qemu.qmp import QMPClient

from broker import demo
from broker.model import Disk, DiskBus, MachineId, MachineSpec
from broker.vm.instance import Instance, Patience
from broker.vm.paths import VmPaths

QEMU = shutil.which("qemu-system-x86_64")
needs_qemu = pytest.mark.skipif(QEMU is None, reason="QEMU is not installed")

DEAF = (b"\xf4\xeb\xfd".ljust(510, b"\0") + b"\x55\xaa").ljust(demo.IMAGE_BYTES, b"\0")
"""The image of a guest that only halts: it never hears the power button."""

TEST_PATIENCE = Patience(start=90, answer=10, end=30, gone=60, lock=90)
"""For machines that are busy with other tests."""


@dataclass(frozen=True)
class Home:
    """Directories of one test; short, because unix socket paths are."""

    root: Path
    runtime: Path = field(init=False)
    data: Path = field(init=False)

    def __post_init__(self) -> None:
        for name in ("runtime", "data"):
            object.__setattr__(self, name, self.root / name)
            (self.root / name).mkdir(mode=0o700)

    def image(self, name: str = "demo.img", content: bytes | None = None) -> Path:
        """A disk image; the demo guest's unless told otherwise."""
        path = self.root / name
        path.write_bytes(demo.image_bytes() if content is None else content)
        return path

    def spec(self, name: str = "demo") -> MachineSpec:
        """A demo machine with a uuid of its own."""
        return demo.machine_spec(self.image(), name=name, uuid=MachineId(str(uuid.uuid4())))

    def instance(self, spec: MachineSpec | None = None, **changes: object) -> Instance:
        """That machine, not started; `changes` are fields of its spec."""
        wanted = replace(spec or self.spec(), **changes)  # type: ignore[arg-type]
        paths = VmPaths.of(self.runtime, self.data, wanted.name, wanted.uuid)
        return Instance(wanted, paths, patience=TEST_PATIENCE)

    def deaf(self) -> Instance:
        """A machine, not started, whose guest never hears the power button."""
        disk = Disk(str(self.image("deaf.img", DEAF)), "raw", DiskBus.SATA, snapshot=True)
        return self.instance(self.spec("deaf"), disks=(disk,))


def qemus_of(instance: Instance) -> list[int]:
    """Every process that was started as that VM, by what `ps` would show."""
    wanted = b"\0-uuid\0" + instance.spec.uuid.encode()
    found = []
    for directory in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if directory.name.isdigit() and wanted in (directory / "cmdline").read_bytes():
                found.append(int(directory.name))
    return found


def end_qemus_of(home: Path) -> None:
    """Kill what a test that failed has left running in its home."""
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            words = (process / "cmdline").read_bytes()
            if b"qemu-system" in words.partition(b"\0")[0] and f"{home}/".encode() in words:
                os.kill(int(process.name), signal.SIGKILL)


@contextlib.contextmanager
def temporary_home() -> Iterator[Home]:
    """A home that is gone afterwards; kill what runs in it first."""
    root = Path(tempfile.mkdtemp(prefix="cb-"))
    try:
        yield Home(root)
    finally:
        shutil.rmtree(root)


@dataclass(frozen=True)
class Guest:
    """A demo guest that is up."""

    instance: Instance
    serial: "Serial"

    @property
    def spec(self) -> MachineSpec:
        return self.instance.spec

    @property
    def paths(self) -> VmPaths:
        return self.instance.paths

    async def press_key(self, key: str = "a") -> None:
        """Press and release a key behind the proxy's back, by QMP."""
        await qmp(self.paths.qmp, "send-key", {"keys": [{"type": "qcode", "data": key}]})


class Serial:
    """The guest's COM1, seen from outside."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def until(self, expected: bytes, *, timeout: float = 60) -> bytes:
        """What the guest says up to and including `expected`."""
        async with asyncio.timeout(timeout):
            return await self._reader.readuntil(expected)

    async def line(self, *, timeout: float = 60) -> bytes:
        """The next line, its end included; the demo guest's answers are lines."""
        return await self.until(b"\n", timeout=timeout)

    async def send(self, data: bytes) -> None:
        """Type on the serial line; every byte toggles the demo guest's block."""
        self._writer.write(data)
        await self._writer.drain()


@contextlib.asynccontextmanager
async def serial_of(path: Path) -> AsyncIterator[Serial]:
    """Connect to a serial socket; QEMU serves one client at a time."""
    reader, writer = await asyncio.open_unix_connection(path)
    try:
        yield Serial(reader, writer)
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


@contextlib.asynccontextmanager
async def running_guest(home: Home, spec: MachineSpec | None = None) -> AsyncIterator[Guest]:
    """A guest that is started, and killed at the end. The demo guest has said its banner.

    What a guest says before its serial socket is connected is in the log only, so the banner is
    waited for there.
    """
    instance = home.instance(spec)
    try:
        await instance.start()
        async with serial_of(instance.paths.serial) as serial:
            await logged(instance.paths.serial_log, demo.BANNER)
            yield Guest(instance, await _drained(serial))
    finally:
        await instance.kill()


async def logged(path: Path, expected: bytes, *, timeout: float = 60) -> bytes:
    """Wait until a log holds `expected`; the whole log."""
    async with asyncio.timeout(timeout):
        while True:
            content = _read(path)
            if expected in content:
                return content
            await asyncio.sleep(0.01)


@contextlib.asynccontextmanager
async def held(monitor: Path) -> AsyncIterator[None]:
    """Be another program that keeps a monitor to itself."""
    reader, writer = await asyncio.open_unix_connection(monitor)
    await reader.readline()
    yield
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()


def _read(path: Path) -> bytes:
    return path.read_bytes() if path.exists() else b""


async def qmp(path: Path, command: str, arguments: dict[str, object] | None = None) -> object:
    """Ask a monitor one thing."""
    client = QMPClient("test")
    async with asyncio.timeout(60):
        await client.connect(str(path))
        try:
            return await client.execute(command, arguments)
        finally:
            with contextlib.suppress(EOFError, OSError):  # it may have ended of what it was asked
                await client.disconnect()


async def _drained(serial: Serial) -> Serial:
    """Past the banner, wherever in it we connected, and past an answer that proves it."""
    await serial.send(b"..")
    await serial.until(b"K1\r\n")
    await serial.until(b"K0\r\n")
    return serial
