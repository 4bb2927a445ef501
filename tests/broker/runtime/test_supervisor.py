"""What the supervisor makes of a store that cannot be used for a while: sessions go on."""

import asyncio
import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from broker.clock import SystemClock
from broker.errors import StoreError
from broker.runtime.proxy_file import read_status, serving_lock
from broker.runtime.serving import Supervisor
from broker.runtime.workers import Workers


class Store:
    """One that fails for the first few questions."""

    def __init__(self, failures: int) -> None:
        self._failures = failures
        self.asked = 0

    def _ask(self) -> list[object]:
        self.asked += 1
        if self.asked <= self._failures:
            raise StoreError("The database is locked")
        return []

    def sessions(self) -> list[object]:
        return self._ask()

    def end_orphans(self, _alive: Callable[[int], bool], _now: object) -> None:
        self._ask()


def supervisor(directory: Path, store: Store) -> Supervisor:
    house: Any = SimpleNamespace(
        locations=SimpleNamespace(proxy_json=directory / "proxy.json"),
        settings=SimpleNamespace(proxy=SimpleNamespace(public_host="", drain_grace=0)),
        clock=SystemClock(),
        store=store,
    )
    return Supervisor(house, "127.0.0.1", log_format="text")


def has_workers(supervisor: Supervisor, *, ready: bool) -> None:
    async def changed(_: int | None) -> None: ...

    supervisor._workers = Workers([], SystemClock(), count=1, changed=changed)
    if ready:
        supervisor._workers.first_ready.set()


async def test_a_worker_that_dies_while_the_database_is_locked_takes_nobody_along(
    tmp_path: Path,
) -> None:
    store = Store(failures=1)
    await supervisor(tmp_path, store)._on_worker(4711)
    assert store.asked == 1
    assert (tmp_path / "proxy.json").exists()


async def test_one_that_is_told_to_stop_tells_whoever_asks(tmp_path: Path) -> None:
    one = supervisor(tmp_path, Store(failures=0))
    path = tmp_path / "proxy.json"
    with serving_lock(path):
        await one._on_worker(None)
        assert read_status(path).draining is False
        one._on_signal()
        one._on_signal()  # at once, or this would wait for workers that are not there
        has_workers(one, ready=True)
        assert one._workers is not None
        await one._drain(one._workers)
        assert read_status(path).draining is True


async def test_a_runtime_directory_that_became_full_ends_nothing_that_serves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries = []

    def full(*_: object) -> None:
        tries.append(1)
        raise StoreError("No space left on device")

    monkeypatch.setattr("broker.runtime.serving.write_status", full)
    one = supervisor(tmp_path, Store(failures=0))
    has_workers(one, ready=False)
    with pytest.raises(StoreError):  # nobody would find it
        await one._on_worker(None)
    has_workers(one, ready=True)
    await one._on_worker(None)
    assert len(tries) == 2


async def test_a_database_that_is_locked_when_the_face_goes_ends_no_session(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("broker.runtime.serving.DRAIN_EVERY", 0.0)
    store = Store(failures=2)
    one = supervisor(tmp_path, store)
    reading, writing = os.pipe()
    os.close(writing)
    async with asyncio.timeout(60):
        await one._hold_lease(reading)
    assert store.asked == 3
    assert one._stopping.is_set()


async def test_a_database_that_never_says_is_not_waited_for_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("broker.runtime.serving.DRAIN_EVERY", 0.0)
    monkeypatch.setattr("broker.runtime.serving.UNTOLD_SECONDS", 0.05)
    async with asyncio.timeout(60):
        await supervisor(tmp_path, Store(failures=10**9))._last_session()
