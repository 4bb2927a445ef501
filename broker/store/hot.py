"""The store for commands that must start fast: raw sqlite3, and SQL generated from the tables.

Only questions that `broker list` and `broker export-vv` ask. Anything unusual (no database yet,
another schema, damage) makes `open_hot` give None, and the whole store sorts it out.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING

from broker.store import faults, hot_sql, rows
from broker.store.rows import StoredMachine

if TYPE_CHECKING:
    from broker.events import Event
    from broker.model import Token

BUSY_SECONDS = 10.0


class HotStore:
    """A few verbs of `Store`, with the same meaning and errors. Not for several threads."""

    def __init__(self, connection: sqlite3.Connection, database: Path) -> None:
        self._connection = connection
        self._database = database

    def machines(self) -> list[StoredMachine]:
        """All machines, by name, then source."""
        with faults.sqlite_errors(self._database):
            return [rows.to_stored(row) for row in self._connection.execute(hot_sql.MACHINES)]

    def first_machines(self, most: int) -> list[StoredMachine]:
        """The first of them."""
        with faults.sqlite_errors(self._database):
            found = self._connection.execute(hot_sql.FIRST_MACHINES, {"most": most})
            return [rows.to_stored(row) for row in found]

    def with_process(self) -> list[StoredMachine]:
        """Those that were seen with a process of this host."""
        with faults.sqlite_errors(self._database):
            return [rows.to_stored(row) for row in self._connection.execute(hot_sql.WITH_PROCESS)]

    def find(self, reference: str) -> list[StoredMachine]:
        """The machines that `name`, `source/name`, uuid or `source/uuid` names; often one."""
        with faults.sqlite_errors(self._database):
            found = self._connection.execute(hot_sql.FIND, rows.parts_of(reference))
            return [rows.to_stored(row) for row in found]

    def add_token(self, token: Token) -> None:
        """Keep a new token."""
        from broker.store import token_rows

        with faults.sqlite_errors(self._database):
            self._connection.execute(hot_sql.ADD_TOKEN, token_rows.from_token(token))

    def add_event(self, event: Event) -> None:
        """Write one line of the audit log."""
        with faults.sqlite_errors(self._database):
            self._connection.execute(hot_sql.ADD_EVENT, rows.from_event(event))

    def is_whole(self) -> bool:
        """Whether every configured source was looked at, so that what is stored is all there is."""
        with faults.sqlite_errors(self._database):
            return self._connection.execute(hot_sql.UNLISTED).fetchone() is None

    def file_fingerprint(self) -> str:
        """Which state of sources.yaml the machines are those of; empty when unknown."""
        with faults.sqlite_errors(self._database):
            row = self._connection.execute(hot_sql.FACT, {"name": "sources.yaml"}).fetchone()
        return "" if row is None else str(row["value"])

    def close(self) -> None:
        """Give back the connection."""
        self._connection.close()


def open_hot(database: Path) -> HotStore | None:
    """The quick way in, or None when the whole store must open it: then that is no error."""
    if faults.suspect_mark(database).exists():
        return None
    connection: sqlite3.Connection | None = None
    try:
        connection = sqlite3.connect(
            f"{database.absolute().as_uri()}?mode=rw",
            uri=True,
            timeout=BUSY_SECONDS,
            isolation_level=None,
        )
        connection.row_factory = sqlite3.Row
        connection.execute("PRAGMA synchronous = NORMAL")
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version == hot_sql.SCHEMA:
            connection.execute("SELECT 1 FROM machine LIMIT 1").fetchone()
            return HotStore(connection, database)
    except sqlite3.Error:
        pass
    if connection is not None:
        connection.close()
    return None
