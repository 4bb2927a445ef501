"""The store's verbs in our words. Synchronous and thread-safe; each verb is one transaction."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Self

from sqlalchemy import Connection, and_, delete, insert, select, update

from broker import logs
from broker.clock import Clock
from broker.config.locations import Locations
from broker.events import Event, session_closed
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
from broker.store import audit, inventory, messages, queries, sessions
from broker.store.connection import Database, ServerDatabase, SqliteDatabase
from broker.store.faces import Faces
from broker.store.rows import StoredMachine
from broker.store.sealing import Sealer


class Store:
    """Everything that is kept.

    Every verb raises StoreError when the database is damaged, busy for too long, or its disk is
    full or read-only.
    """

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
        database: Database = (
            SqliteDatabase(locations.database, clock) if url is None else ServerDatabase(url, clock)
        )
        return cls(database, Sealer(locations.secret_key), clock)

    def __init__(self, database: Database, sealer: Sealer, clock: Clock) -> None:
        self._database = database
        self._sealer = sealer
        self._clock = clock
        self._faces = Faces()

    @property
    def notes(self) -> tuple[str, ...]:
        """What had to be done to the database that a person should hear of, one sentence each."""
        return self._database.notes

    def close(self) -> None:
        """Give back connections."""
        self._database.close()

    def data_version(self) -> int:
        """A number that changes when anybody wrote something. Cheap: made to be called often.

        PostgreSQL tells as well; where a database does not, it changes once a second.
        """
        return self._database.data_version()

    # -- sources

    def put_configured(self, sources: Sequence[tuple[SourceName, str]]) -> None:
        """The sources that are configured, (name, type), in order.

        Others are removed with their machines. Their tokens are not: they cannot open anything
        while the machine is unknown, and are good again should the source come back in time.
        A source whose type changed loses its machines.
        """
        with self._database.writing() as db:
            inventory.put_configured(db, sources)

    def put_source_status(self, status: SourceStatus) -> None:
        """How a source does; one not configured is added at the end. `machines` is counted anew."""
        with self._database.writing() as db:
            inventory.put_source_status(db, status)

    def sources(self) -> list[SourceStatus]:
        """Every source, in order, with how many machines are known from it."""
        with self._database.reading() as db:
            return inventory.sources(db)

    def put_file_fingerprint(self, fingerprint: str) -> None:
        """Which state of sources.yaml the sources are those of."""
        name = queries.FILE_FINGERPRINT
        with self._database.writing() as db:
            before = db.execute(queries.FACT, {"name": name}).scalar()
            if before is None:
                db.execute(insert(queries.META).values(name=name, value=fingerprint))
            elif before != fingerprint:
                here = queries.META.c.name == name
                db.execute(update(queries.META).where(here).values(value=fingerprint))

    def file_fingerprint(self) -> str:
        """What was put last; empty when nothing was."""
        with self._database.reading() as db:
            found = db.execute(queries.FACT, {"name": queries.FILE_FINGERPRINT}).scalar()
        return found or ""

    # -- inventory

    def put_machines(
        self,
        source: SourceName,
        machines: Sequence[Machine],
        *,
        tickets: Mapping[MachineId, str],
        kept: bool,
        asked: Collection[MachineId] = (),
    ) -> set[MachineKey]:
        """A complete listing of one source: what is not in it is forgotten, nothing is stale.

        Args:
            tickets: Tickets by machine; sealed before they are stored.
            kept: The consoles are told whole by `target` and ticket, so that no driver is asked.
            asked: Those whose driver is asked all the same.

        Returns:
            The machines that are new, changed or gone. Nothing is written when there are none.

        Raises:
            NotFound: The source is not configured (any more).
            StoreError: Tickets cannot be sealed.
        """
        with self._database.writing() as db:
            return inventory.put_machines(
                db,
                source,
                machines,
                tickets=tickets,
                kept=kept,
                asked=asked,
                sealer=self._sealer,
                now=self._clock.now(),
            )

    def put_machine(self, machine: Machine) -> bool:
        """The seen state of one machine of a known source; True when that changed anything."""
        with self._database.writing() as db:
            return inventory.put_machine(db, machine, now=self._clock.now())

    def mark_stale(self, source: SourceName) -> None:
        """The source failed: what it showed before is kept and marked."""
        with self._database.writing() as db:
            inventory.mark_stale(db, source)

    def machines(self) -> list[StoredMachine]:
        """All machines, by name, then source."""
        with self._database.reading() as db:
            return inventory.machines(db, self._faces)

    def find(self, reference: str) -> list[StoredMachine]:
        """The machines that `name`, `source/name`, uuid or `source/uuid` names; often one."""
        with self._database.reading() as db:
            return inventory.find(db, reference)

    def machine(self, key: MachineKey) -> Machine:
        """One machine.

        Raises:
            NotFound: It is not known (any more).
        """
        with self._database.reading() as db:
            return inventory.machine(db, key)

    def kept_console(self, key: MachineKey) -> Console | None:
        """The stored console, its ticket unsealed; None when its driver must be asked.

        Raises:
            NoConsole: The machine is kept whole, and has no screen.
            StoreError: Its ticket cannot be unsealed; `fix` says how to get it back.
        """
        with self._database.reading() as db:
            return inventory.kept_console(db, key, self._sealer)

    # -- wanted

    def put_wanted(self, key: MachineKey, power: Power) -> None:
        """The power a person asked for; the machine need not be known."""
        with self._database.writing() as db:
            inventory.put_wanted(db, key, power)

    def drop_wanted(self, key: MachineKey) -> None:
        """Nothing is wanted of that machine any more."""
        here = and_(queries.WANTED.c.source == key.source, queries.WANTED.c.uuid == key.uuid)
        with self._database.writing() as db:
            db.execute(delete(queries.WANTED).where(here))

    def wanted(self) -> dict[MachineKey, Power]:
        """All that is wanted."""
        with self._database.reading() as db:
            return {
                MachineKey(SourceName(row["source"]), MachineId(row["uuid"])): Power(row["power"])
                for row in db.execute(select(queries.WANTED)).mappings()
            }

    # -- tokens

    def add_token(self, token: Token) -> None:
        """Keep a new token."""
        with self._database.writing() as db:
            sessions.add_token(db, token)

    def token(self, digest: bytes) -> Token | None:
        """The token with that digest, whatever its state."""
        with self._database.reading() as db:
            return sessions.token(db, digest)

    def open_session(self, digest: bytes, session: Session, *, alone: bool = False) -> Token:
        """Use a token up for a session, all or nothing: of two at once, one is refused.

        Args:
            alone: Only when nobody is at that console.

        Raises:
            Refused: With reason `token-unknown`, `token-revoked`, `token-used`, `token-expired`.
            Occupied: Somebody is at the console; the token is not used up.
        """
        with self._database.writing() as db:
            return sessions.open_session(db, digest, session, self._clock.now(), alone=alone)

    def revoke_tokens(self, key: MachineKey | None = None) -> int:
        """Unused tokens, of one machine or all, open nothing any more; returns how many."""
        with self._database.writing() as db:
            return sessions.revoke_tokens(db, key, self._clock.now())

    # -- sessions

    def sessions(self, *, live: bool = True) -> list[Session]:
        """Live sessions, or all that are kept, oldest first."""
        with self._database.reading() as db:
            return sessions.sessions(db, live=live)

    def session(self, prefix: str, *, live: bool = True) -> Session:
        """The one session whose id starts so.

        Raises:
            NotFound: None does.
            Ambiguous: Several do.
        """
        with self._database.reading() as db:
            return sessions.session(db, prefix, live=live)

    def close_session(self, session: SessionId, reason: str, at: datetime) -> bool:
        """A session ended; False when it had before, or was never known."""
        with self._database.writing() as db:
            return sessions.close_session(db, session, reason, at)

    def close_sessions(self, ended: Sequence[tuple[Session, str]], at: datetime) -> None:
        """Sessions as they ended, and why, all or none; unknown ones are passed over."""
        with self._database.writing() as db:
            sessions.put_counters(db, [session for session, _ in ended])
            for session, reason in ended:
                sessions.close_session(db, session.id, reason, at)

    def put_counters(self, live: Iterable[Session]) -> None:
        """Bytes and channels of live sessions, in one transaction; unknown ones are passed over."""
        changed = tuple(live)
        with self._database.writing() as db:
            sessions.put_counters(db, changed)

    def occupants(self, key: MachineKey) -> list[Session]:
        """Live sessions at that console, or at another entry for the same one."""
        with self._database.reading() as db:
            return sessions.occupants(db, key)

    def count_sessions(self, label: str) -> int:
        """How many live sessions were made for that label."""
        with self._database.reading() as db:
            return sessions.count_sessions(db, label)

    def ask_end(self, session: SessionId, reason: str = "disconnected") -> None:
        """Ask whoever holds the session to end it.

        Args:
            reason: What it will have ended with.

        Raises:
            NotFound: No live session has that id.
        """
        with self._database.writing() as db:
            sessions.ask_end(db, session, reason)

    def end_requests(self, worker: int) -> dict[SessionId, str]:
        """Live sessions of that worker process which somebody asked to end, and the reason."""
        with self._database.reading() as db:
            return sessions.end_requests(db, worker)

    def put_message(self, session: SessionId, text: str, at: datetime) -> None:
        """Have whoever holds the session say that to its person; NotFound when it has ended."""
        with self._database.writing() as db:
            messages.put_message(db, session, text, at)

    def take_messages(self, worker: int) -> list[tuple[SessionId, str]]:
        """What that worker process is to say, the oldest first; each is given once."""
        with self._database.reading() as db:
            found = messages.waiting(db, worker)
        if not found:
            return []
        with self._database.writing() as db:
            return [(key, text) for number, key, text in found if messages.forget(db, number)]

    def end_orphans(self, is_alive: Callable[[int, str], bool], at: datetime) -> list[Session]:
        """Close the sessions whose worker process died, with reason `worker-died`.

        The worker would have written down and counted their ends; so it is done here.

        Args:
            is_alive: Told a worker's process id and its life.
        """
        with self._database.reading() as db:
            workers = sessions.workers(db)
        dead = [worker for worker in workers if not is_alive(*worker)]
        if not dead:
            return []
        with self._database.writing() as db:
            lost = sessions.end_orphans(db, dead, at)
            ends = [session_closed(one, "worker-died", at) for one in lost]
            if lost:
                audit.add_all(db, ends)
                _count(db, "ended:worker-died", len(lost))
        for event in ends:
            audit.tell(event)
        return lost

    # -- counters

    def add_counts(self, counts: Mapping[str, float]) -> None:
        """Add to counters, all or none; they begin at nothing and outlive whoever counts."""
        with self._database.writing() as db:
            for name, more in sorted(counts.items()):  # in one order, two writers do not deadlock
                _count(db, name, more)

    def counts(self) -> dict[str, float]:
        """Every counter by its name."""
        with self._database.reading() as db:
            return {
                row["name"]: row["value"] for row in db.execute(select(queries.COUNTER)).mappings()
            }

    # -- events

    def add_event(self, event: Event) -> Event:
        """Write one line of the audit log; returns it with its number."""
        with self._database.writing() as db:
            written = audit.add(db, event)
        audit.tell(written)
        return written

    def add_events(self, events: Sequence[Event]) -> None:
        """Write several lines, all or none."""
        with self._database.writing() as db:
            audit.add_all(db, events)
        with logs.together():
            for event in events:
                audit.tell(event)

    def events(self, *, limit: int = 200, after: int = 0) -> list[Event]:
        """The newest `limit` events with a number above `after`, oldest first."""
        with self._database.reading() as db:
            return audit.events(db, limit=limit, after=after)

    def prune(self, before: datetime) -> int:
        """Forget events, ended sessions and dead tokens from before then; returns how many."""
        old = queries.EVENT.c.at < before.timestamp()
        with self._database.writing() as db:
            return (
                sessions.prune(db, before) + db.execute(delete(queries.EVENT).where(old)).rowcount
            )


def _count(db: Connection, name: str, more: float) -> None:
    if not db.execute(queries.COUNT, {"of": name, "more": more}).rowcount:
        db.execute(insert(queries.COUNTER).values(name=name, value=more))
