"""A VM outlives the broker that started it, wherever that one is killed; none is doubled."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from broker.model import State
from broker.vm import process
from broker.vm.definitions import Definitions
from broker.vm.instance import Ending, Instance
from tests.guests import Home, needs_qemu, qemus_of

pytestmark = [pytest.mark.qemu, needs_qemu]

BROKER = """
import asyncio, sys
from pathlib import Path
from broker.model import MachineId
from broker.vm.definitions import Definitions
from broker.vm.instance import Instance
from broker.vm.paths import VmPaths

async def main(root, uuid, *verbs):
    spec = Definitions(root / "data").spec(MachineId(uuid))
    instance = Instance(spec, VmPaths.of(root / "runtime", root / "data", spec.name, spec.uuid))
    for verb in verbs:
        print(verb, flush=True)
        await (instance.stop(timeout=30) if verb == "stop" else instance.start())
    print("done", flush=True)
    await asyncio.Event().wait()

asyncio.run(main(Path(sys.argv[1]), *sys.argv[2:]))
"""


@contextlib.asynccontextmanager
async def other_broker(
    home: Home, instance: Instance, *verbs: str
) -> AsyncIterator[asyncio.subprocess.Process]:
    """A broker in a process of its own that acts on a VM and then sits; killed at the end."""
    broker = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-c", BROKER, str(home.root), instance.spec.uuid, *verbs),
        stdout=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    try:
        yield broker
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(broker.pid, signal.SIGKILL)  # all of it: QEMU is to be in no group of ours
        await broker.wait()


async def said(broker: asyncio.subprocess.Process, word: str) -> None:
    assert broker.stdout is not None
    async with asyncio.timeout(30):
        await broker.stdout.readuntil(f"{word}\n".encode())


@pytest.fixture
async def defined(home: Home) -> AsyncIterator[Instance]:
    """A demo VM that other processes know of, not started."""
    instance = home.instance()
    Definitions(home.data).add(instance.spec)
    yield instance
    await instance.kill()


async def one_qemu(instance: Instance) -> list[int]:
    """The QEMUs of a VM, once those that lost against another have ended."""
    async with asyncio.timeout(30):
        while len(found := qemus_of(instance)) > 1:  # noqa: ASYNC110 - no event says so
            await asyncio.sleep(0.01)
    return found


async def test_a_vm_survives_its_broker_and_is_found_again(home: Home, defined: Instance) -> None:
    async with other_broker(home, defined, "start") as broker:
        await said(broker, "done")
    seen = await defined.look()
    assert (seen.state, [seen.pid]) == (State.RUNNING, qemus_of(defined))
    assert await defined.stop(timeout=30) in {Ending.POWERED_OFF, Ending.QUIT}


async def test_an_orphan_that_is_killed_has_crashed(home: Home, defined: Instance) -> None:
    async with other_broker(home, defined, "start") as broker:
        await said(broker, "done")
    (pid,) = qemus_of(defined)
    found = process.of_pid(pid)
    assert found is not None
    process.send(found, signal.SIGKILL)
    await process.wait_gone(found, 30)
    seen = await defined.look()
    assert (seen.state, seen.reason) == (State.CRASHED, "QEMU is gone without a farewell")


async def test_two_brokers_that_start_at_once_start_one(home: Home, defined: Instance) -> None:
    async with (
        other_broker(home, defined, "start") as first,
        other_broker(home, defined, "start") as second,
    ):
        await asyncio.gather(said(first, "done"), said(second, "done"), defined.start())
        assert len(qemus_of(defined)) == 1


@pytest.mark.parametrize("milliseconds", range(0, 200, 10))
async def test_a_broker_killed_while_it_starts_loses_and_doubles_nothing(
    home: Home, defined: Instance, milliseconds: int
) -> None:
    async with other_broker(home, defined, "start") as broker:
        await said(broker, "start")
        await asyncio.sleep(milliseconds / 1000)
    await defined.start()
    seen = await defined.look()
    assert (seen.state, [seen.pid]) == (State.RUNNING, await one_qemu(defined))


@pytest.mark.parametrize("milliseconds", range(0, 100, 10))
async def test_a_broker_killed_while_it_stops_can_be_followed_by_another(
    home: Home, defined: Instance, milliseconds: int
) -> None:
    async with other_broker(home, defined, "start", "stop") as broker:
        await said(broker, "stop")
        await asyncio.sleep(milliseconds / 1000)
    await defined.stop(timeout=30)
    assert ((await defined.look()).state, qemus_of(defined)) == (State.STOPPED, [])


async def test_a_stale_pidfile_with_somebody_elses_number_harms_nobody(
    home: Home, defined: Instance
) -> None:
    """Pid reuse: the number in the file lives, and is not ours."""
    bystander = await asyncio.create_subprocess_exec("sleep", "1000")
    try:
        defined.paths.prepare()
        _write(defined.paths.pid, f"{bystander.pid}\n")
        assert (await defined.look()).state is State.CRASHED
        await defined.kill()
        assert bystander.returncode is None
        assert process.of_pid(bystander.pid) is not None
    finally:
        bystander.kill()
        await bystander.wait()


def _write(path: Path, text: str) -> None:
    path.write_text(text)


async def test_a_number_that_was_given_anew_is_not_signalled() -> None:
    other = await asyncio.create_subprocess_exec("sleep", "1000")
    try:
        found = process.of_pid(other.pid)
        assert found is not None
        assert not process.send(process.Process(other.pid, found.ticks - 1), signal.SIGKILL)
        assert process.alive(found)
    finally:
        other.kill()
        await other.wait()
