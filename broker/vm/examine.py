"""Looks at one QEMU of this host, from its process to its SPICE server, for `broker doctor`.

Each says what is the matter in words, and harms nothing: a monitor is asked a question and left.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from broker.errors import BrokerError, VmUnresponsive
from broker.findings import Finding, broken, fine, odd
from broker.human import age
from broker.vm import process, talk
from broker.vm.cmdline import Outlet
from broker.vm.look import STATES
from broker.vm.monitor import CommandRefused, MonitorGone
from broker.vm.process import Process
from broker.vm.ways import say_monitor

ANSWER_SECONDS: Final = 3.0
NO_SPICE: Final = "Start it with SPICE; for one started by hand, add: -spice agent-mouse=on"


@dataclass(frozen=True, slots=True)
class Patient:
    """A VM of this host, as far as it is looked at here.

    Attributes:
        process: Its QEMU; None when it is off.
        monitor: The one that its screen is handed over by, or that is asked; None without any.
        needs_monitor: Its screen cannot be reached without it.
        off: What to do when it is off.
        is_held: Whether another program is at the monitor now.
    """

    name: str
    process: Process | None
    monitor: Outlet | None
    needs_monitor: bool
    off: str
    is_held: Callable[[], bool] = field(default=lambda: False)


def look_at_process(patient: Patient) -> Finding:
    """Whether it lives, and may run."""
    found = patient.process
    if found is None or not process.alive(found):
        return broken("its QEMU does not run", patient.off)
    if process.is_stopped(found):
        return broken(
            f"process {found.pid} is held by a signal or a debugger, so it answers nothing",
            f"Let it go on: kill -CONT {found.pid}",
        )
    return fine(f"process {found.pid}, up {age(found.age)}")


async def look_at_monitor(patient: Patient) -> Finding:
    """Whether its monitor answers; one that is held by another program is told from a hung one."""
    at = patient.monitor
    if at is None:
        return odd("it has no monitor that could be asked", "It can be seen and killed, no more")
    held = patient.is_held()
    try:
        said = await talk.status(at, name=patient.name, timeout=ANSWER_SECONDS)
    except (VmUnresponsive, MonitorGone, CommandRefused) as exc:
        what, fix = _silence(patient, at, exc, held=held)
        return broken(what, fix) if patient.needs_monitor else odd(what, fix)
    state, reason = STATES.get(said, (said, ""))
    return fine(f"{say_monitor(at)} answers: {state}{f', {reason}' if reason else ''}")


def _silence(patient: Patient, at: Outlet, exc: BrokerError, *, held: bool) -> tuple[str, str]:
    if not isinstance(exc, VmUnresponsive):
        return exc.what, "Look whether its socket was removed or taken by a second QEMU"
    if held:
        return (
            f"another program is at its monitor ({say_monitor(at)}), which serves one at a time",
            f"End that program (ss -xp | grep {at.path or at.port}), or give QEMU a second -qmp",
        )
    kill = f"broker vm kill {patient.name}"
    return (
        f"its monitor ({say_monitor(at)}) does not answer within {ANSWER_SECONDS:g} s: QEMU hangs",
        f"Look at its log; it may wait for a disk. To end it: {kill}",
    )


async def look_at_server(patient: Patient) -> Finding:
    """Whether its SPICE server is on."""
    if patient.monitor is None:
        return odd("without a monitor nobody can tell", "The next steps do")
    try:
        on = await talk.has_spice(patient.monitor, name=patient.name, timeout=ANSWER_SECONDS)
    except (VmUnresponsive, MonitorGone, CommandRefused) as exc:
        return odd(f"its monitor cannot be asked ({exc.what})", "The next steps tell")
    return fine("its SPICE server is on") if on else broken("it runs without SPICE", NO_SPICE)
