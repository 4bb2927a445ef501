"""A relay worker that is killed: what it may cost, and when (docs/security.md, "VMs stay alive").

The kernel closes a killed process's sockets. A display between its ticket and SET_ACK is then cut,
and that is what nobody in the dead process can prevent. Everywhere else a kill must be harmless.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import ssl
import sys
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from random import Random

import pytest

from broker import pki
from broker.clock import SystemClock
from broker.spice.client import ChannelClient, MessageReceived, SurfaceCreated
from broker.spice.constants import ChannelType
from tests.adversary.link import Way, assault
from tests.adversary.machines import Machine, machine
from tests.adversary.plays import BEGIN
from tests.broker.proxy.qemu import PASSWORD
from tests.broker.proxy.rig import Connection

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
async def worker_for(made: Machine, directory: Path) -> AsyncIterator[Worker]:
    identity = pki.ensure_identity(directory / "pki", ["localhost"], SystemClock())
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.adversary.relay"),
        *(str(directory), str(made.port), PASSWORD),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    assert process.stdout is not None
    async with asyncio.timeout(30):
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


@pytest.mark.slow
@pytest.mark.timeout(900)
async def test_how_often_a_kill_while_a_display_crosses_costs_the_machine(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Measured, not promised."""
    draw, died, latest = Random("window"), 0, 0.0
    for _ in range(KILLS):
        with tempfile.TemporaryDirectory(prefix="cbk", dir="/tmp") as name:
            moment = draw.uniform(0, SPREAD_SECONDS)
            if await _killed_after(moment, Path(name)):
                died += 1
                latest = max(latest, moment)
    window = died / KILLS * SPREAD_SECONDS
    with capsys.disabled():
        print(  # noqa: T201 - the number is the point
            f"\n{died} of {KILLS} machines died of a worker killed within "
            f"{SPREAD_SECONDS * 1000:.0f} ms of DISPLAY_INIT: a window of about "
            f"{window * 1000:.1f} ms, the latest after {latest * 1000:.1f} ms"
        )


async def _killed_after(moment: float, directory: Path) -> str:
    async with (
        machine("tcp", directory) as made,
        worker_for(made, directory) as worker,
        assault(worker.way) as them,
    ):
        _, session = await them.main()
        display = await them.linked(ChannelType.DISPLAY, session)
        await display.say(BEGIN)
        await asyncio.sleep(moment)
        await worker.kill()
        await asyncio.sleep(0.2)
        return await made.harm()
