"""How each source does, as its listings show it; when it may be asked again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Protocol

from broker.driver import AskedEachTime, KeptConsoles
from broker.errors import BrokerError, SourceDenied, SourceUnreachable
from broker.events import Event, Kind
from broker.hypervisor import Offering, Short
from broker.model import Health, Machine, SourceName, SourceStatus
from broker.reconcile.loop import PAUSES

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import datetime

    from broker.clock import Clock
    from broker.config.sources_file import SourceEntry
    from broker.driver import Driver
    from broker.model import MachineId, MachineKey

LISTED_AT_EVERY = timedelta(seconds=30)
"""How old a stored `listed_at` may grow before it is written anew.

Every write wakes every reader of the store, so a listing that shows nothing new stays quiet.
"""

UNREACHABLE_PAUSES = (5.0, 10.0, 20.0, 40.0, 60.0)
"""Seconds to wait after the first, second, … listing that did not get through."""
DENIED_PAUSES = (60.0, 120.0, 300.0, 900.0)
"""The same after our credentials were refused: sources lock accounts that keep trying."""
RETRY_AFTER_MAX = 3600.0
"""The longest that a source may ask to be left alone, in seconds."""


class HealthStore(Protocol):
    """What is needed of the store."""

    def put_source_status(self, status: SourceStatus) -> None: ...

    def sources(self) -> Sequence[SourceStatus]: ...

    def put_machines(
        self,
        source: SourceName,
        machines: Sequence[Machine],
        *,
        tickets: Mapping[MachineId, str],
        kept: bool,
        asked: Collection[MachineId] = (),
    ) -> set[MachineKey]: ...

    def mark_stale(self, source: SourceName) -> None: ...

    def add_event(self, event: Event) -> object: ...


class SourceHealth:
    """Writes down what came of asking sources. Its methods block."""

    def __init__(self, store: HealthStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._failures: dict[SourceName, int] = {}

    def status(self, name: SourceName) -> SourceStatus | None:
        """As it is stored."""
        return next((status for status in self._store.sources() if status.name == name), None)

    def may_ask(self, name: SourceName) -> bool:
        """Whether it may be asked now, by anybody but whoever says that all is mended.

        Not while it is paused, and not for a while after it refused our credentials: every
        process that tries a wrong password again brings the lock of an account nearer.

        Raises:
            SourceDenied: It may not, for the latter reason.
        """
        status = self.status(name)
        if status is None:
            return True
        if status.health is Health.PAUSED:
            return False
        denied = status.error in (SourceDenied.code, "right-missing")
        if denied and status.retry_at is not None:
            left = (status.retry_at - self._clock.now()).total_seconds()
            if 0 < left <= RETRY_AFTER_MAX:  # more is a clock that was set back
                raise SourceDenied(status.problem, fix=status.fix)
        return True

    def pause(self, name: SourceName, problem: BrokerError) -> float:
        """Seconds to leave a source alone after that; longer after each failure in a row."""
        count = self._failures[name] = self._failures.get(name, 0) + 1
        pauses: tuple[float, ...]
        match problem:
            case SourceDenied():
                pauses = DENIED_PAUSES
            case SourceUnreachable():
                pauses = UNREACHABLE_PAUSES
            case _:
                pauses = PAUSES
        pause = pauses[min(count, len(pauses)) - 1]
        asked = problem.retry_after if isinstance(problem, SourceUnreachable) else None
        return max(pause, min(asked or 0.0, RETRY_AFTER_MAX))

    def failed(self, entry: SourceEntry, problem: BrokerError, pause: float) -> None:
        """Keep what was known of it, marked stale."""
        now = self._clock.now()
        before = self.status(entry.name)
        if before is None or before.health is Health.PAUSED:
            return  # it was taken away, or is to be left alone, since it was asked
        self._store.mark_stale(entry.name)
        status = SourceStatus(
            name=entry.name,
            type=entry.type,
            health=Health.FAILED,
            problem=problem.what,
            fix=problem.fix,
            machines=before.machines,
            listed_at=before.listed_at,
            since=_since(before, Health.FAILED) or now,
            seconds=before.seconds,
            error=problem.code,
            retry_at=now + timedelta(seconds=pause),
            abilities=before.abilities,
        )
        self._store.put_source_status(status)
        if before.health is not Health.FAILED or before.problem != problem.what:
            self._tell(Kind.SOURCE_FAILED, entry.name, problem.what)

    def listed(
        self, entry: SourceEntry, driver: Driver, machines: Sequence[Machine], seconds: float
    ) -> None:
        """A complete listing, which took so many seconds."""
        self._failures.pop(entry.name, None)
        now = self._clock.now()
        before = self.status(entry.name)
        if before is not None and before.health is Health.PAUSED:
            return  # while it was being asked
        kept = isinstance(driver, KeptConsoles)
        tickets = driver.kept_tickets() if isinstance(driver, KeptConsoles) else {}
        asked = driver.asked_each_time() if isinstance(driver, AskedEachTime) else ()
        self._store.put_machines(entry.name, machines, tickets=tickets, kept=kept, asked=asked)
        short = driver.shortcomings if isinstance(driver, Short) else ()
        health = Health.DEGRADED if short else Health.OK
        status = SourceStatus(
            name=entry.name,
            type=entry.type,
            health=health,
            problem=short[0] if short else "",
            warnings=(*short[1:], *driver.warnings),
            machines=len(machines),
            listed_at=now,
            since=_since(before, health) or now,
            seconds=seconds,
            abilities=driver.abilities() if isinstance(driver, Offering) else {},
        )
        if before is None or not _is_fresh(before, status):
            self._store.put_source_status(status)
        if before is not None and before.health is Health.FAILED:
            self._tell(Kind.SOURCE_RECOVERED, entry.name, f"{entry.name} answers again")

    def begin_anew(self, names: Sequence[SourceName]) -> None:
        """Somebody says that these are mended: back-off is forgotten."""
        for status in self._store.sources():
            if status.name in names:
                self._failures.pop(status.name, None)
                if status.retry_at is not None:
                    self._store.put_source_status(replace(status, retry_at=None))

    def set_paused(self, name: SourceName, *, paused: bool) -> None:
        """Leave a source alone until told otherwise, or no longer."""
        status = self.status(name)
        assert status is not None
        if paused == (status.health is Health.PAUSED):
            return
        health = Health.PAUSED if paused else Health.NEW
        if paused:
            self._store.mark_stale(name)
        self._store.put_source_status(
            replace(
                status,
                health=health,
                problem="",
                error="",
                fix=f"Go on with it: broker sources resume {name}" if paused else "",
                since=self._clock.now(),
                retry_at=None,
            )
        )

    def _tell(self, kind: Kind, source: SourceName, text: str) -> None:
        self._store.add_event(Event(at=self._clock.now(), kind=kind, text=text, source=source))


def _since(before: SourceStatus | None, health: Health) -> datetime | None:
    return before.since if before is not None and before.health is health else None


def _is_fresh(stored: SourceStatus, now: SourceStatus) -> bool:
    """Whether `stored` says what `now` does, and not too long ago; how long it took varies."""
    if stored.listed_at is None or now.listed_at is None:
        return False
    same = replace(stored, listed_at=None, seconds=0.0) == replace(now, listed_at=None, seconds=0.0)
    return same and abs(now.listed_at - stored.listed_at) < LISTED_AT_EVERY
