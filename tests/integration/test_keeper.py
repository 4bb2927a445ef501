"""What a broker that stays does by itself: hears of changes, starts again, finishes stops."""

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from broker import demo
from broker.model import Disk, DiskBus, Machine, MachineKey, MachineSpec, Power, Restart, State
from broker.runtime.wiring import House, open_house, open_service
from broker.service.port import Service
from broker.vm.paths import VmPaths
from tests.guests import DEAF, logged, needs_qemu, qmp

pytestmark = [pytest.mark.qemu, needs_qemu]

PATIENCE = 60.0


@pytest.fixture(autouse=True)
def nobody_polls(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is seen here is heard, not asked for."""
    monkeypatch.setenv("BROKER_SOURCES_REFRESH_LOCAL", "3600")
    monkeypatch.setenv("BROKER_VM_STOP_TIMEOUT", "1")


@pytest.fixture
def spec(broker_home: Path) -> MachineSpec:
    """A demo guest."""
    return demo.machine_spec(demo.write_image(broker_home / "demo.img"))


@pytest.fixture
async def service() -> AsyncIterator[Service]:
    """A broker that stays; what it runs is killed at the end."""
    async with open_service(watch=True) as opened:
        yield opened
    await nothing_runs()


async def nothing_runs() -> None:
    async with open_service() as service:
        for info in await service.consoles():
            await service.kill(info.machine.key)


async def seen(service: Service, key: MachineKey, *states: State, not_pid: int = 0) -> Machine:
    """Wait until the store shows the machine so; nobody is asked."""
    async with asyncio.timeout(PATIENCE):
        async for _ in service.changes():
            machine = (await service.find(key.uuid)).machine
            if machine.state in states and machine.pid != not_pid:
                return machine
    raise AssertionError("changes never end")


async def kinds(service: Service) -> list[str]:
    return [event.kind.value for event in await service.events()]


async def told_last(service: Service, *last: str) -> None:
    """Wait until the audit log ends so: a state may be heard of before the deed is written down."""
    async with asyncio.timeout(PATIENCE):
        while (await kinds(service))[-len(last) :] != list(last):  # noqa: ASYNC110 - see above
            await asyncio.sleep(0.05)


async def started(service: Service, spec: MachineSpec) -> Machine:
    machine = await service.start((await service.define(spec)).key)
    await logged(paths_of(machine).serial_log, demo.BANNER)
    return machine


def paths_of(machine: Machine) -> VmPaths:
    run = Path(str(machine.target.control_path)).parent  # type: ignore[union-attr]  # a hand-over
    return VmPaths(run, run)


async def test_what_happens_to_a_vm_is_seen_without_asking(
    service: Service, spec: MachineSpec
) -> None:
    machine = await started(service, spec)
    await watched(machine)
    for command, state in (("stop", State.PAUSED), ("cont", State.RUNNING)):
        await qmp(paths_of(machine).qmp, command)
        await seen(service, machine.key, state)
    await qmp(paths_of(machine).qmp, "system_powerdown")
    await seen(service, machine.key, State.STOPPED)
    await told_last(service, "machine.stopped")


async def watched(machine: Machine) -> None:
    """Wait until somebody stays at the VM's event monitor: a second client gets no greeting."""
    async with asyncio.timeout(PATIENCE):
        while True:
            reader, writer = await asyncio.open_unix_connection(paths_of(machine).evt)
            try:
                async with asyncio.timeout(0.3):
                    await reader.readline()
            except TimeoutError:
                return
            finally:
                writer.close()
                with contextlib.suppress(OSError):
                    await writer.wait_closed()


async def test_a_crash_is_seen_with_its_reason_and_left_alone(
    service: Service, spec: MachineSpec
) -> None:
    machine = await started(service, spec)
    await seen(service, machine.key, State.RUNNING)
    os.kill(machine.pid or 0, signal.SIGSEGV)
    crashed = await seen(service, machine.key, State.CRASHED)
    assert (crashed.reason, crashed.pid) == ("QEMU ended: killed by SIGSEGV", None)


async def test_a_crash_is_followed_by_a_start_where_the_policy_says_so(
    service: Service, spec: MachineSpec
) -> None:
    machine = await started(service, replace(spec, restart=Restart.ON_CRASH))
    os.kill(machine.pid or 0, signal.SIGKILL)
    again = await seen(service, machine.key, State.RUNNING, not_pid=machine.pid or 0)
    await told_last(service, "machine.crashed", "machine.started")
    assert f"-uuid {spec.uuid}" in await service.machine_log(again.key, previous=True)
    await service.stop(again.key)
    assert (await service.find(again.key.uuid)).machine.state is State.STOPPED


async def test_a_guest_that_powers_off_is_started_again_where_it_is_always_to_run(
    service: Service, spec: MachineSpec
) -> None:
    machine = await started(service, replace(spec, restart=Restart.ALWAYS))
    await qmp(paths_of(machine).qmp, "system_powerdown")
    await seen(service, machine.key, State.RUNNING, not_pid=machine.pid or 0)
    await told_last(service, "machine.stopped", "machine.started")


async def test_a_stop_nobody_waits_for_is_finished(
    service: Service, spec: MachineSpec, broker_home: Path
) -> None:
    """By a guest that never hears its button; `vm.stop_timeout` is a second."""
    image = broker_home / "deaf.img"
    image.write_bytes(DEAF)
    disk = Disk(str(image), "raw", DiskBus.SATA, snapshot=True)
    machine = await service.start((await service.define(replace(spec, disks=(disk,)))).key)
    asked = await service.stop(machine.key, wait=False)
    assert asked.state is State.RUNNING
    await seen(service, machine.key, State.STOPPED)
    await told_last(service, "machine.stopped")
    (last,) = (await service.events())[-1:]
    assert last.text.endswith("stopped (it is still on after 1 s; telling QEMU to quit)")


async def test_a_vm_starts_with_its_host_once(spec: MachineSpec) -> None:
    """Defining it starts nothing; the next boot does (its note is of another one), and once."""
    try:
        async with open_service() as service:
            key = (await service.define(replace(spec, autostart=True))).key
            (note,) = _notes()
            note.write_text("another boot")
        async with open_service(watch=True) as service:
            await seen(service, key, State.RUNNING)
            await service.stop(key)
        async with open_house() as house:
            assert not await _is_due(house, key)
    finally:
        await nothing_runs()


def _notes() -> list[Path]:
    return list(Path(os.environ["BROKER_HOME"]).rglob("autostarted"))


async def _is_due(house: House, key: MachineKey) -> bool:
    await house.inventory.read_file()
    driver = await house.inventory.driver(key.source)
    due: bool = driver.begin_autostart(key.uuid)  # type: ignore[attr-defined]  # the local one
    return due


async def test_two_that_stay_start_one_again_once_and_the_second_takes_over(
    spec: MachineSpec,
) -> None:
    try:
        async with open_service(watch=True) as second:
            async with open_service(watch=True) as first:
                machine = await started(first, replace(spec, restart=Restart.ON_CRASH))
                os.kill(machine.pid or 0, signal.SIGKILL)
                pid = machine.pid or 0
                again = await seen(second, machine.key, State.RUNNING, not_pid=pid)
                async with asyncio.timeout(PATIENCE):
                    while (await kinds(first)).count("machine.started") < 2:  # noqa: ASYNC110 - see above
                        await asyncio.sleep(0.05)
                assert (await kinds(first)).count("machine.started") == 2
            os.kill(again.pid or 0, signal.SIGKILL)
            await seen(second, machine.key, State.RUNNING, not_pid=again.pid or 0)
    finally:
        await nothing_runs()


async def test_what_was_wanted_off_when_its_broker_died_is_ended(spec: MachineSpec) -> None:
    """As a broker leaves it that was killed between the wish and the deed."""
    try:
        async with open_service() as service:
            machine = await started(service, spec)
        async with open_house() as house:
            house.store.put_wanted(machine.key, Power.OFF)
        async with open_service(watch=True) as service:
            await seen(service, machine.key, State.STOPPED)
    finally:
        await nothing_runs()
