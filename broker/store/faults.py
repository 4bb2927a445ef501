"""What SQLite's errors mean to a person. Anything not listed is a bug and passes through."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from broker.errors import StoreError

DAMAGED: Final = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)

ROOM_BYTES: Final = 65536
"""A disk with less left than this is full, whatever else SQLite says of it."""

_MEANING: Final = {
    sqlite3.SQLITE_BUSY: ("is held by another process for too long", "Try again"),
    sqlite3.SQLITE_LOCKED: ("is held by another process for too long", "Try again"),
    sqlite3.SQLITE_FULL: ("cannot grow: its disk is full", "Make room on that disk"),
    sqlite3.SQLITE_READONLY: (
        "cannot be written to",
        "Make it and its directory writable, or set BROKER_HOME to a directory that is",
    ),
    sqlite3.SQLITE_PERM: ("may not be opened by you", "Look at who owns it: ls -l"),
    sqlite3.SQLITE_CANTOPEN: (
        "cannot be opened",
        "See that it is a file of yours, in a directory of yours that can be written",
    ),
    sqlite3.SQLITE_IOERR: ("cannot be read or written: its disk fails", "Look at that disk"),
}


def suspect_mark(database: Path) -> Path:
    """A file that says: look closely at this database before it is opened again."""
    return database.with_name(database.name + ".suspect")


def code_of(problem: sqlite3.Error) -> int:
    """SQLite's primary result code; 0 when the error came from Python's side."""
    return getattr(problem, "sqlite_errorcode", 0) & 0xFF


def meaning_of(problem: sqlite3.Error, database: Path) -> StoreError | None:
    """What to tell a person, or None when it is a bug of ours.

    A damaged file is marked, so that whoever opens it next sets it aside.
    """
    code = code_of(problem)
    if code in DAMAGED:
        with contextlib.suppress(OSError):
            os.close(os.open(suspect_mark(database), os.O_CREAT | os.O_WRONLY, 0o600))
        return StoreError(
            f"{database}: the database is damaged",
            fix="Do it again: the damaged file is then kept aside and a new one begun",
        )
    if code not in _MEANING:
        return None
    if code == sqlite3.SQLITE_IOERR and _is_full(database):
        code = sqlite3.SQLITE_FULL  # what SQLite calls it when the shared memory file cannot grow
    fact, fix = _MEANING[code]
    return StoreError(f"{database} {fact}", fix=fix)


def _is_full(database: Path) -> bool:
    try:
        disk = os.statvfs(database.parent)
    except OSError:
        return False
    return disk.f_bavail * disk.f_frsize < ROOM_BYTES


@contextlib.contextmanager
def sqlite_errors(database: Path) -> Iterator[None]:
    """Turn sqlite3's errors into ours."""
    try:
        yield
    except sqlite3.Error as exc:
        if (ours := meaning_of(exc, database)) is None:
            raise
        raise ours from exc
