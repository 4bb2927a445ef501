"""A database that cannot be written while people work: they do not notice, and nothing is lost."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from broker.config.locations import Locations
from broker.events import Kind
from broker.store.engine import BUSY_SECONDS
from tests.integration.house import House, Viewer, housed

pytestmark = pytest.mark.qemu

SAID = "cannot write down what happened, trying again"


@pytest.fixture
def log(broker_home: Path) -> Path:
    """What supervisor and workers say; not on the disk that is full."""
    return broker_home / "said.log"


@pytest.fixture
def small_disk(locations: Locations) -> Iterator[Path]:
    """The state directory on a file system of 6 MB."""
    place = str(locations.state_dir)
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=6m,mode=700", "none", place],
        check=False,
        capture_output=True,
    )
    if mounted.returncode:
        pytest.skip("file systems cannot be mounted here")
    try:
        locations.prepare()
        yield locations.state_dir
    finally:
        subprocess.run(["umount", "--lazy", place], check=True)


@contextlib.contextmanager
def full(disk: Path) -> Iterator[None]:
    """Not a byte is left there."""
    filler = disk / "filler"
    try:
        with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
            while True:
                file.write(bytes(4096))
        yield
    finally:
        filler.unlink()


@contextlib.contextmanager
def locked(locations: Locations) -> Iterator[None]:
    """Another process would do the same: nobody else can write."""
    with contextlib.closing(sqlite3.connect(locations.database, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")


async def works(house: House, viewer: Viewer, times: int = 4) -> None:
    """Press keys; the guest says so, and draws."""
    for number in range(times):
        await viewer.inputs.press(0x1E)
        await house.qemu.says(b"K%d\r\n" % ((number + 1) % 2))


async def told(log: Path) -> None:
    """A worker has said that it could not write."""

    def is_there() -> bool:
        return SAID in log.read_text()

    async with asyncio.timeout(6 * BUSY_SECONDS):
        while not is_there():  # noqa: ASYNC110 - another process writes it
            await asyncio.sleep(0.1)


async def caught_up(house: House, viewer: Viewer) -> None:
    """The session is in the store to its last byte, its audit log whole."""
    before = await house.counted(3)
    await works(house, viewer)
    async with asyncio.timeout(60):
        while (await house.counted(3)).bytes_to_server <= before.bytes_to_server:  # noqa: ASYNC110
            await asyncio.sleep(0.05)  # the worker tells nobody
    await viewer.main.close()
    await house.ended()
    async with asyncio.timeout(60):  # events are written last
        while (kinds := [event.kind for event in await house.service.events()]).count(  # noqa: ASYNC110
            Kind.SESSION_CLOSED
        ) != 1:
            await asyncio.sleep(0.05)
    assert kinds.count(Kind.CHANNEL_OPENED) == kinds.count(Kind.CHANNEL_CLOSED) == 3


async def test_a_full_disk_stops_no_session(
    small_disk: Path, locations: Locations, log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with housed(locations, monkeypatch, log) as house:
        viewer = await house.viewer()
        with full(small_disk):
            await works(house, viewer)
            await told(log)
            await works(house, viewer)
        await caught_up(house, viewer)


@pytest.mark.slow
async def test_a_database_that_is_locked_stops_no_session(
    locations: Locations, log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody holds it for longer than anybody waits for it."""
    async with housed(locations, monkeypatch, log) as house:
        viewer = await house.viewer()
        with locked(locations):
            await works(house, viewer)
            await told(log)
            await works(house, viewer)
        await caught_up(house, viewer)
