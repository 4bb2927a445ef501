"""Everything the screens show, as last read: one frozen value, replaced as a whole."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from broker.model import Health

if TYPE_CHECKING:
    from broker.errors import BrokerError
    from broker.events import Event
    from broker.model import ProxyStatus, Session, SourceStatus
    from broker.service.info import ConsoleInfo
    from tui.unify import Changed


@dataclass(frozen=True, slots=True, eq=False)
class Snapshot:
    """What the service said last.

    Attributes:
        consoles: None until a list was read. Nobody changes it any more.
        changed: Where they differ from a list before; None when that is not known.
        events: Oldest first.
        notes: What a person should hear of, each once.
        problem: Why the last reading failed; what was read before is kept.
        partial: These are the first consoles of more, painted before the service was there.
        connected: The service answered at least once.
    """

    consoles: Sequence[ConsoleInfo] | None = None
    changed: Changed | None = None
    sessions: tuple[Session, ...] = ()
    sources: tuple[SourceStatus, ...] = ()
    events: tuple[Event, ...] = ()
    notes: tuple[str, ...] = ()
    proxy: ProxyStatus | None = None
    problem: BrokerError | None = None
    connected: bool = False
    partial: bool = False

    @property
    def failed_sources(self) -> int:
        """How many sources could not be read."""
        return sum(status.health is Health.FAILED for status in self.sources)
