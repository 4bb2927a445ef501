"""One row of the list. The first rows wait for this module, and not for the whole port."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

from broker.model import Ability

if TYPE_CHECKING:
    from broker.model import Machine


@dataclass(frozen=True, slots=True)
class ConsoleInfo:
    """One row of `list` and of the TUI's table.

    Attributes:
        stale: Its source failed since it was last seen.
        sessions: Live sessions on it.
        startable: It is a VM this broker can start, stop and delete.
        abilities: What its hypervisor can do with it; for what it cannot, why. Empty where nobody
            asks a hypervisor, and in `broker list`.
    """

    machine: Machine
    stale: bool = False
    sessions: int = 0
    startable: bool = False
    seen_at: datetime | None = None
    abilities: Mapping[Ability, str] = field(default_factory=dict)

    @property
    def watchable(self) -> bool:
        """Whether its screen can be looked at without taking anybody's place."""
        machine = self.machine
        return machine.defined or machine.adopted or self.abilities.get(Ability.SCREENSHOT) == ""
