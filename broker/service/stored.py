"""From what a store says of a machine to a row of the list. The first rows wait for this module."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol

from broker.service.info import ConsoleInfo

if TYPE_CHECKING:
    from datetime import datetime

    from broker.model import Ability, Machine

NOTHING: Mapping[Ability, str] = {}


class StoredMachine(Protocol):
    """A machine as a store hands it out."""

    @property
    def machine(self) -> Machine:
        """The machine as it was last seen."""
        ...

    @property
    def stale(self) -> bool:
        """Its source failed since."""
        ...

    @property
    def seen_at(self) -> datetime | None:
        """When it was last seen."""
        ...

    @property
    def sessions(self) -> int:
        """Live sessions on it."""
        ...


def info_of(stored: StoredMachine, abilities: Mapping[Ability, str] = NOTHING) -> ConsoleInfo:
    """A console as the port shows it."""
    return ConsoleInfo(
        machine=stored.machine,
        stale=stored.stale,
        sessions=stored.sessions,
        startable=stored.machine.defined,
        seen_at=stored.seen_at,
        abilities=abilities,
    )
