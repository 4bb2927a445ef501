"""One VM's life: start, stop, kill, reset, each safe against any other broker doing the same.

Whoever acts holds the VM's lock. A broker that is killed at any point leaves a QEMU that is found
again, or none; what it leaves behind is cleared by the next start or stop, under the lock and only
when nobody holds the pidfile.
"""

from __future__ import annotations

import contextlib
import logging
from dataclasses import dataclass, field
from typing import Final, TypedDict

from broker.clock import Clock, SystemClock
from broker.errors import VmStartFailed
from broker.model import MachineSpec, State
from broker.vm import lock, orders, process, record
from broker.vm.ending import Ending, Patience, Switch, Tell
from broker.vm.launch import finish, launch
from broker.vm.look import ENDING_SECONDS, Seen, find, look
from broker.vm.paths import VmPaths, cannot_use
from broker.vm.process import Process

log = logging.getLogger(__name__)

__all__ = ["Ending", "Instance", "Patience"]

_GUEST_IS_GONE: Final = frozenset({State.SHUTDOWN, State.CRASHED})


class Named(TypedDict):
    """What every order is given."""

    name: str
    timeout: float


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
            As what it was seen when it answered; None when that was so already.

        Raises:
            VmStartFailed: QEMU is missing, or ended at once; its own words are in it.
            StoreError: A directory of ours cannot be used.
            Unreachable: Another broker holds the VM for too long.
        """
        is_new = not self.paths.run.exists()
        self.paths.prepare()
        if is_new:
            self._see_that_none_is_lost()
        async with self._action():
            found = find(self.paths)
            if found is not None:
                state = (await self.look()).state
                if state is State.STARTING:
                    if (seen := await self._finish(found)) is not None:
                        return seen
                elif await self._is_up(found, state):
                    return None
            await self._clear()
            return await launch(
                self.spec,
                self.paths,
                qemu=self.qemu,
                clock=self.clock,
                start_seconds=self.patience.start,
            )

    async def stop(self, *, timeout: float, tell: Tell | None = None) -> Ending:
        """Switch it off: power button, then `quit`, then SIGTERM, then SIGKILL.

        Args:
            timeout: Seconds the guest has after its power button was pressed; 0 does not press it.
            tell: Told each step as it begins.

        Returns:
            What it took. A crashed VM counts as off, and is shown as stopped from then on.

        Raises:
            VmUnresponsive: The kernel will not let go of the process.
        """
        if not self.paths.run.exists():
            return Ending.WAS_OFF
        async with self._action():
            found = find(self.paths)
            ending = await self._switch(tell).off(found, timeout) if found else Ending.WAS_OFF
            await self._clear()
            return ending

    async def ask_to_stop(self) -> bool:
        """Press its power button and wait for nothing.

        Returns:
            Whether there is a guest that may hear it; what it does then is its own affair.

        Raises:
            VmUnresponsive: QEMU does not answer.
        """
        return await self._switch(None).press()

    async def kill(self) -> Ending:
        """Switch it off at once, even while another broker waits for its guest.

        Raises:
            VmUnresponsive: The kernel will not let go of the process.
        """
        if not self.paths.run.exists():
            return Ending.WAS_OFF
        found = find(self.paths)
        if found is not None:
            await self._switch(None).kill(found)
        async with self._action():
            await self._clear()
        return Ending.KILLED if found else Ending.WAS_OFF

    async def pause(self) -> None:
        """Hold its guest's CPUs. See `orders.pause`."""
        state = (await self.look()).state
        await orders.pause(self.paths, state, **self._named())

    async def resume(self) -> None:
        """Let its guest go on. See `orders.resume`."""
        state = (await self.look()).state
        await orders.resume(self.paths, state, **self._named())

    async def reset(self) -> None:
        """Press its reset button. See `orders.reset`."""
        seen = await self.look()
        state = State.STOPPED if seen.pid is None else seen.state
        await orders.reset(self.paths, state, **self._named())

    def is_being_switched(self) -> bool:
        """Whether some broker is starting or stopping it at this moment."""
        return lock.is_taken(self.paths.lock)

    def _action(self) -> contextlib.AbstractAsyncContextManager[None]:
        return lock.action(self.paths.lock, self.spec.name, timeout=self.patience.lock)

    def _switch(self, tell: Tell | None) -> Switch:
        name = self.spec.name
        said = tell or (lambda text: log.info("%s: %s", name, text))
        return Switch(name, self.paths, self.patience, said)

    def _named(self) -> Named:
        return {"name": self.spec.name, "timeout": self.patience.answer}

    async def _finish(self, found: Process) -> Seen | None:
        """See a start through whose broker was killed; None when that QEMU ended."""
        seconds = self.patience.start
        return await finish(self.spec.name, found, self.paths, start_seconds=seconds)

    async def _is_up(self, found: Process, state: State) -> bool:
        """Have a QEMU that lives do its work; False when it ended before it could.

        One that outlived its guest's power-off or panic starts the guest again; others are left
        alone.
        """
        if not process.alive(found):
            return False
        if state in _GUEST_IS_GONE:
            await orders.restart_guest(self.paths, **self._named())
        return True

    def _see_that_none_is_lost(self) -> None:
        """A runtime directory may be taken away under a QEMU that runs: at a logout, say.

        Raises:
            VmStartFailed: One of this VM runs that cannot be reached any more.
        """
        if (lost := process.with_argument(str(self.paths.pid))) is not None:
            raise VmStartFailed(
                f"{self.spec.name}: it runs already as process {lost.pid}, but its sockets were"
                f" removed with {self.paths.run}, so it cannot be reached",
                fix=f"End it and start it anew: kill {lost.pid}. If a logout removed them, keep"
                " your runtime directory: loginctl enable-linger",
            )

    async def _clear(self) -> None:
        """Take away what a run left, unless one is on; logs stay. The lock is held."""
        paths = self.paths
        if find(paths) is not None:
            return
        if (run := record.read(paths.running)) is not None:
            await run.outcome(paths.exit, timeout=ENDING_SECONDS)  # else it is written afterwards
        left = (paths.qmp, paths.ctl, paths.evt, paths.serial, paths.running, paths.exit, paths.pid)
        path = paths.pid
        try:
            with process.seized(paths.pid) as is_ours:
                for path in left if is_ours else ():
                    path.unlink(missing_ok=True)
        except OSError as exc:
            raise cannot_use(path, exc) from exc
