"""A VM's life with a real QEMU and the demo guest, under TCG."""

import pytest

from broker import demo
from broker.model import State
from broker.vm.instance import Ending
from tests.guests import Guest, Home, needs_qemu

pytestmark = [pytest.mark.qemu, needs_qemu]


async def test_the_guest_says_its_banner_on_the_serial_port(demo_guest: Guest) -> None:
    assert demo.BANNER in demo_guest.paths.serial_log.read_bytes()


async def test_a_key_toggles_the_block_and_is_answered(demo_guest: Guest) -> None:
    await demo_guest.press_key()
    first = await demo_guest.serial.line()
    await demo_guest.press_key()
    assert (first, await demo_guest.serial.line()) == (b"K1\n", b"K0\n")


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
