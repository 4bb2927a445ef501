"""A VM that was adopted: looked at, stopped, killed. Somebody else started it.

It is never started again, and nothing is sent to it unless somebody asks for just that: to stop it
is to press its power button and no more, to kill it is another command.
"""

from __future__ import annotations

import signal
from dataclasses import dataclass
from shlex import quote
from typing import Final

from broker.errors import UsageError, VmUnresponsive
from broker.model import State
from broker.vm import process, talk
from broker.vm.adoptions import Adoption
from broker.vm.look import LOOK_SECONDS, STATES, Seen
from broker.vm.monitor import CommandRefused, MonitorGone
from broker.vm.scan import Qemu
from broker.vm.ways import Screen, Ways, say_monitor, ways_of

ANSWER_SECONDS: Final = LOOK_SECONDS
END_SECONDS: Final = 3.0
"""After SIGTERM, before SIGKILL."""
GONE_SECONDS: Final = 10.0
_GONE: Final = Screen(None, "it has ended")


@dataclass(frozen=True, slots=True)
class Look:
    """An adopted VM as it was found.

    Attributes:
        ways: None when it has ended.
    """

    seen: Seen
    ways: Ways | None = None

    @property
    def screen(self) -> Screen:
        """The way to its screen."""
        return self.ways.screen if self.ways is not None else _GONE


async def look(adoption: Adoption, qemu: Qemu | None) -> Look:
    """Its state, asked of its monitor where it has one, else as its process shows it."""
    if qemu is None:
        how = "its QEMU has ended" if adoption.boot == process.boot_id() else "its host restarted"
        forget = f"broker vm forget {quote(adoption.name)}"
        return Look(Seen(State.STOPPED, f"{how}; what was adopted is not started again: {forget}"))
    ways = ways_of(qemu)
    state, reason = await _state(adoption, qemu, ways)
    if qemu.process != adoption.process or not process.alive(qemu.process):
        return await look(adoption, None)
    return Look(Seen(state, reason, adoption.pid, adoption.process.started_at), ways)


async def _state(adoption: Adoption, qemu: Qemu, ways: Ways) -> tuple[State, str]:
    if process.is_stopped(adoption.process):
        return State.UNRESPONSIVE, f"its QEMU is held by a signal; go on: kill -CONT {adoption.pid}"
    if ways.monitor is None:
        return State.RUNNING, "it has no monitor to ask, so all that is known is that its QEMU runs"
    held = qemu.is_held(ways.monitor)
    try:
        said = await talk.status(ways.monitor, name=adoption.name, timeout=ANSWER_SECONDS)
    except VmUnresponsive as exc:
        if held:
            return State.RUNNING, f"another program holds its monitor ({say_monitor(ways.monitor)})"
        return State.UNRESPONSIVE, exc.what
    except (MonitorGone, CommandRefused) as exc:
        return State.RUNNING, f"{exc.what}; its QEMU runs"
    return STATES.get(said, (State.UNKNOWN, f"QEMU says {said}"))


async def press_power_button(adoption: Adoption, qemu: Qemu | None) -> bool:
    """Press it; what the guest makes of it is the guest's affair.

    Returns:
        Whether it was on.

    Raises:
        UsageError: It has no monitor that could be asked.
        VmUnresponsive: The monitor does not answer.
    """
    if qemu is None:
        return False
    try:
        await tell(adoption, qemu, "system_powerdown")
    except VmUnresponsive as exc:
        raise VmUnresponsive(exc.what, fix=f"{exc.fix}. {_harder(adoption)}") from exc
    return True


async def stop(adoption: Adoption, qemu: Qemu | None, *, timeout: float) -> bool:
    """Press its power button, and wait; nothing harder is done to it.

    Args:
        timeout: Seconds the guest has.

    Returns:
        Whether it was on.

    Raises:
        UsageError: It has no monitor that could be asked.
        VmUnresponsive: The guest did not go off, or the monitor does not answer.
    """
    was_on = await press_power_button(adoption, qemu)
    if was_on and not await process.wait_gone(adoption.process, timeout):
        raise VmUnresponsive(
            f"{adoption.name} did not power off within {timeout:g} s, and what was adopted is not"
            " ended unasked",
            fix=_harder(adoption),
        )
    return was_on


async def tell(adoption: Adoption, qemu: Qemu | None, order: str) -> None:
    """Have its monitor carry out an order that is the same in QMP and HMP.

    Raises:
        UsageError: It has ended, or has no monitor that could be told.
        VmUnresponsive: The monitor does not answer.
    """
    if qemu is None:
        raise UsageError(
            f"{adoption.name} has ended, and what was adopted is not started again",
            fix=f"Let it go: broker vm forget {quote(adoption.name)}",
        )
    monitor = ways_of(qemu).monitor
    if monitor is None:
        raise UsageError(
            f"{adoption.name} has no monitor that could be told anything", fix=_harder(adoption)
        )
    await talk.order(monitor, order, name=adoption.name, timeout=ANSWER_SECONDS)


def _harder(adoption: Adoption) -> str:
    kill = f"broker vm kill {quote(adoption.name)}"
    return f"End it with what it has not saved lost: {kill}"


async def kill(adoption: Adoption) -> bool:
    """End it: SIGTERM, which lets QEMU close its images, then SIGKILL; whether it was on.

    Raises:
        VmUnresponsive: The kernel will not let go of the process.
        UsageError: It belongs to another user.
    """
    if not adoption.lives:
        return False
    found = adoption.process
    try:
        if not process.is_stopped(found):  # one that is held cannot hear it
            process.send(found, signal.SIGTERM)
            if await process.wait_gone(found, END_SECONDS):
                return True
        process.send(found, signal.SIGKILL)
    except PermissionError as exc:
        raise UsageError(
            f"{adoption.name} belongs to another user", fix=f"As root: kill {found.pid}"
        ) from exc
    if not await process.wait_gone(found, GONE_SECONDS):
        raise VmUnresponsive(
            f"{adoption.name}: process {found.pid} does not end, not even by SIGKILL",
            fix="It waits for a disk or a device in the kernel: mend that, or restart the host",
        )
    return True
