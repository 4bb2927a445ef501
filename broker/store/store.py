"""The store's verbs in our words. Synchronous and thread-safe; each verb is one transaction."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Self

from broker.clock import Clock
from broker.config.locations import Locations
from broker.events import Event
from broker.model import (
    Console,
    Machine,
    MachineId,
    MachineKey,
    Power,
    Session,
    SessionId,
    SourceName,
    SourceStatus,
    Token,
)
from broker.store.rows import StoredMachine


class Store:
    """Everything that is kept.

    Every verb raises StoreError when the database is damaged, busy for too long, or its disk is
    full or read-only.

    Attributes:
        notes: What opening it had to do that a person should hear of, one sentence each.
    """

    notes: tuple[str, ...]

    @classmethod
    def open(cls, locations: Locations, *, url: str | None = None, clock: Clock) -> Self:
        """Open the database, made or migrated where needed.

        A damaged SQLite file is set aside as `broker.db.corrupt-TIME`, a new one is begun, and
        `notes` says so. Several processes may open it at once.

        Args:
            url: SQLAlchemy URL; None takes SQLite in the state directory.

        Raises:
            StoreError: It cannot be opened, or a newer version of ours made it.
        """
        raise NotImplementedError

    def close(self) -> None:
        """Give back connections."""
        raise NotImplementedError

    def data_version(self) -> int:
        """A number that changes when anybody wrote something. Cheap: made to be called often.

        Databases other than SQLite do not tell: there it changes once a second.
        """
        raise NotImplementedError

    # -- sources

    def put_configured(self, sources: Sequence[tuple[SourceName, str]]) -> None:
        """The sources that are configured, (name, type), in order.

        Others are removed with their machines. Their tokens are not: they cannot open anything
        while the machine is unknown, and are good again should the source come back in time.
        A source whose type changed loses its machines.
        """
        raise NotImplementedError

    def put_source_status(self, status: SourceStatus) -> None:
        """How a source does; one not configured is added at the end. `machines` is counted anew."""
        raise NotImplementedError

    def sources(self) -> list[SourceStatus]:
        """Every source, in order, with how many machines are known from it."""
        raise NotImplementedError

    def put_file_fingerprint(self, fingerprint: str) -> None:
        """Which state of sources.yaml the sources are those of."""
        raise NotImplementedError

    def file_fingerprint(self) -> str:
        """What was put last; empty when nothing was."""
        raise NotImplementedError

    # -- inventory

    def put_machines(
        self,
        source: SourceName,
        machines: Sequence[Machine],
        *,
        tickets: Mapping[MachineId, str],
        kept: bool,
    ) -> set[MachineKey]:
        """A complete listing of one source: what is not in it is forgotten, nothing is stale.

        Args:
            tickets: Tickets by machine; sealed before they are stored.
            kept: The consoles are told whole by `target` and ticket, so that no driver is asked.

        Returns:
            The machines that are new, changed or gone. Nothing is written when there are none.

        Raises:
            NotFound: The source is not configured (any more).
            StoreError: Tickets cannot be sealed.
        """
        raise NotImplementedError

    def put_machine(self, machine: Machine) -> bool:
        """The seen state of one machine of a known source; True when that changed anything."""
        raise NotImplementedError

    def mark_stale(self, source: SourceName) -> None:
        """The source failed: what it showed before is kept and marked."""
        raise NotImplementedError

    def machines(self) -> list[StoredMachine]:
        """All machines, by name, then source."""
        raise NotImplementedError

    def machine(self, key: MachineKey) -> Machine:
        """One machine.

        Raises:
            NotFound: It is not known (any more).
        """
        raise NotImplementedError

    def kept_console(self, key: MachineKey) -> Console | None:
        """The stored console, its ticket unsealed; None when its driver must be asked.

        Raises:
            NoConsole: The machine is kept whole, and has no screen.
            StoreError: Its ticket cannot be unsealed; `fix` says how to get it back.
        """
        raise NotImplementedError

    # -- wanted

    def put_wanted(self, key: MachineKey, power: Power) -> None:
        """The power a person asked for; the machine need not be known."""
        raise NotImplementedError

    def drop_wanted(self, key: MachineKey) -> None:
        """Nothing is wanted of that machine any more."""
        raise NotImplementedError

    def wanted(self) -> dict[MachineKey, Power]:
        """All that is wanted."""
        raise NotImplementedError

    # -- tokens

    def add_token(self, token: Token) -> None:
        """Keep a new token."""
        raise NotImplementedError

    def token(self, digest: bytes) -> Token | None:
        """The token with that digest, whatever its state."""
        raise NotImplementedError

    def open_session(self, digest: bytes, session: Session) -> Token:
        """Use a token up for a session, all or nothing: of two at once, one is refused.

        Raises:
            Refused: With reason `token-unknown`, `token-revoked`, `token-used`, `token-expired`.
        """
        raise NotImplementedError

    def revoke_tokens(self, key: MachineKey | None = None) -> int:
        """Unused tokens, of one machine or all, open nothing any more; returns how many."""
        raise NotImplementedError

    # -- sessions

    def sessions(self, *, live: bool = True) -> list[Session]:
        """Live sessions, or all that are kept, oldest first."""
        raise NotImplementedError

    def session(self, prefix: str, *, live: bool = True) -> Session:
        """The one session whose id starts so.

        Raises:
            NotFound: None does.
            Ambiguous: Several do.
        """
        raise NotImplementedError

    def close_session(self, session: SessionId, reason: str, at: datetime) -> bool:
        """A session ended; False when it had before, or was never known."""
        raise NotImplementedError

    def put_counters(self, sessions: Iterable[Session]) -> None:
        """Bytes and channels of live sessions, in one transaction; unknown ones are passed over."""
        raise NotImplementedError

    def put_channels(self, session: Session) -> None:
        """The same for one session, when a channel came or went."""
        raise NotImplementedError

    def ask_end(self, session: SessionId) -> None:
        """Ask whoever holds the session to end it.

        Raises:
            NotFound: No live session has that id.
        """
        raise NotImplementedError

    def end_requests(self, worker: int) -> list[SessionId]:
        """Live sessions of that worker process which somebody asked to end."""
        raise NotImplementedError

    def end_orphans(self, is_alive: Callable[[int], bool], at: datetime) -> list[Session]:
        """Close the sessions whose worker process died, with reason `worker-died`."""
        raise NotImplementedError

    # -- events

    def add_event(self, event: Event) -> Event:
        """Write one line of the audit log; returns it with its number."""
        raise NotImplementedError

    def events(self, *, limit: int = 200, after: int = 0) -> list[Event]:
        """The newest `limit` events with a number above `after`, oldest first."""
        raise NotImplementedError

    def prune(self, before: datetime) -> int:
        """Forget events, ended sessions and dead tokens from before then; returns how many."""
        raise NotImplementedError
