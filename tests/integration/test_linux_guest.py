"""A real Linux guest: the power button, the serial console, the agent's channel."""

from __future__ import annotations

import pytest

from broker.model import State
from broker.vm.instance import Ending
from tests.guests import Home, logged, needs_qemu
from tests.linux_guest import POWER_BUTTON, needs_linux, run, running_linux

pytestmark = [pytest.mark.qemu, pytest.mark.slow, needs_qemu, needs_linux]


async def test_a_linux_guest_hears_its_power_button_and_powers_off(home: Home) -> None:
    async with running_linux(home) as guest:
        ending = await guest.instance.stop(timeout=60)
        assert POWER_BUTTON in await logged(guest.paths.serial_log, POWER_BUTTON)
        assert (ending, (await guest.instance.look()).state) == (Ending.POWERED_OFF, State.STOPPED)


async def test_its_serial_console_answers(home: Home) -> None:
    async with running_linux(home) as guest:
        assert await run(guest, "uname -s; expr 6 '*' 7") == "Linux\n42\n"
