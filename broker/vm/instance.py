"""One VM's life: start, stop, kill, reset, each safe against any other broker doing the same.

Whoever acts holds the VM's lock. A broker that is killed at any point leaves a QEMU that is found
again, or none; what it leaves behind is cleared by the next start or stop, under the lock and only
when nobody holds the pidfile.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from broker.clock import Clock, SystemClock
from broker.errors import VmUnresponsive
from broker.model import MachineSpec, State
from broker.vm import lock, process, record
from broker.vm.launch import finish, launch
from broker.vm.look import LOOK_SECONDS, Seen, look
from broker.vm.monitor import CommandRefused, Monitor, MonitorGone, conversation
from broker.vm.paths import VmPaths, cannot_use
from broker.vm.process import Process

log = logging.getLogger(__name__)

_MAY_HEAR_THE_BUTTON: Final = frozenset(
    {State.STARTING, State.RUNNING, State.SUSPENDED, State.BUSY, State.UNRESPONSIVE}
)

_GUEST_IS_GONE: Final = frozenset({State.SHUTDOWN, State.CRASHED})
_FIRST_PAUSE: Final = 0.5
"""Seconds until the power button is pressed again; doubled each time."""


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
class Instance:
    """A VM on this host. Making one touches nothing; several may stand for the same VM.

    Attributes:
        qemu: Name or path of the emulator.
    """

    spec: MachineSpec
    paths: VmPaths
    qemu: str = "qemu-system-x86_64"
    clock: Clock = field(default_factory=SystemClock)
    patience: Patience = field(default_factory=Patience)

    async def look(self) -> Seen:
        """The state it is in now."""
        return await look(self.spec.name, self.paths, timeout=self.patience.answer)

    async def start(self) -> Seen | None:
        """Have it running; returns when its monitor answers. One that runs is left alone.

        With `accel: auto` a KVM that fails is followed by TCG, and `Seen.reason` says so.

        Returns:
            As what it was seen when it answered; None when it ran already.

        Raises:
            VmStartFailed: QEMU is missing, or ended at once; its own words are in it.
            StoreError: A directory of ours cannot be used.
            Unreachable: Another broker holds the VM for too long.
        """
        self.paths.prepare()
        async with self._action():
            found = process.find(self.paths.pid)
            if found is not None and await self._is_up(found):
                return None
            self._clear()
            return await launch(
                self.spec,
                self.paths,
                qemu=self.qemu,
                clock=self.clock,
                start_seconds=self.patience.start,
            )

    async def stop(self, *, timeout: float) -> Ending:
        """Switch it off: power button, then `quit`, then SIGTERM, then SIGKILL.

        Args:
            timeout: Seconds the guest has after its power button was pressed; 0 does not press it.

        Returns:
            What it took. A crashed VM counts as off, and is shown as stopped from then on.

        Raises:
            VmUnresponsive: The kernel will not let go of the process.
        """
        if not self.paths.run.exists():
            return Ending.WAS_OFF
        async with self._action():
            found = process.find(self.paths.pid)
            ending = await self._end(found, timeout) if found else Ending.WAS_OFF
            self._clear()
            return ending

    async def kill(self) -> Ending:
        """Switch it off at once, even while another broker waits for its guest.

        Raises:
            VmUnresponsive: The kernel will not let go of the process.
        """
        if not self.paths.run.exists():
            return Ending.WAS_OFF
        found = process.find(self.paths.pid)
        if found is not None:
            await self._kill(found)
        async with self._action():
            self._clear()
        return Ending.KILLED if found else Ending.WAS_OFF

    async def reset(self) -> None:
        """Press its reset button.

        Raises:
            MonitorGone: It is off.
            VmUnresponsive: QEMU does not answer.
        """
        async with self._talk() as monitor:
            await monitor.reset()

    def _action(self) -> contextlib.AbstractAsyncContextManager[None]:
        return lock.action(self.paths.lock, self.spec.name, timeout=self.patience.lock)

    def _talk(self) -> contextlib.AbstractAsyncContextManager[Monitor]:
        name, seconds = self.spec.name, self.patience.answer
        return conversation(self.paths.qmp, name=name, timeout=seconds)

    async def _is_up(self, found: Process) -> bool:
        """Have a QEMU that lives do its work; False when it ended before it could.

        One whose broker was killed too early is awaited; one that outlived its guest's power-off
        or panic starts the guest again; others are left alone.
        """
        state = (await self.look()).state
        if state is State.STARTING:
            name, seconds = self.spec.name, self.patience.start
            return await finish(name, found, self.paths, start_seconds=seconds)
        if not process.alive(found):
            return False
        if state in _GUEST_IS_GONE:
            async with self._talk() as monitor:
                await monitor.reset()
                await monitor.resume()
        return True

    async def _end(self, found: Process, grace: float) -> Ending:
        """From the gentlest step to the hardest, until it is gone."""
        for ending, step in ((Ending.POWERED_OFF, self._power_off), (Ending.QUIT, self._quit)):
            with contextlib.suppress(VmUnresponsive, MonitorGone, CommandRefused):
                if await step(found, grace):
                    return ending
            if not process.alive(found):
                return ending
        log.warning("%s: QEMU does not quit, sending SIGTERM to %d", self.spec.name, found.pid)
        process.send(found, signal.SIGTERM)
        # One that is held cannot hear it.
        if not process.is_stopped(found) and await process.wait_gone(found, self.patience.end):
            return Ending.TERMINATED
        log.warning("%s: QEMU does not end, sending SIGKILL to %d", self.spec.name, found.pid)
        await self._kill(found)
        return Ending.KILLED

    async def _power_off(self, found: Process, grace: float) -> bool:
        """Whether the guest went within its grace; one that is paused or off is not asked.

        A QEMU that does not answer has its grace too: it may be slow, and a guest's data with it.
        """
        if grace <= 0 or (await self.look()).state not in _MAY_HEAR_THE_BUTTON:
            return False
        log.info("%s: pressing the power button, waiting up to %g s", self.spec.name, grace)
        pause = _FIRST_PAUSE
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(grace):
                while True:
                    with contextlib.suppress(VmUnresponsive, MonitorGone, CommandRefused):
                        await self._press_power_button()
                    if await process.wait_gone(found, pause):
                        return True
                    pause *= 2  # then again: a guest that was still booting has not heard it
        return False

    async def _press_power_button(self) -> None:
        async with self._talk() as monitor:
            await monitor.powerdown()

    async def _quit(self, found: Process, _grace: float) -> bool:
        log.info("%s: telling QEMU to quit", self.spec.name)
        async with self._talk() as monitor:
            await monitor.quit()
        return await process.wait_gone(found, self.patience.end)

    async def _kill(self, found: Process) -> None:
        process.send(found, signal.SIGKILL)
        if not await process.wait_gone(found, self.patience.gone):
            raise VmUnresponsive(
                f"{self.spec.name}: process {found.pid} does not end, not even by SIGKILL",
                fix="It waits for a disk or a device in the kernel: mend that, or restart the host",
            )

    def _clear(self) -> None:
        """Take away what a run left, unless one is on; logs stay. The lock is held."""
        record.note_end(self.paths.running)  # reaps a child of ours
        if process.find(self.paths.pid) is not None:
            return
        paths = self.paths
        for path in (paths.qmp, paths.ctl, paths.serial, paths.running, paths.pid):
            try:
                path.unlink(missing_ok=True)
            except OSError as exc:
                raise cannot_use(path, exc) from exc
