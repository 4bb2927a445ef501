"""A fake service, and the app over it."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from weakref import WeakKeyDictionary

import pytest
from textual import app as textual_app
from textual import pilot as textual_pilot
from textual.app import App
from textual.pilot import Pilot

from broker.model import Disk, DiskBus, MachineId, MachineSpec, Network
from tests.fakes.service import NOW, FakeService
from tests.tui import cells
from tui import keymap, keys
from tui.act import spell
from tui.app import BrokerApp

Drive = Callable[..., AbstractAsyncContextManager[Pilot[None]]]

IDLE_SECONDS = 0.02
"""What Textual takes for a rest."""
LONGEST_SECONDS = 60.0
"""An app that never rests is not waited for for ever."""
THREAD_SECONDS = 5.0
"""What a thread does for the app is waited for so long."""
TOAST_SECONDS = 600.0
"""A toast stays until it is looked for: a slow machine looks later than Textual's five seconds."""


@pytest.fixture(autouse=True)
def still(monkeypatch: pytest.MonkeyPatch) -> None:
    """No animations, one time zone; keys' signs as in a test that began by itself."""
    spell(out=False)
    monkeypatch.setenv("TEXTUAL_ANIMATIONS", "none")
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()


class Rest:
    """What an event loop has waited for its timers so far, in seconds.

    While a thread works for it (a file is written, the store is asked) it does not rest, unless the
    thread takes very long: that one waits for something itself.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.seconds = 0.0
        self._asked: dict[asyncio.Future[object], float] = {}
        """What threads are asked for, and since when."""
        selector = loop._selector  # type: ignore[attr-defined]  # nothing else sees it rest
        select, run_in_executor = selector.select, loop.run_in_executor

        def watched(timeout: float | None = None) -> object:
            begun = loop.time()
            counts = not self._works()
            try:
                return select(timeout)
            finally:
                if counts:
                    waited = loop.time() - begun
                    self.seconds += waited if timeout is None else min(waited, timeout)

        def asked(*args: object) -> asyncio.Future[object]:
            answer: asyncio.Future[object] = run_in_executor(*args)  # type: ignore[arg-type]
            self._asked[answer] = time.monotonic()
            answer.add_done_callback(self._asked.pop)
            return answer

        selector.select = watched
        loop.run_in_executor = asked  # type: ignore[assignment,method-assign]

    def _works(self) -> bool:
        now = time.monotonic()
        return any(now - since < THREAD_SECONDS for since in self._asked.values())


RESTS: WeakKeyDictionary[asyncio.AbstractEventLoop, Rest] = WeakKeyDictionary()


async def idled(seconds: float) -> None:
    """Wait until the event loop has had nothing to do for so long in all.

    On a slow machine what is to happen in a pause takes longer than the pause; so what the loop
    waits for its timers is counted, and not what it works, nor what it waits for a processor or
    for a thread that works for it.
    """
    loop = asyncio.get_running_loop()
    if (rest := RESTS.get(loop)) is None:
        rest = RESTS[loop] = Rest(loop)
    rested, end = rest.seconds + seconds, loop.time() + LONGEST_SECONDS
    while True:
        await asyncio.sleep(rested - rest.seconds)
        if rest.seconds >= rested - 0.05 * seconds or loop.time() > end:
            return


async def pause(pilot: Pilot[None], delay: float | None = None) -> None:
    """As Textual's own, by the time that an app rests."""
    await pilot._wait_for_screen(LONGEST_SECONDS)
    await idled(IDLE_SECONDS if delay is None else delay)
    pilot.app.screen._on_timer_update()


async def wait_for_idle(min_sleep: float = IDLE_SECONDS, max_sleep: float = 1) -> None:
    """As Textual's own, which takes an app that gets no processor for one that rests."""
    await idled(IDLE_SECONDS)


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses that are long enough on any machine, and toasts that stay."""
    monkeypatch.setattr(Pilot, "pause", pause)
    for module in (textual_app, textual_pilot):
        monkeypatch.setattr(module, "wait_for_idle", wait_for_idle)
    monkeypatch.setattr(App, "NOTIFICATION_TIMEOUT", TOAST_SECONDS)


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
    service: FakeService,
    *,
    size: tuple[int, int] = (100, 30),
    demo: MachineSpec | None = None,
    **options: object,
) -> AsyncIterator[Pilot[None]]:
    options.setdefault("undo_seconds", 0)
    app = BrokerApp(service.opened, now=lambda: NOW, demo=lambda: demo, **options)  # type: ignore[arg-type]
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
