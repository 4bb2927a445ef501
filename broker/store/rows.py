"""Row and noun: every column's meaning stands here once, for both ways into the database."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from broker.model import Machine


@dataclass(frozen=True, slots=True)
class StoredMachine:
    """A machine and what the store knows besides.

    Attributes:
        stale: Its source failed since it was last seen.
        sessions: Live sessions on it.
    """

    machine: Machine
    stale: bool = False
    seen_at: datetime | None = None
    sessions: int = 0
