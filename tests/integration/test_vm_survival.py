"""A VM outlives the broker that started it, wherever that one is killed; none is doubled."""

import asyncio
import contextlib
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from broker.errors import StoreError, Unreachable
from broker.model import State
from broker.vm import lock, process, record
from broker.vm.definitions import Definitions
from broker.vm.instance import Ending, Instance
from broker.vm.look import TAKEN
from tests.guests import Home, held, needs_qemu, qemus_of

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
    async with asyncio.timeout(60):
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
    async with asyncio.timeout(60):
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
    assert (seen.state, seen.reason) == (State.CRASHED, "QEMU ended: killed by SIGKILL")


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


async def test_a_qemu_that_is_not_up_yet_is_awaited_and_not_doubled(
    home: Home, defined: Instance
) -> None:
    """As a broker leaves it that was killed right after the exec."""
    await defined.start()
    (pid,) = qemus_of(defined)
    defined.paths.running.unlink()
    hasty = replace(defined, patience=replace(defined.patience, answer=0.2))
    async with asyncio.TaskGroup() as group, held(defined.paths.qmp):
        assert (await hasty.look()).state is State.STARTING
        group.create_task(hasty.start())
        await asyncio.sleep(0.5)  # past its first look; right either way
    assert (qemus_of(defined), (await defined.look()).state) == ([pid], State.RUNNING)


async def test_a_qemu_that_ends_before_it_is_up_is_started_anew(defined: Instance) -> None:
    await defined.start()
    (pid,) = qemus_of(defined)
    defined.paths.running.unlink()
    hasty = replace(defined, patience=replace(defined.patience, answer=0.2))
    async with asyncio.TaskGroup() as group, held(defined.paths.qmp):
        group.create_task(hasty.start())
        await asyncio.sleep(0.5)  # past its first look; right either way
        os.kill(pid, signal.SIGKILL)
    seen = await defined.look()
    assert (seen.state, [seen.pid]) == (State.RUNNING, qemus_of(defined))
    assert seen.pid != pid


async def test_a_run_that_cannot_be_written_down_is_a_run_all_the_same(
    defined: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise StoreError("run.json cannot be used: No space left on device")

    monkeypatch.setattr(record, "write", full)
    await defined.start()
    assert (await defined.look()).state is State.RUNNING


async def test_whoever_waits_too_long_for_another_broker_is_told(defined: Instance) -> None:
    defined.paths.prepare()
    hasty = replace(defined, patience=replace(defined.patience, lock=0.1))
    async with lock.action(defined.paths.lock, "demo", timeout=1):
        with pytest.raises(Unreachable, match="another broker is still starting or stopping it"):
            await hasty.start()
    assert qemus_of(defined) == []


async def test_a_crowd_at_the_monitor_is_busy_and_not_dead(defined: Instance) -> None:
    """More programs than the socket's backlog holds, none of them of ours."""
    await defined.start()
    async with held(defined.paths.qmp), contextlib.AsyncExitStack() as crowd:
        with contextlib.suppress(BlockingIOError):
            for _ in range(10):
                client = crowd.enter_context(socket.socket(socket.AF_UNIX))
                client.setblocking(False)
                client.connect(str(defined.paths.qmp))
        seen = await replace(defined, patience=replace(defined.patience, answer=2.0)).look()
    assert (seen.state, seen.reason) == (State.RUNNING, TAKEN)
    assert (await defined.look()).state is State.RUNNING
