"""Whether anybody wrote anything: the cheap question that readers ask several times a second."""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from pathlib import Path

from broker.store.faults import sqlite_errors


class SqliteVersion:
    """SQLite's `data_version`, on a connection that never writes and so sees every commit."""

    def __init__(self, database: Path) -> None:
        self._database = database
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None

    def read(self) -> int:
        """That number; about 6 µs."""
        with self._lock, sqlite_errors(self._database):
            if self._connection is None:
                self._connection = sqlite3.connect(
                    f"{self._database.as_uri()}?mode=rw", uri=True, check_same_thread=False
                )
            (number,) = self._connection.execute("PRAGMA data_version").fetchone()
            return int(number)

    def close(self) -> None:
        """Give back the connection; it opens again when asked."""
        with self._lock, contextlib.suppress(sqlite3.Error):
            if self._connection is not None:
                self._connection.close()
                self._connection = None
