"""What to do about a difference between wanted and seen. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from broker.model import MachineKey, Power, State

IS_ON = frozenset(
    {
        State.STARTING,
        State.RUNNING,
        State.PAUSED,
        State.SUSPENDED,
        State.SHUTDOWN,
        State.BUSY,
        State.MIGRATING,
        State.UNRESPONSIVE,
        State.ERROR,
    }
)
"""States in which a machine holds a process or a power lead: asking for "off" has work to do.

`SHUTDOWN` is in it, because there the guest is off and its process is not. `CRASHED` is not: with
local VMs the process is gone, and asking for "on" starts it anew.
"""


@dataclass(frozen=True, slots=True)
class SwitchOn:
    """Power the machine on."""

    key: MachineKey


@dataclass(frozen=True, slots=True)
class SwitchOff:
    """Power the machine off.

    Attributes:
        gently: Ask the guest first.
    """

    key: MachineKey
    gently: bool


Step = SwitchOn | SwitchOff


def plan_machine(
    key: MachineKey, wanted: Power | None, seen: State | None, *, gently: bool = True
) -> list[Step]:
    """The steps from what is seen to what is wanted; none when they agree.

    A machine nobody sees is left alone: gone is not the same as off. So is one nobody has a wish
    for, and one whose source cannot tell its state.
    """
    if wanted is None or seen is None or seen is State.UNKNOWN:
        return []
    if wanted is Power.ON and seen not in IS_ON:
        return [SwitchOn(key)]
    if wanted is Power.OFF and seen in IS_ON:
        return [SwitchOff(key, gently)]
    return []
