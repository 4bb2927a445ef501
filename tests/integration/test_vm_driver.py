"""The local driver over a real QEMU: what faces and the service see of a VM's life."""

import os
import signal
from collections.abc import AsyncIterator

import pytest

from broker import demo
from broker.driver import DriverContext
from broker.errors import NoConsole, StoreError, UsageError
from broker.model import Console, Machine, MachineSpec, SourceName, State
from broker.vm import handover
from sources.local import LocalDriver
from tests.fake_clock import FakeClock
from tests.guests import Home, held, logged, needs_qemu
from tests.stopping import hold

pytestmark = [pytest.mark.qemu, needs_qemu]


@pytest.fixture
async def driver(home: Home) -> AsyncIterator[LocalDriver]:
    context = DriverContext(home.root, home.data, home.runtime)
    made = LocalDriver.from_options(SourceName("local"), {}, context)
    yield made
    for machine in await made.machines():
        await made.kill(machine.key.uuid)


@pytest.fixture
async def started(driver: LocalDriver, home: Home) -> MachineSpec:
    spec = home.spec()
    await driver.define(spec)
    await driver.start(spec.uuid)
    return spec


async def only(driver: LocalDriver) -> Machine:
    (machine,) = await driver.machines()
    return machine


async def test_a_whole_life(driver: LocalDriver, started: MachineSpec, home: Home) -> None:
    running = await only(driver)
    assert (running.state, running.reason, running.defined) == (State.RUNNING, "", True)
    assert running.started_at is not None
    await logged(home.instance(started).paths.serial_log, demo.BANNER)
    assert "DEMO READY" in await driver.log(started.uuid, serial=True)
    assert "-name guest=demo" in await driver.log(started.uuid)
    await driver.stop(started.uuid, timeout=30)
    off = await only(driver)
    assert (off.state, off.pid, off.started_at) == (State.STOPPED, None, None)
    assert "-name guest=demo" in await driver.log(started.uuid)
    await driver.delete(started.uuid, keep_disks=False)
    assert list(await driver.machines()) == []


async def test_its_console_is_a_hand_over_that_works(
    driver: LocalDriver, started: MachineSpec
) -> None:
    console = await driver.console(started.uuid)
    target = (await only(driver)).target
    assert target is not None
    assert console == Console(target)
    (await handover.hand_over(getattr(target, "control_path", ""))).close()


async def test_a_running_vm_is_not_deleted(driver: LocalDriver, started: MachineSpec) -> None:
    with pytest.raises(UsageError, match="demo is running") as caught:
        await driver.delete(started.uuid)
    assert caught.value.fix == "Stop it first: broker vm stop demo"
    assert (await only(driver)).state is State.RUNNING


async def test_a_crash_is_shown_with_its_reason_and_has_no_console(
    driver: LocalDriver, started: MachineSpec
) -> None:
    pid = (await only(driver)).pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    while (machine := await only(driver)).state is not State.CRASHED:
        pass
    assert (machine.reason, machine.pid) == ("QEMU ended: killed by SIGKILL", None)
    with pytest.raises(NoConsole, match="demo is crashed"):
        await driver.console(started.uuid)


async def test_one_that_hangs_does_not_hold_up_the_others(
    driver: LocalDriver, started: MachineSpec, home: Home
) -> None:
    await driver.define(other := home.spec("other"))
    await driver.start(other.uuid)
    pid = (await driver.machines())[0].pid
    assert pid is not None
    hold(pid)
    states = {machine.name: machine.state for machine in await driver.machines()}
    os.kill(pid, signal.SIGCONT)
    assert states == {started.name: State.UNRESPONSIVE, "other": State.RUNNING}


async def test_a_running_vm_whose_definition_breaks_can_still_be_stopped(
    driver: LocalDriver, started: MachineSpec, home: Home
) -> None:
    file = home.data / "vms" / "demo" / "machine.yaml"
    file.write_text(f"uuid: {started.uuid}\n")
    broken = await only(driver)
    assert (broken.state, "name is missing" in broken.reason) == (State.RUNNING, True)
    await driver.stop(started.uuid, timeout=30)
    assert (await only(driver)).state is State.ERROR


async def test_a_runtime_directory_open_to_others_is_refused(
    driver: LocalDriver, home: Home
) -> None:
    (home.runtime / "vms").mkdir(mode=0o755)
    await driver.define(spec := home.spec())
    with pytest.raises(StoreError, match="open to other users"):
        await driver.start(spec.uuid)


async def test_what_a_start_saw_is_not_asked_again_at_once_and_soon_is(
    driver: LocalDriver, home: Home
) -> None:
    spec = home.spec()
    clock = FakeClock()
    made = LocalDriver.from_options(
        SourceName("local"), {}, DriverContext(home.root, home.data, home.runtime, clock=clock)
    )
    await driver.define(spec)
    await made.start(spec.uuid)
    paths = home.instance(spec).paths
    async with held(paths.qmp), held(paths.ctl):  # whoever asks now gets no answer
        assert (await made.machine(spec.uuid)).state is State.RUNNING
        clock.forward(1)
        assert (await made.machine(spec.uuid)).state is State.UNRESPONSIVE
    assert (await only(made)).state is State.RUNNING


async def test_what_a_start_saw_is_no_answer_for_one_that_has_ended(
    driver: LocalDriver, home: Home
) -> None:
    spec = home.spec()
    context = DriverContext(home.root, home.data, home.runtime, clock=FakeClock())
    made = LocalDriver.from_options(SourceName("local"), {}, context)
    await driver.define(spec)
    await made.start(spec.uuid)
    await driver.stop(spec.uuid, timeout=0)
    assert (await only(made)).state is State.STOPPED
    await driver.start(spec.uuid)
    assert (await only(made)).pid == (await only(driver)).pid
