"""The verbs of power, as libvirt has them."""

from __future__ import annotations

import shlex
from typing import Any, Final

from broker.errors import UsageError
from broker.model import Ability, State

RIGHTS: Final = {
    Ability.START: "domain.start",
    Ability.SHUTDOWN: "domain.init-control",
    Ability.STOP: "domain.stop",
    Ability.REBOOT: "domain.init-control",
    Ability.RESET: "domain.reset",
    Ability.PAUSE: "domain.suspend",
    Ability.RESUME: "domain.suspend",
}
"""What each takes, as libvirt's access control calls it; it says no without saying which."""


def switch(found: Any, ability: Ability, state: State) -> None:
    """Do that to a domain, unless it is so already."""
    off = state in (State.STOPPED, State.CRASHED) or not found.isActive()
    match ability:
        case Ability.START:
            if off:
                found.create()
        case Ability.SHUTDOWN | Ability.STOP if off:
            return
        case Ability.SHUTDOWN:
            found.shutdown()
        case Ability.STOP:
            found.destroy()
        case _ if off:
            start = f"broker vm start {shlex.quote(found.name())}"
            raise UsageError(f"{found.name()} is off", fix=start)
        case Ability.REBOOT:
            found.reboot(0)
        case Ability.RESET:
            found.reset(0)
        case Ability.PAUSE:
            if state is not State.PAUSED:
                found.suspend()
        case Ability.RESUME:
            if state is State.SUSPENDED:
                found.pMWakeup(0)
            elif state is State.PAUSED:
                found.resume()
        case _:
            raise UsageError(f"libvirt cannot {ability.value} a machine")
