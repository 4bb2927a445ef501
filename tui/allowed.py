"""Why a verb cannot be done to a console now. Pure; the service has the last word."""

from __future__ import annotations

from typing import Final

from broker import human
from broker.model import Ability, Protocol, State
from broker.service.info import ConsoleInfo
from tui import keys
from tui.rows import state_word

_OFF: Final = frozenset({State.STOPPED, State.CRASHED, State.ERROR})
_NO_GUEST: Final = frozenset({State.STOPPED, State.CRASHED, State.SHUTDOWN})
_LIVE: Final = frozenset({State.RUNNING, State.PAUSED, State.SUSPENDED, State.STARTING})


def why_not(verb: str, info: ConsoleInfo) -> str:
    """A line for the person who tries, or the empty string when nothing speaks against it.

    Names in it are made safe for a terminal: whoever names a machine must not write to ours.
    """
    return human.one_line(_why_not(verb, info))


def _why_not(verb: str, info: ConsoleInfo) -> str:
    machine = info.machine
    if verb == "doctor":
        return ""
    if verb in ("open", "export"):
        if machine.protocol is Protocol.NONE:
            return f"{machine.name} has no screen that can be reached"
        if verb == "open" and _can_start(info) and machine.state is State.STOPPED:
            return f"{machine.name} is off; {keys.START.sign} starts it"
        return ""
    if verb == "live":
        return _why_not_live(info)
    if verb in ("serial", "serial_below"):
        return _why_not_serial(info)
    if machine.adopted:
        return _why_not_adopted(verb, info)
    if info.abilities:
        return _why_not_there(verb, info)
    if not info.startable:
        return f"{machine.name} is not a VM of this broker: {machine.key.source} runs it"
    if verb == "reboot":
        reset, stop, start = (act.sign for act in (keys.RESET, keys.STOP, keys.POWER_START))
        how = f"{reset} resets it, {stop} shuts it down, and then {start} starts it"
        return f"{machine.name} runs here: {how}"
    if verb == "start" and machine.state in _LIVE:
        return f"{machine.name} is {state_word(machine.state)} already"
    if verb in ("stop", "kill") and machine.state is State.STOPPED:
        return f"{machine.name} is off already"
    if verb in ("pause", "resume", "reset") and machine.state in _NO_GUEST:
        return f"{machine.name} is {state_word(machine.state)}; {keys.START.sign} starts it"
    if verb == "pause" and machine.state is State.PAUSED:
        return f"{machine.name} is paused already"
    if verb == "pause" and machine.state is State.SUSPENDED:
        return f"{machine.name} sleeps; {keys.RESUME.sign} wakes it"
    if verb == "resume" and machine.state is State.RUNNING:
        return f"{machine.name} is running already"
    if verb == "snapshots" and machine.state in _NO_GUEST:
        return f"{machine.name} is {state_word(machine.state)}; snapshots are of one that runs"
    if verb == "clone" and machine.state not in _OFF:
        return f"{machine.name} is {state_word(machine.state)}; shut it down first"
    if verb == "delete" and machine.state not in _OFF:
        return f"{machine.name} is {state_word(machine.state)}; shut it down first"
    return ""


_ABILITY: Final = {
    "start": Ability.START,
    "stop": Ability.SHUTDOWN,
    "kill": Ability.STOP,
    "pause": Ability.PAUSE,
    "resume": Ability.RESUME,
    "reset": Ability.RESET,
    "reboot": Ability.REBOOT,
}


def _why_not_there(verb: str, info: ConsoleInfo) -> str:
    """For a machine of a hypervisor: what its source can do, as it says."""
    machine = info.machine
    if verb not in _ABILITY:
        return f"{machine.name} is defined where it runs, by {machine.key.source}"
    why = info.abilities.get(_ABILITY[verb], f"{machine.key.source} has no such verb")
    if not why and verb == "start" and machine.state in _LIVE:
        return f"{machine.name} is {state_word(machine.state)} already"
    if not why and verb != "start" and machine.state in _OFF:
        return f"{machine.name} is off; {keys.START.sign} starts it"
    return why


def _why_not_adopted(verb: str, info: ConsoleInfo) -> str:
    """For one that somebody else started: it is seen, opened, and stopped when asked."""
    machine = info.machine
    if verb == "snapshots":
        off = machine.state in _OFF
        return f"{machine.name} has ended" if off else ""
    if verb in ("power", "stop", "kill", "pause", "resume", "reset"):
        off = machine.state in _OFF
        return f"{machine.name} has ended; broker vm forget lets it go" if off else ""
    return f"{machine.name} was adopted: somebody else started it"


def _why_not_live(info: ConsoleInfo) -> str:
    """Its screen can be shown here: through the proxy, or by the monitor of a VM of this host."""
    machine = info.machine
    here = machine.defined or machine.adopted
    if machine.state in _NO_GUEST:
        return _off(info)
    if machine.protocol is Protocol.NONE or (machine.protocol is Protocol.VNC and not here):
        return f"{machine.name} has no screen that can be shown here"
    return ""


def _why_not_serial(info: ConsoleInfo) -> str:
    machine = info.machine
    if not (machine.defined or machine.adopted):
        lacks = f"{machine.key.source}, which runs {machine.name}, lends nobody its serial port"
        if why := info.abilities.get(Ability.SERIAL, lacks):
            return why
    return _off(info) if machine.state in _NO_GUEST else ""


def _off(info: ConsoleInfo) -> str:
    how = f"; {keys.START.sign} starts it" if _can_start(info) else ""
    return f"{info.machine.name} is {state_word(info.machine.state)}{how}"


def _can_start(info: ConsoleInfo) -> bool:
    return info.startable or info.abilities.get(Ability.START) == ""
