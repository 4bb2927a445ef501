"""A VM's life with a real QEMU and the demo guest, under TCG."""

import asyncio
import os
import signal
from dataclasses import replace

import pytest

from broker import demo
from broker.model import State
from broker.vm import process
from broker.vm.instance import Ending, Instance
from broker.vm.look import TAKEN
from tests.guests import TEST_PATIENCE, Guest, Home, held, logged, needs_qemu, qemus_of, qmp
from tests.stopping import hold

pytestmark = [pytest.mark.qemu, needs_qemu]

SHORT = replace(TEST_PATIENCE, answer=0.3)
"""For monitors that are known not to answer."""
FIRST_SILENT = replace(TEST_PATIENCE, answer=2.0)
"""For one that does not answer, beside one that does."""
HOPELESS = replace(SHORT, end=0.5)
"""For a QEMU that is known not to end."""


async def pid_of(instance: Instance) -> int:
    pid = (await instance.look()).pid
    assert pid is not None
    return pid


async def reached(instance: Instance, state: State) -> None:
    """Wait until the VM is seen in that state."""
    async with asyncio.timeout(60):
        while (await instance.look()).state is not state:  # noqa: ASYNC110 - no event says so
            await asyncio.sleep(0.01)


async def test_the_guest_says_its_banner_on_the_serial_port(demo_guest: Guest) -> None:
    assert demo.BANNER in demo_guest.paths.serial_log.read_bytes()


async def test_a_key_toggles_the_block_and_is_answered(demo_guest: Guest) -> None:
    await demo_guest.press_key()
    first = await demo_guest.serial.line()
    await demo_guest.press_key()
    assert (first, await demo_guest.serial.line()) == (b"K1\r\n", b"K0\r\n")


async def test_a_running_vm_is_seen_with_its_process(demo_guest: Guest) -> None:
    seen = await demo_guest.instance.look()
    pid = int(demo_guest.paths.pid.read_text())
    assert (seen.state, seen.reason, seen.pid) == (State.RUNNING, "", pid)


async def test_the_guest_powers_off_when_asked(demo_guest: Guest) -> None:
    ending = await demo_guest.instance.stop(timeout=30)
    seen = await demo_guest.instance.look()
    assert (ending, seen.state, seen.pid) == (Ending.POWERED_OFF, State.STOPPED, None)


async def test_a_vm_that_was_never_started_is_stopped(home: Home) -> None:
    instance = home.instance()
    assert (await instance.look()).state is State.STOPPED
    assert await instance.stop(timeout=1) is Ending.WAS_OFF
    assert await instance.kill() is Ending.WAS_OFF


async def test_a_guest_that_hears_nothing_is_ended_by_quit(home: Home) -> None:
    instance = home.deaf()
    await instance.start()
    ending = await instance.stop(timeout=0.2)
    assert (ending, (await instance.look()).state) == (Ending.QUIT, State.STOPPED)


async def test_monitors_that_are_taken_mean_sigterm(home: Home) -> None:
    instance = replace(home.deaf(), patience=SHORT)
    await instance.start()
    async with held(instance.paths.qmp), held(instance.paths.ctl):
        ending = await instance.stop(timeout=0.2)
    assert (ending, (await instance.look()).state) == (Ending.TERMINATED, State.STOPPED)


async def test_a_monitor_that_is_taken_has_a_second_one_beside_it(home: Home) -> None:
    instance = replace(home.deaf(), patience=FIRST_SILENT)
    await instance.start()
    async with held(instance.paths.qmp):
        ending = await instance.stop(timeout=0.2)
    assert (ending, (await instance.look()).state) == (Ending.QUIT, State.STOPPED)


async def test_a_qemu_that_is_held_means_sigkill(demo_guest: Guest) -> None:
    instance = replace(demo_guest.instance, patience=HOPELESS)
    hold(await pid_of(instance))
    ending = await instance.stop(timeout=0.2)
    assert (ending, (await instance.look()).state) == (Ending.KILLED, State.STOPPED)


async def test_a_qemu_that_is_only_slow_to_answer_has_its_grace(demo_guest: Guest) -> None:
    instance = replace(demo_guest.instance, patience=SHORT)
    hold(pid := await pid_of(instance))
    async with asyncio.TaskGroup() as group:
        stopping = group.create_task(instance.stop(timeout=60))
        await asyncio.sleep(1)  # past its first look and press; right either way
        os.kill(pid, signal.SIGCONT)
    assert stopping.result() is Ending.POWERED_OFF


async def test_kill_leaves_nothing_but_logs(demo_guest: Guest) -> None:
    pid = await pid_of(demo_guest.instance)
    assert await demo_guest.instance.kill() is Ending.KILLED
    left = sorted(path.name for path in demo_guest.paths.run.iterdir())
    assert left == ["lock", "qemu.log", "serial.log"]
    assert (process.of_pid(pid), (await demo_guest.instance.look()).state) == (None, State.STOPPED)


async def test_kill_does_not_wait_for_a_patient_stop(home: Home) -> None:
    instance = home.deaf()
    await instance.start()
    async with asyncio.TaskGroup() as group:
        group.create_task(instance.stop(timeout=3600))
        await asyncio.sleep(0)  # eager or not, it has begun
        await instance.kill()
    assert (await instance.look()).state is State.STOPPED


async def test_reset_boots_the_guest_anew(demo_guest: Guest) -> None:
    await demo_guest.instance.reset()
    await demo_guest.serial.until(demo.BANNER)
    assert (await demo_guest.instance.look()).state is State.RUNNING


async def test_logs_of_the_run_before_are_kept(home: Home) -> None:
    instance = home.instance()
    for _ in range(2):
        await instance.start()
        await instance.kill()
    assert sorted(path.name for path in instance.paths.run.iterdir()) == [
        "lock",
        "qemu.log",
        "qemu.log.1",
        "serial.log",
        "serial.log.1",
    ]


async def test_a_paused_guest_is_seen_paused(demo_guest: Guest) -> None:
    await qmp(demo_guest.paths.qmp, "stop")
    assert (await demo_guest.instance.look()).state is State.PAUSED


async def test_a_paused_guest_is_not_waited_for(demo_guest: Guest) -> None:
    await qmp(demo_guest.paths.qmp, "stop")
    said: list[str] = []
    assert await demo_guest.instance.stop(timeout=3600, tell=said.append) is Ending.QUIT
    assert said == ["a guest that is paused does not hear its power button; telling QEMU to quit"]


async def test_a_guest_that_is_off_in_a_qemu_that_stays_can_be_started_again(home: Home) -> None:
    instance = home.instance(extra_args=("-no-shutdown",))
    try:
        await instance.start()
        await logged(instance.paths.serial_log, demo.BANNER)
        await qmp(instance.paths.qmp, "system_powerdown")
        await reached(instance, State.SHUTDOWN)
        await instance.start()
        assert (await instance.look()).state is State.RUNNING
        assert await instance.stop(timeout=0) is Ending.QUIT
    finally:
        await instance.kill()


async def test_a_qemu_that_was_killed_has_crashed_and_says_how(demo_guest: Guest) -> None:
    os.kill(await pid_of(demo_guest.instance), signal.SIGKILL)
    await reached(demo_guest.instance, State.CRASHED)
    seen = await demo_guest.instance.look()
    assert (seen.state, seen.reason) == (State.CRASHED, "QEMU ended: killed by SIGKILL")


async def test_a_crashed_vm_starts_again(demo_guest: Guest) -> None:
    os.kill(await pid_of(demo_guest.instance), signal.SIGKILL)
    await reached(demo_guest.instance, State.CRASHED)
    await demo_guest.instance.start()
    assert (await demo_guest.instance.look()).state is State.RUNNING


async def test_stopping_a_crashed_vm_makes_it_a_stopped_one(demo_guest: Guest) -> None:
    os.kill(await pid_of(demo_guest.instance), signal.SIGKILL)
    await reached(demo_guest.instance, State.CRASHED)
    assert await demo_guest.instance.stop(timeout=1) is Ending.WAS_OFF
    assert (await demo_guest.instance.look()).state is State.STOPPED


async def test_a_qemu_that_is_held_is_unresponsive_and_says_by_what(demo_guest: Guest) -> None:
    instance = replace(demo_guest.instance, patience=SHORT)
    hold(pid := await pid_of(instance))
    seen = await instance.look()
    os.kill(pid, signal.SIGCONT)
    assert (seen.state, seen.reason) == (
        State.UNRESPONSIVE,
        f"its QEMU is held by a signal; go on: kill -CONT {pid}",
    )
    assert (await demo_guest.instance.look()).state is State.RUNNING


async def test_a_monitor_that_is_taken_is_told_from_a_qemu_that_hangs(demo_guest: Guest) -> None:
    instance = replace(demo_guest.instance, patience=FIRST_SILENT)
    async with held(demo_guest.paths.qmp):
        seen = await instance.look()
    assert (seen.state, seen.reason) == (State.RUNNING, TAKEN)


async def test_a_qemu_that_answers_nowhere_is_unresponsive_and_not_dead(demo_guest: Guest) -> None:
    instance = replace(demo_guest.instance, patience=SHORT)
    async with held(demo_guest.paths.qmp), held(demo_guest.paths.ctl):
        seen = await instance.look()
    assert (seen.state, seen.reason) == (
        State.UNRESPONSIVE,
        "demo: QEMU's monitor did not answer within 0.3 s",
    )


async def test_many_who_look_at_once_all_see(demo_guest: Guest) -> None:
    seen = await asyncio.gather(*(demo_guest.instance.look() for _ in range(20)))
    assert {each.state for each in seen} == {State.RUNNING}


async def test_two_who_start_at_once_start_one(home: Home) -> None:
    instance = home.instance()
    try:
        await asyncio.gather(*(instance.start() for _ in range(4)))
        assert len(qemus_of(instance)) == 1
    finally:
        await instance.kill()


async def test_start_and_stop_at_once_end_in_one_of_both(home: Home) -> None:
    instance = home.instance()
    try:
        await asyncio.gather(instance.start(), instance.stop(timeout=0), instance.start())
        state = (await instance.look()).state
        assert (state, len(qemus_of(instance))) in {(State.RUNNING, 1), (State.STOPPED, 0)}
    finally:
        await instance.kill()
