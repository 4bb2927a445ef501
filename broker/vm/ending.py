"""Switching a VM off, from the gentlest step to the hardest, and saying which one is next.

Power button, then QEMU's own `quit`, then SIGTERM, then SIGKILL; each only when the one before did
not do. A signal goes to the very process that was found (its number and start time), by a pidfd.
"""

from __future__ import annotations

import contextlib
import logging
import signal
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from broker.errors import VmUnresponsive
from broker.model import State
from broker.vm import orders, process
from broker.vm.look import LOOK_SECONDS, look
from broker.vm.monitor import CommandRefused, MonitorGone
from broker.vm.paths import VmPaths
from broker.vm.process import Process
from broker.within import within

log = logging.getLogger(__name__)

MAY_HEAR_THE_BUTTON: Final = frozenset(
    {State.STARTING, State.RUNNING, State.SUSPENDED, State.BUSY, State.UNRESPONSIVE}
)
_FIRST_PAUSE: Final = 0.5
"""Seconds until the power button is pressed again; doubled each time."""
_NO_ANSWER: Final = (VmUnresponsive, MonitorGone, CommandRefused)

Tell = Callable[[str], None]
"""Told each step as it begins, a sentence without the VM's name and without a full stop."""


class Ending(StrEnum):
    """What it took to switch a VM off."""

    WAS_OFF = "was-off"
    POWERED_OFF = "powered-off"
    """The guest did it when asked."""
    QUIT = "quit"
    """QEMU ended when told; the guest had not."""
    TERMINATED = "terminated"
    """QEMU ended at SIGTERM."""
    KILLED = "killed"


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to wait for what, in seconds.

    Attributes:
        start: From exec to an answer of the monitor.
        answer: For one conversation with the monitor.
        end: After `quit` and after SIGTERM, before the next harder step.
        gone: After SIGKILL, before saying that the kernel holds it.
        lock: For another broker that acts on this VM.
    """

    start: float = 30.0
    answer: float = LOOK_SECONDS
    end: float = 3.0
    gone: float = 10.0
    lock: float = 60.0


@dataclass(frozen=True, slots=True)
class Switch:
    """The way off for one VM. Whoever goes it holds the VM's lock."""

    name: str
    paths: VmPaths
    patience: Patience
    tell: Tell

    async def off(self, found: Process, grace: float) -> Ending:
        """Go from step to step until that process is gone.

        Args:
            grace: Seconds the guest has after its power button was pressed; 0 does not press it.

        Raises:
            VmUnresponsive: The kernel will not let go of the process.
        """
        why = ""
        if grace > 0:
            state = (await look(self.name, self.paths, timeout=self.patience.answer)).state
            if state not in MAY_HEAR_THE_BUTTON:
                why = f"a guest that is {state.value} does not hear its power button; "
            elif await self._power_off(found, grace):
                return Ending.POWERED_OFF
            else:
                why = f"it is still on after {grace:g} s; "
        if not process.alive(found):
            return Ending.POWERED_OFF
        self.tell(f"{why}telling QEMU to quit")
        with contextlib.suppress(*_NO_ANSWER):
            await orders.quit_qemu(self.paths, name=self.name, timeout=self.patience.answer)
            if await process.wait_gone(found, self.patience.end):
                return Ending.QUIT
        if not process.alive(found):
            return Ending.QUIT
        # One that is held cannot hear it.
        if not process.is_stopped(found):
            self.tell(f"QEMU does not quit; sending SIGTERM to process {found.pid}")
            process.send(found, signal.SIGTERM)
            if await process.wait_gone(found, self.patience.end):
                return Ending.TERMINATED
        self.tell(f"QEMU does not end; sending SIGKILL to process {found.pid}")
        await self.kill(found)
        return Ending.KILLED

    async def kill(self, found: Process) -> None:
        """End it at once.

        Raises:
            VmUnresponsive: The kernel will not let go of the process.
        """
        process.send(found, signal.SIGKILL)
        if not await process.wait_gone(found, self.patience.gone):
            raise VmUnresponsive(
                f"{self.name}: process {found.pid} does not end, not even by SIGKILL",
                fix="It waits for a disk or a device in the kernel: mend that, or restart the host",
            )

    async def press(self) -> bool:
        """Press the power button once; False when the guest is in no state to hear it.

        Raises:
            VmUnresponsive: QEMU does not answer.
        """
        seen = await look(self.name, self.paths, timeout=self.patience.answer)
        if seen.state not in MAY_HEAR_THE_BUTTON:
            return False
        with contextlib.suppress(MonitorGone):
            await self._press()
        return True

    async def _power_off(self, found: Process, grace: float) -> bool:
        """Whether the guest went within its grace.

        A QEMU that does not answer has its grace too: it may be slow, and a guest's data with it.
        """
        self.tell(f"pressing the power button; the guest has {grace:g} s")
        pause = _FIRST_PAUSE
        with contextlib.suppress(TimeoutError):
            async with within(grace):
                while True:
                    with contextlib.suppress(*_NO_ANSWER):
                        await self._press()
                    if await process.wait_gone(found, pause):
                        return True
                    pause *= 2  # then again: a guest that was still booting has not heard it
        return False

    async def _press(self) -> None:
        await orders.press_power_button(self.paths, name=self.name, timeout=self.patience.answer)
