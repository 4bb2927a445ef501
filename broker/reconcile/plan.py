"""What to do about a difference between wanted and seen. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto

from broker.model import MachineKey, Power, Restart, State

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

`SHUTDOWN` is in it, because there the guest is off and its process is not. `CRASHED` is not: its
process may be gone.
"""
NEEDS_A_START = frozenset(State) - IS_ON - {State.UNKNOWN} | {State.SHUTDOWN, State.STARTING}
"""States in which asking for "on" has work to do: no process, or one without a guest, or one that
is not up yet, whose broker may have been killed over it: that is waited for."""
NEEDS_A_STOP = IS_ON | {State.CRASHED}
"""States in which asking for "off" has work to do: a guest that panicked may be held, and what a
crash left is put away."""


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
    if wanted is Power.ON and seen in NEEDS_A_START:
        return [SwitchOn(key)]
    if wanted is Power.OFF and seen in NEEDS_A_STOP:
        return [SwitchOff(key, gently)]
    return []


class Upkeep(Enum):
    """What a broker that stays does about a machine that nobody is acting on."""

    NOTHING = auto()
    START_AGAIN = auto()
    """After a pause that grows."""
    FINISH_STOPPING = auto()
    """Somebody wanted it off, and did not see that to its end."""


def plan_upkeep(wanted: Power | None, seen: State, restart: Restart) -> Upkeep:
    """What to do about a machine between two wishes of people.

    What ended by itself is started again as its policy says, and only if it was wanted on; a
    machine that nobody ever started here is left alone.
    """
    if wanted is Power.OFF and seen in IS_ON:
        return Upkeep.FINISH_STOPPING
    if wanted is not Power.ON or restart is Restart.NEVER:
        return Upkeep.NOTHING
    ended = {State.CRASHED}
    if restart is Restart.ALWAYS:
        ended |= {State.STOPPED, State.SHUTDOWN}
    return Upkeep.START_AGAIN if seen in ended else Upkeep.NOTHING
