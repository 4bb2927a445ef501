"""The one place where news enters: coalesced, kept, tried again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from broker.errors import StoreError
from broker.events import Kind
from tests.fakes.service import FakeService
from tui import bridge
from tui.bridge import Bridge
from tui.snapshot import Snapshot


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses that a test can wait for."""
    monkeypatch.setattr(bridge, "PAUSE_SECONDS", 0.02)
    monkeypatch.setattr(bridge, "RETRY_SECONDS", 0.02)


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not true():  # noqa: ASYNC110 - a fake has no event for it
            await asyncio.sleep(0.01)


async def test_many_changes_at_once_are_read_once(service: FakeService) -> None:
    shown: list[Snapshot] = []
    task = asyncio.create_task(Bridge(service, Snapshot(), shown.append).run())
    await until(lambda: len(shown) == 1)
    for _ in range(50):
        service.changed()
    await until(lambda: len(shown) == 2)
    await asyncio.sleep(0.2)  # no third comes
    task.cancel()
    assert len(shown) == 2


async def test_only_new_events_are_asked_for_and_old_ones_kept(service: FakeService) -> None:
    shown: list[Snapshot] = []
    service.say(Kind.PROXY_STARTED, "one")
    task = asyncio.create_task(Bridge(service, Snapshot(), shown.append).run())
    await until(lambda: bool(shown))
    service.say(Kind.PROXY_STOPPED, "two")
    service.changed()
    await until(lambda: len(shown) == 2)
    task.cancel()
    assert [event.text for event in shown[-1].events] == ["one", "two"]


async def test_a_failing_store_is_shown_with_what_was_read_before_and_tried_again(
    service: FakeService,
) -> None:
    shown: list[Snapshot] = []
    task = asyncio.create_task(Bridge(service, Snapshot(), shown.append).run())
    await until(lambda: bool(shown))
    service.failing["consoles"] = StoreError("The database is locked")
    service.changed()
    await until(lambda: shown[-1].problem is not None)
    assert shown[-1].consoles == shown[0].consoles
    del service.failing["consoles"]
    await until(lambda: shown[-1].problem is None)
    task.cancel()
