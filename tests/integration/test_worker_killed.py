"""A relay worker that is killed: what it may cost, and when (docs/security.md, "VMs stay alive").

The kernel closes a killed process's sockets, and a display that is cut between its ticket and
SET_ACK takes QEMU along. So the supervisor has a copy of what must not end (`runtime.spares`).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import ssl
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random

import pytest

from broker import pki
from broker.clock import SystemClock
from broker.runtime.spares import SpareHolder
from broker.spice.client import ChannelClient, MessageReceived, SurfaceCreated
from broker.spice.constants import ChannelType
from tests.adversary.link import Way, assault
from tests.adversary.machines import KINDS, Machine, machine, sees_a_picture
from tests.adversary.plays import BEGIN
from tests.adversary.relay import TARGET
from tests.broker.proxy.rig import Connection
from tests.stopping import on_hold

pytestmark = pytest.mark.qemu

KILLS = int(os.environ.get("WORKER_KILLS", "60"))
SPREAD_SECONDS = 0.02
"""Kills fall into this time after a viewer has said all that begins a display."""


@dataclass(frozen=True)
class Tls:
    """To a proxy of another process."""

    port: int
    context: ssl.SSLContext
    ticket: str

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection(
            "127.0.0.1", self.port, ssl=self.context, server_hostname="localhost"
        )

    def another(self) -> Way:
        return self


@dataclass
class Worker:
    process: asyncio.subprocess.Process
    way: Tls

    async def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()
        await self.process.communicate()
        self.process._transport.close()  # type: ignore[attr-defined]  # its pipes, at once


@contextlib.asynccontextmanager
async def worker_for(
    made: Machine, directory: Path, holder: SpareHolder | None = None
) -> AsyncIterator[Worker]:
    identity = pki.ensure_identity(directory / "pki", ["localhost"], SystemClock())
    command = [sys.executable, "-m", "tests.adversary.relay", str(directory)]
    command += [TARGET.dump_json(made.target).decode(), made.ticket]
    with contextlib.ExitStack() as held:
        inherited = [held.enter_context(holder.line()).fileno()] if holder else []
        process = await asyncio.create_subprocess_exec(
            *(*command, *map(str, inherited)),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            pass_fds=inherited,
        )
    assert process.stdout is not None
    async with asyncio.timeout(60):
        port = int(await process.stdout.readline())
    trusts = ssl.create_default_context(cafile=identity.ca_path)
    worker = Worker(process, Tls(port, trusts, "t0"))
    try:
        yield worker
    finally:
        await worker.kill()


async def test_a_worker_killed_while_people_watch_harms_no_machine(tmp_path: Path) -> None:
    async with machine("tcp", tmp_path) as made:
        for _ in range(3):
            async with worker_for(made, tmp_path) as worker, assault(worker.way) as them:
                _, session = await them.main()
                link = await them.connect()
                client = ChannelClient(ChannelType.DISPLAY, b"t0", connection_id=session)
                display = Connection(client, link.reader, link.writer)
                await display.flush()
                await display.until(SurfaceCreated)
                await display.until(MessageReceived)
                await worker.kill()
                assert not await made.harm()


@pytest.mark.parametrize("said", ["nothing", "request", "ticket"])
async def test_a_worker_killed_before_a_display_crosses_harms_no_machine(
    said: str, tmp_path: Path
) -> None:
    """The backend's ticket is held back until INIT is here, so until then nothing can happen."""
    async with (
        machine("tcp", tmp_path) as made,
        worker_for(made, tmp_path) as worker,
        assault(worker.way) as them,
    ):
        _, session = await them.main()
        if said == "ticket":
            await them.linked(ChannelType.DISPLAY, session)
        elif said == "request":
            link = await them.connect()
            await link.request(ChannelType.DISPLAY, session)
            await link.sealed("t0")
        await worker.kill()
        assert not await made.harm()


@contextlib.contextmanager
def halted(made: Machine) -> Iterator[None]:
    """The machine's process stands still, so that what is under way to it stays so."""
    with on_hold(made.qemu.process.pid):
        yield


async def until(condition: Callable[[], object]) -> None:
    """Wait for what only the kernel knows."""
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.005)


ESTABLISHED, CLOSE_WAIT = "01", "08"


def connections(port: int) -> list[tuple[str, int]]:
    """State and unread bytes of each connection that came to that local port."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return [
        (row[3], int(row[4].partition(":")[2], 16))
        for row in rows
        if int(row[1].partition(":")[2], 16) == port and row[3] in (ESTABLISHED, CLOSE_WAIT)
    ]


@pytest.mark.parametrize(("kept", "left"), [(True, ESTABLISHED), (False, CLOSE_WAIT)])
async def test_what_the_kernel_does_with_a_display_whose_worker_is_killed(
    kept: bool, left: str, tmp_path: Path
) -> None:
    holder = SpareHolder() if kept else None
    async with machine("tcp", tmp_path) as made:
        async with worker_for(made, tmp_path, holder) as worker, assault(worker.way) as them:
            _, session = await them.main()
            display = await them.linked(ChannelType.DISPLAY, session)
            with halted(made):
                await display.say(BEGIN)
                await until(lambda: any(unread for _, unread in connections(made.port)))
                await worker.kill()
                states = [state for state, _ in connections(made.port)]
                assert states == [left] * 2  # MAIN's and the display's
        if holder is not None:
            await holder.let_go()


@pytest.mark.parametrize("kind", KINDS)
async def test_a_worker_killed_while_a_display_crosses_harms_no_machine(
    kind: str, tmp_path: Path
) -> None:
    holder = SpareHolder()
    async with machine(kind, tmp_path) as made:
        async with (
            worker_for(made, tmp_path, holder) as worker,
            assault(worker.way) as them,
        ):
            _, session = await them.main()
            display = await them.linked(ChannelType.DISPLAY, session)
            with halted(made):
                await display.say(BEGIN)
                await until(lambda: holder.count)
                await worker.kill()
            assert not await made.harm()
        await holder.let_go()
        assert not await made.harm()
        async with worker_for(made, tmp_path, holder) as worker:
            await sees_a_picture(worker.way)
            await until(lambda: not holder.count)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("kind", KINDS)
async def test_workers_killed_by_the_hundred_harm_no_machine(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each at a moment of its own, from before a display's ticket to after its picture."""
    draw, holder, kept = Random(kind), SpareHolder(), 0
    async with machine(kind, tmp_path) as made:
        for number in range(KILLS):
            moment = draw.uniform(0, SPREAD_SECONDS)
            async with (
                worker_for(made, tmp_path, holder) as worker,
                assault(worker.way) as them,
            ):
                _, session = await them.main()
                display = await them.linked(ChannelType.DISPLAY, session)
                await display.say(BEGIN)
                await asyncio.sleep(moment)  # the moment is what is drawn
                await worker.kill()
                await asyncio.sleep(0)  # until the holder has heard of it
                kept += holder.count
                assert not await made.harm(), f"killed after {moment * 1000:.1f} ms (kill {number})"
            await holder.let_go()
            assert not await made.harm(), f"killed after {moment * 1000:.1f} ms (kill {number})"
    with capsys.disabled():
        print(  # noqa: T201 - the number is the point
            f"\n{kind}: 0 machines died of {KILLS} workers killed within "
            f"{SPREAD_SECONDS * 1000:.0f} ms of DISPLAY_INIT; {kept} times a display was opening"
        )
