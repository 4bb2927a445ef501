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
from broker.proxy.limits import Limits
from broker.runtime import hosting
from broker.runtime.workers import END_SECONDS, Workers


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


class Slow:
    """A program in place of a worker: says `up`, and is ready when told so."""

    def __init__(self, directory: Path, first: str) -> None:
        self._begun: asyncio.Future[asyncio.subprocess.Process] = asyncio.Future()
        self.path = directory / "slow"
        self._up, self._go = directory / "up", directory / "go"
        os.mkfifo(self._up)
        os.mkfifo(self._go)
        self.path.write_text(
            f"#!/bin/sh\n{first}\n"
            'while [ "$1" != --ready-fd ]; do shift; done\n'
            f"echo up > {self._up}\n"
            f"read -r word < {self._go}\n"
            'echo \'{"ready": {}}\' > "/proc/self/fd/$2"\n'
            "exec sleep 300\n"
        )
        self.path.chmod(0o700)

    def begun(self, process: asyncio.subprocess.Process) -> None:
        self._begun.set_result(process)

    async def up(self) -> None:
        await self._begun
        assert await asyncio.to_thread(self._up.read_text) == "up\n"

    async def be_ready(self) -> None:
        await asyncio.to_thread(self._go.write_text, "now\n")

    async def ended(self) -> int:
        async with asyncio.timeout(60):
            return await (await self._begun).wait()


@pytest.fixture
async def slow(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Slow:
    """What workers are instead; the fixture's parameter is what it does first."""
    slow = Slow(tmp_path, getattr(request, "param", ""))
    spawn = asyncio.create_subprocess_exec

    async def remember(*command: Any, **how: Any) -> asyncio.subprocess.Process:
        process = await spawn(*command, **how)
        slow.begun(process)
        return process

    monkeypatch.setattr("broker.runtime.workers.sys.executable", str(slow.path))
    monkeypatch.setattr(asyncio, "create_subprocess_exec", remember)
    return slow


async def test_one_that_hangs_while_it_starts_is_ended_and_said(
    slow: Slow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("broker.runtime.workers.START_SECONDS", 0.2)
    workers = Workers([], SystemClock(), count=1, changed=nobody)
    with pytest.raises(BrokerError, match="not ready within") as caught:
        await workers.keep(0)
    assert "log" in caught.value.fix
    assert await slow.ended() == -signal.SIGTERM
    await workers.end()


@pytest.mark.parametrize(
    ("slow", "seconds", "by"),
    [("", 60, signal.SIGTERM), ("trap '' TERM", 0.2, signal.SIGKILL)],
    ids=["listens", "does-not"],
    indirect=["slow"],
)
async def test_one_that_hangs_while_it_starts_goes_with_its_supervisor(
    slow: Slow, seconds: float, by: signal.Signals, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("broker.runtime.workers.END_SECONDS", seconds)
    workers = Workers([], SystemClock(), count=1, changed=nobody)
    keeping = asyncio.ensure_future(workers.keep(0))
    await slow.up()
    await workers.end()
    keeping.cancel()
    await asyncio.wait([keeping])
    assert await slow.ended() == -by


def test_each_that_ends_another_waits_longer_than_that_one_does() -> None:
    """Else a session that does not end is written down as that of a worker which died."""
    assert Limits().drain_seconds < END_SECONDS < hosting.END_SECONDS


async def test_one_that_is_ready_only_when_all_are_ended_is_ended_too(slow: Slow) -> None:
    workers = Workers([], SystemClock(), count=1, changed=nobody)
    keeping = asyncio.ensure_future(workers.keep(0))
    await slow.up()
    await workers.end()
    await slow.be_ready()
    await keeping
    assert await slow.ended() == -signal.SIGTERM
    assert not workers.first_ready.is_set()
