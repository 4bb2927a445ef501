"""Relay workers that cannot be started: what is said, and who goes on."""

import asyncio
import errno
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from broker.clock import SystemClock
from broker.errors import BrokerError
from broker.runtime.workers import Workers


async def nobody(_: int | None) -> None:
    raise AssertionError("none came")


@pytest.fixture
def tries(monkeypatch: pytest.MonkeyPatch) -> asyncio.Queue[int]:
    """Each try to start a process, of which there are too many; the pipe that it was to talk on."""
    tried: asyncio.Queue[int] = asyncio.Queue()
    make, pipes = os.pipe, list[tuple[int, int]]()

    def pipe() -> tuple[int, int]:
        pipes.append(make())
        return pipes[-1]

    async def fail(*_: Any, **__: Any) -> None:
        tried.put_nowait(pipes[-1][0])
        raise OSError(errno.EAGAIN, "Resource temporarily unavailable")

    monkeypatch.setattr("broker.runtime.workers.os.pipe", pipe)
    monkeypatch.setattr(asyncio, "create_subprocess_exec", fail)
    return tried


async def test_a_first_worker_that_cannot_be_started_says_why(tries: asyncio.Queue[int]) -> None:
    workers = Workers([], SystemClock(), count=1, changed=nobody)
    with pytest.raises(BrokerError, match="Resource temporarily") as caught:
        await workers.keep(0)
    assert "limits" in caught.value.fix
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(tries.get_nowait())


async def test_a_later_one_is_tried_again_and_the_others_go_on(
    tries: asyncio.Queue[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("broker.runtime.workers.PAUSES", (0.0,))
    workers = Workers([], SystemClock(), count=2, changed=nobody)
    workers.first_ready.set()
    keeping = asyncio.ensure_future(workers.keep(1))
    try:
        async with asyncio.timeout(60):
            await tries.get()
            await tries.get()
        assert not keeping.done()
    finally:
        keeping.cancel()
        await asyncio.wait([keeping])


async def test_one_that_hangs_while_it_starts_is_ended_and_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hanging = tmp_path / "hanging"
    hanging.write_text("#!/bin/sh\nexec sleep 300\n")
    hanging.chmod(0o700)
    begun = list[asyncio.subprocess.Process]()
    spawn = asyncio.create_subprocess_exec

    async def remember(*command: Any, **how: Any) -> asyncio.subprocess.Process:
        begun.append(await spawn(*command, **how))
        return begun[-1]

    monkeypatch.setattr("broker.runtime.workers.sys.executable", str(hanging))
    monkeypatch.setattr("broker.runtime.workers.START_SECONDS", 0.2)
    monkeypatch.setattr(asyncio, "create_subprocess_exec", remember)
    workers = Workers([], SystemClock(), count=1, changed=nobody)
    with pytest.raises(BrokerError, match="not ready within") as caught:
        await workers.keep(0)
    assert "log" in caught.value.fix
    assert begun[0].returncode == -signal.SIGKILL
    await workers.end()
