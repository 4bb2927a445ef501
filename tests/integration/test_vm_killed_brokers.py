"""Brokers killed anywhere in a start or a stop, many times over: no VM is lost, none doubled.

A nursery has everything imported and forks a broker for each trial, so that a kill falls into its
work and not into Python's start. Each broker is a whole one: store, wishes, locks, driver.
"""

import asyncio
import contextlib
import os
import random
import sys
import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from broker import demo
from broker.model import Machine, MachineId, MachineSpec, State
from broker.runtime.wiring import open_service
from broker.vm.instance import Instance
from broker.vm.paths import VmPaths
from tests.guests import needs_qemu, qemus_of

pytestmark = [pytest.mark.qemu, needs_qemu]

NURSERY = """
import asyncio, os, select, signal, sys, time
from broker.runtime.wiring import open_service
import broker.service.embedded, broker.vm.instance, broker.vm.launch, sources.local

async def act(verb, uuid):
    async with open_service() as service:
        machine = (await service.find(uuid)).machine
        await (service.start(machine.key) if verb == "start" else service.stop(machine.key))

for line in sys.stdin:
    verb, uuid, seconds = line.split()
    child = os.fork()
    if child == 0:
        asyncio.run(act(verb, uuid))
        os._exit(0)
    ended = os.pidfd_open(child)
    done, _, _ = select.select([ended], [], [], float(seconds))
    if not done:
        os.kill(child, signal.SIGKILL)
    os.close(ended)
    os.waitpid(child, 0)
    print("ended" if done else "killed", flush=True)
"""
LONGEST = {"start": 0.35, "stop": 0.2}
"""Seconds; a start or a stop takes about so long on a quiet machine."""


class Nursery:
    """Where brokers are born to be killed."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def let_one(self, verb: str, machine: Machine, seconds: float) -> str:
        """A broker that does that, killed after so long; whether it was, or had ended."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{verb} {machine.key.uuid} {seconds:.4f}\n".encode())
        async with asyncio.timeout(60):
            return (await self._process.stdout.readline()).decode().strip()


@pytest.fixture
async def nursery() -> AsyncIterator[Nursery]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-c", NURSERY),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    yield Nursery(process)
    assert process.stdin is not None
    process.stdin.close()
    with contextlib.suppress(ProcessLookupError):
        process.kill()
    await process.wait()


@pytest.fixture
def spec(broker_home: Path) -> MachineSpec:
    """A demo guest with a uuid of its own: its QEMUs are counted by that."""
    image = demo.write_image(broker_home / "demo.img")
    return demo.machine_spec(image, uuid=MachineId(str(uuid.uuid4())))


async def trials(nursery: Nursery, spec: MachineSpec, verb: str, count: int, seed: int) -> None:
    """So many brokers, each killed at a time of its own, and what the next one finds."""
    chance = random.Random(seed)
    killed = 0
    async with open_service() as service:
        machine = await service.define(spec)
        instance = _instance(machine, spec)
        try:
            for number in range(count):
                if verb == "stop":
                    await service.start(machine.key)
                after = chance.uniform(0, LONGEST[verb])
                killed += await nursery.let_one(verb, machine, after) == "killed"
                about = f"seed {seed}, number {number}, killed after {after:.4f} s"
                if verb == "start":
                    seen = await service.start(machine.key)
                    assert (seen.state, [seen.pid]) == (State.RUNNING, await _ours(instance)), about
                    await service.kill(machine.key)
                else:
                    seen = await service.stop(machine.key, timeout=0)
                    assert (seen.state, seen.pid) == (State.STOPPED, None), about
                assert await _ours(instance) == [], about
        finally:
            await service.kill(machine.key)
    assert killed > count / 10, "too few were killed while they worked to prove anything"


def _instance(machine: Machine, spec: MachineSpec) -> Instance:
    run = Path(str(machine.target.control_path)).parent  # type: ignore[union-attr]  # a hand-over
    return Instance(spec, VmPaths(run, run))


async def _ours(instance: Instance) -> list[int]:
    """Its QEMUs, once one that lost against another has ended."""
    async with asyncio.timeout(60):
        while len(found := qemus_of(instance)) > 1:  # noqa: ASYNC110 - no event says so
            await asyncio.sleep(0.01)
    return found


@pytest.mark.parametrize("verb", ["start", "stop"])
async def test_brokers_killed_anywhere_lose_and_double_nothing(
    nursery: Nursery, spec: MachineSpec, verb: str
) -> None:
    await trials(nursery, spec, verb, count=25, seed=os.getpid())


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("verb", ["start", "stop"])
async def test_brokers_killed_anywhere_five_hundred_times(
    nursery: Nursery, spec: MachineSpec, verb: str
) -> None:
    await trials(nursery, spec, verb, count=500, seed=os.getpid())
