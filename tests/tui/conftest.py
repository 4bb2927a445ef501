"""A fake service, and the app over it."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest
from textual.pilot import Pilot

from broker.model import Disk, DiskBus, MachineId, MachineSpec, Network
from tests.fakes.service import NOW, FakeService
from tests.tui import cells
from tui import keymap, keys
from tui.app import BrokerApp

Drive = Callable[..., AbstractAsyncContextManager[Pilot[None]]]


@pytest.fixture(autouse=True)
def still(monkeypatch: pytest.MonkeyPatch) -> None:
    """No animations, one time zone."""
    monkeypatch.setenv("TEXTUAL_ANIMATIONS", "none")
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The directory one is in."""
    monkeypatch.chdir(tmp_path)
    os.umask(0o022)
    return tmp_path


@pytest.fixture
def usual_keys() -> Iterator[None]:
    """Keys are as they come after the test."""
    yield
    keys.REMAPPED.clear()
    keymap._touched.clear()


@pytest.fixture
def service() -> FakeService:
    """A small set-up: see `fakes.service.few`."""
    return FakeService()


@pytest.fixture
def demo(tmp_path: Path) -> MachineSpec:
    """A demo guest."""
    disk = Disk(str(tmp_path / "demo.img"), format="raw", bus=DiskBus.SATA, snapshot=True)
    uuid = MachineId("b0071e55-0000-4000-8000-00000000d3e0")
    return MachineSpec("demo", uuid, memory=64, disks=(disk,), network=Network.NONE)


@asynccontextmanager
async def _driven(
    service: FakeService, *, size: tuple[int, int] = (100, 30), **options: object
) -> AsyncIterator[Pilot[None]]:
    options.setdefault("undo_seconds", 0)
    app = BrokerApp(service.opened, now=lambda: NOW, **options)  # type: ignore[arg-type]
    async with app.run_test(size=size, notifications=True) as pilot:
        await settle(pilot)
        yield pilot


@pytest.fixture
def drive() -> Drive:
    """`async with drive(service) as pilot`: the app, running, its first list read."""
    return _driven


async def settle(pilot: Pilot[None]) -> None:
    """Let what was asked for happen, and the bridge read what came of it."""
    for _ in range(3):
        await pilot.pause(0.05)


def text_of(pilot: Pilot[None]) -> str:
    """The characters on the screen."""
    assert isinstance(pilot.app, BrokerApp)
    return cells.text(pilot.app)


async def until(pilot: Pilot[None], *words: str, gone: tuple[str, ...] = ()) -> str:
    """Wait for words on the screen, and for others to go."""
    for _ in range(600):
        shown = text_of(pilot)
        if all(word in shown for word in words) and not any(word in shown for word in gone):
            return shown
        await pilot.pause(0.05)
    raise AssertionError(f"{words} but not {gone} in:\n{text_of(pilot)}")
