"""A source: how it does, and what can be done with its machines."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Final

from broker.model.machines import SourceName

LOCAL_TYPE: Final = "local"
"""The type of the source that is this host; there is one."""


class Ability(StrEnum):
    """What can be done with a source's machines besides reaching their screens."""

    START = "start"
    SHUTDOWN = "shutdown"
    """Ask the guest to go off."""
    STOP = "stop"
    """Cut the power."""
    REBOOT = "reboot"
    """Ask the guest to start anew."""
    RESET = "reset"
    PAUSE = "pause"
    RESUME = "resume"
    SCREENSHOT = "screenshot"
    KEYS = "keys"
    """Press keys without opening the screen."""
    SERIAL = "serial"
    VNC = "vnc"
    """It has consoles that speak VNC; they are told, and not brokered."""
    EVENTS = "events"
    """It tells what changes, rather than being asked all the time."""


POWER = (
    Ability.START,
    Ability.SHUTDOWN,
    Ability.STOP,
    Ability.REBOOT,
    Ability.RESET,
    Ability.PAUSE,
    Ability.RESUME,
)
"""Those that switch a machine."""


class Health(StrEnum):
    """How a source does."""

    OK = "ok"
    DEGRADED = "degraded"
    """Its list is whole, but something does not work there, such as for want of a right."""
    PAUSED = "paused"
    """Somebody asked that it be left alone; what was known before is kept and marked stale."""
    FAILED = "failed"
    """The last look failed; what was known before is kept and marked stale."""
    NEW = "new"
    """Configured, not looked at yet."""


@dataclass(frozen=True, slots=True)
class SourceStatus:
    """A configured source and how it does.

    Attributes:
        problem: What the last look failed with; empty when it did not.
        fix: What to do about it.
        warnings: Things that did not stop the source (duplicates, odd values).
        machines: How many machines are known from it.
        listed_at: When its list was last read without an error.
        since: Since when its health is what it is.
        seconds: How long its last whole listing took; 0 when there was none.
        error: The `code` of the problem.
        retry_at: Before then nobody asks it by itself again (back-off, or its own Retry-After).
        abilities: What can be done with its machines; for what cannot, why (`hypervisor.Offering`).
    """

    name: SourceName
    type: str
    health: Health
    problem: str = ""
    fix: str = ""
    warnings: tuple[str, ...] = ()
    machines: int = 0
    listed_at: datetime | None = None
    since: datetime | None = None
    seconds: float = 0.0
    error: str = ""
    retry_at: datetime | None = None
    abilities: Mapping[Ability, str] = field(default_factory=dict)
