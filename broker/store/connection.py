"""Transactions on the database, its errors in words, and whether anybody wrote.

A process may live for weeks. When the file it works on is replaced meanwhile (damaged and set
aside by another process, or removed by a person), its next verb works on the one that is there.
"""

from __future__ import annotations

import contextlib
import logging
import sqlite3
import threading
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from sqlalchemy import Connection, Engine, exc

from broker.clock import Clock
from broker.errors import StoreError
from broker.store import faults
from broker.store.engine import be_alone, engine_on, make_ready, open_url
from broker.store.version import SqliteVersion

log = logging.getLogger(__name__)


class Database(Protocol):
    """Where the store's verbs run."""

    @property
    def notes(self) -> tuple[str, ...]:
        """What had to be done to it that a person should hear of."""
        ...

    def reading(self) -> contextlib.AbstractContextManager[Connection]:
        """A transaction that reads."""
        ...

    def writing(self) -> contextlib.AbstractContextManager[Connection]:
        """A transaction that writes; committed unless its body raises."""
        ...

    def data_version(self) -> int:
        """A number that changes when anybody wrote."""
        ...

    def close(self) -> None:
        """Give back connections."""
        ...


class SqliteDatabase:
    """One SQLite file.

    Raises:
        StoreError: It cannot be opened, or a newer version of ours made it.
    """

    def __init__(self, path: Path, clock: Clock) -> None:
        self._path = path
        self._clock = clock
        self.engine: Engine = engine_on(path)
        self._writer = self.engine.execution_options(sqlite_begin="IMMEDIATE")
        self._version = SqliteVersion(path)
        self._mending = threading.Lock()
        self._inode = 0
        self._generation = 0
        self.notes: tuple[str, ...] = ()
        self._follow()

    @contextlib.contextmanager
    def reading(self) -> Iterator[Connection]:
        """See `Database`."""
        self._follow()
        with self._errors(), self.engine.begin() as connection:
            yield connection

    @contextlib.contextmanager
    def writing(self) -> Iterator[Connection]:
        """See `Database`. The write lock is taken at once."""
        self._follow()
        with self._errors(), self._writer.begin() as connection:
            yield connection

    def data_version(self) -> int:
        """See `Database`. A file that took another's place counts as a change."""
        self._follow()
        return (self._generation << 32) + self._version.read()

    def close(self) -> None:
        """See `Database`."""
        self._version.close()
        self.engine.dispose()

    def _follow(self) -> None:
        """See that we work on the file that is there; one `stat` when nothing happened."""
        if self._is_ours():
            return
        with self._mending:
            if self._is_ours():
                return
            self.close()
            new = make_ready(self._path, self.engine, self._clock)
            self.notes += new
            if self._generation:  # most who open a store look at its notes then, and never again
                for note in new:
                    log.warning("%s", note)
            self._generation += 1
            self._inode = self._path.stat().st_ino

    def _is_ours(self) -> bool:
        try:
            return self._path.stat().st_ino == self._inode
        except OSError:
            return False

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except exc.DBAPIError as problem:
            if not isinstance(problem.orig, sqlite3.Error):
                raise
            if faults.code_of(problem.orig) in faults.DAMAGED:
                self._inode = 0  # the next verb looks closely
            if (ours := faults.meaning_of(problem.orig, self._path)) is None:
                raise
            raise ours from problem


class ServerDatabase:
    """A database named by a SQLAlchemy URL; tried with PostgreSQL.

    Its transactions mean what SQLite's do: who reads sees one moment, and who writes is alone. So
    a verb may look before it writes, on either.

    Raises:
        StoreError: The URL cannot be used, or nobody answers there.
    """

    notes: tuple[str, ...] = ()

    def __init__(self, url: str, clock: Clock) -> None:
        self._clock = clock
        self.engine = open_url(url)
        self._reader = self.engine
        if self.engine.dialect.name == "postgresql":
            self._reader = self.engine.execution_options(
                isolation_level="REPEATABLE READ", postgresql_readonly=True
            )

    @contextlib.contextmanager
    def reading(self) -> Iterator[Connection]:
        """See `Database`."""
        with _server_errors(), self._reader.begin() as connection:
            yield connection

    @contextlib.contextmanager
    def writing(self) -> Iterator[Connection]:
        """See `Database`. Whoever else writes is waited for."""
        with _server_errors(), self.engine.begin() as connection:
            be_alone(connection)
            yield connection

    def data_version(self) -> int:
        """See `Database`. PostgreSQL's snapshot changes when a transaction that wrote ends.

        Others do not tell, so something may have changed every second.
        """
        if self.engine.dialect.name != "postgresql":
            return int(self._clock.monotonic())
        with self.reading() as db:
            snapshot = db.exec_driver_sql("SELECT pg_current_snapshot()::text").scalar_one()
        return zlib.crc32(snapshot.encode())

    def close(self) -> None:
        """See `Database`."""
        self.engine.dispose()


@contextlib.contextmanager
def _server_errors() -> Iterator[None]:
    try:
        yield
    except exc.OperationalError as problem:
        raise StoreError(
            "The database does not answer, or not in time", fix="See that it is up"
        ) from problem
    except (exc.InterfaceError, exc.InternalError) as problem:
        raise StoreError(
            "The database takes nothing just now", fix="See that it is up and may be written to"
        ) from problem
