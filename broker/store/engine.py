"""Opening a database: where it is, its migrations, and what to do about a damaged one.

SQLite in WAL mode with `user_version` as the schema's number: when that is ours, nothing but a
short look happens. Everything else is done under a lock, so that two processes may open at once.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import sqlalchemy
from sqlalchemy import event, exc

from broker.clock import Clock
from broker.errors import StoreError
from broker.store import faults
from broker.store.patience import patience
from broker.store.schema import SCHEMA

BUSY_SECONDS = 10.0
"""How long a verb waits for another process that is writing."""

_WRITERS = 0x62726F6B
"""The number of PostgreSQL's lock that ours take to write; nothing else has it, one hopes."""

SMALL_BYTES = 4 << 20
"""A database up to this size is checked whole whenever it is opened; that takes milliseconds."""


def engine_on(path: Path) -> sqlalchemy.Engine:
    """An engine on a SQLite file; nothing is opened yet."""
    engine = sqlalchemy.create_engine(
        f"sqlite:///{path}",
        connect_args={"timeout": BUSY_SECONDS, "check_same_thread": False},
        hide_parameters=True,
    )
    event.listen(engine, "connect", _on_connect)
    event.listen(engine, "begin", _on_begin)
    return engine


def make_ready(path: Path, engine: sqlalchemy.Engine, clock: Clock) -> tuple[str, ...]:
    """See that a sound database of our schema is there; notes on what had to be done for it.

    Raises:
        StoreError: It cannot be opened, or a newer version of ours made it.
    """
    _make_private(path)
    with faults.sqlite_errors(path):
        if _is_ready(path):
            return ()
        with _lock(path):
            return _mend(path, engine, clock)


def open_url(url: str) -> sqlalchemy.Engine:
    """An engine on a database named by a SQLAlchemy URL, its schema ours.

    Raises:
        StoreError: The URL cannot be used, or nobody answers there.
    """
    try:
        engine = sqlalchemy.create_engine(
            url,
            pool_pre_ping=True,
            hide_parameters=True,
            connect_args=_server_patience(sqlalchemy.make_url(url)),
        )
        try:
            with engine.begin() as connection:
                be_alone(connection)
                if not _is_newest(connection):
                    migrate(connection)
        except BaseException:
            engine.dispose()
            raise
    except (exc.ArgumentError, exc.NoSuchModuleError, ModuleNotFoundError) as problem:
        raise StoreError(
            "store.url cannot be used: it is no SQLAlchemy URL, or its driver is not installed",
            fix="Write it as dialect+driver://user@host/name, and install that driver",
        ) from problem
    except exc.DBAPIError as problem:
        raise StoreError(
            "The database that store.url names cannot be opened", fix="See that it is up"
        ) from problem
    return engine


def be_alone(connection: sqlalchemy.Connection) -> None:
    """Have whoever writes to a PostgreSQL wait for the end of this transaction, as SQLite does."""
    if connection.dialect.name == "postgresql":
        if (waits := patience()) is not None:
            connection.exec_driver_sql(f"SET LOCAL lock_timeout = {round(waits * 1000)}")
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_WRITERS:d})")


def _patience() -> float:
    """Seconds that a verb may wait here."""
    return BUSY_SECONDS if (here := patience()) is None else here


def _server_patience(url: sqlalchemy.URL) -> dict[str, Any]:
    """How long PostgreSQL may keep us waiting, as psycopg is told it."""
    if url.get_backend_name() != "postgresql" or url.get_driver_name() != "psycopg":
        return {}
    most = int(BUSY_SECONDS * 1000)
    return {
        "connect_timeout": int(BUSY_SECONDS),
        "options": f"{url.query.get('options', '')} -c lock_timeout={most} "
        f"-c statement_timeout={most} -c idle_in_transaction_session_timeout={most}",
    }


def _is_newest(connection: sqlalchemy.Connection) -> bool:
    """Whether the schema is ours.

    Raises:
        StoreError: A newer version of ours made it.
    """
    if not sqlalchemy.inspect(connection).has_table("alembic_version"):
        return False
    version = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()
    if version is not None and int(version) > SCHEMA:
        raise StoreError(
            "A newer version of broker made the database that store.url names",
            fix="Use that version, or another database",
        )
    return version == str(SCHEMA)


def migrate(connection: sqlalchemy.Connection) -> None:
    """Bring the schema up to ours with alembic, inside the caller's transaction."""
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).with_name("migrations")))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql(f"PRAGMA user_version = {SCHEMA:d}")


def _make_private(path: Path) -> None:
    """An empty file that only we can read, or ours closed to others; WAL files inherit its mode.

    One that exists is not opened here: closing it would drop the locks that SQLite holds on it
    for another connection of this process.
    """
    try:
        try:
            if path.stat().st_mode & 0o077:
                path.chmod(0o600)
        except FileNotFoundError:
            with contextlib.suppress(FileExistsError):
                os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
    except OSError as problem:
        raise StoreError(
            f"{path}: the database cannot be opened or made ({problem.strerror})",
            fix="See that its directory is yours, writable and has room",
        ) from problem


@contextlib.contextmanager
def _lock(path: Path) -> Iterator[None]:
    """One process at a time makes, migrates or sets aside this database."""
    handle = os.open(
        path.with_name(path.name + ".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600
    )
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _is_ready(path: Path) -> bool:
    """Whether it is sound and has our schema.

    Raises:
        StoreError: A newer version of ours made it.
    """
    if faults.suspect_mark(path).exists():
        return False
    try:
        with contextlib.closing(sqlite3.connect(path, timeout=_patience())) as connection:
            (version,) = connection.execute("PRAGMA user_version").fetchone()
            if version > SCHEMA:
                raise StoreError(
                    f"{path}: a newer version of broker made this database",
                    fix="Use that version, or set BROKER_HOME to another directory",
                )
            if version < SCHEMA:
                return False
            return path.stat().st_size > SMALL_BYTES or _is_sound(connection)
    except sqlite3.DatabaseError as problem:
        if faults.code_of(problem) in faults.DAMAGED:
            return False
        raise


def _is_sound(connection: sqlite3.Connection) -> bool:
    (answer,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    return bool(answer == "ok")


def _mend(path: Path, engine: sqlalchemy.Engine, clock: Clock) -> tuple[str, ...]:
    """Under the lock: set a damaged file aside, make or migrate the schema."""
    notes: tuple[str, ...] = ()
    if _is_damaged(path):
        kept = _set_aside(path, clock)
        notes = (
            f"{path} was damaged and is kept as {kept.name}; a new database was begun. Consoles "
            "come back with the next look at their sources; sessions, unused tokens and the log "
            "are only in the damaged file",
        )
        _make_private(path)
    faults.suspect_mark(path).unlink(missing_ok=True)
    if not _is_ready(path):
        with contextlib.closing(sqlite3.connect(path, timeout=_patience())) as connection:
            connection.execute("PRAGMA journal_mode = WAL")
        try:
            with engine.execution_options(sqlite_begin="EXCLUSIVE").begin() as connection:
                migrate(connection)
        except exc.DBAPIError as problem:
            if isinstance(problem.orig, sqlite3.Error):
                raise problem.orig from problem
            raise
    return notes


def _is_damaged(path: Path) -> bool:
    try:
        with contextlib.closing(sqlite3.connect(path, timeout=_patience())) as connection:
            return not _is_sound(connection)
    except sqlite3.DatabaseError as problem:
        if faults.code_of(problem) in faults.DAMAGED:
            return True
        raise


def _set_aside(path: Path, clock: Clock) -> Path:
    """Rename a damaged database with its WAL, which may still hold what the file lacks."""
    stamp = clock.now().strftime("%Y%m%dT%H%M%SZ")
    kept = path.with_name(f"{path.name}.corrupt-{stamp}")
    number = 1
    while kept.exists():
        number += 1
        kept = path.with_name(f"{path.name}.corrupt-{stamp}-{number}")
    for suffix in ("-wal", "-shm", ""):
        with contextlib.suppress(FileNotFoundError):
            path.with_name(path.name + suffix).rename(kept.with_name(kept.name + suffix))
    return kept


def _on_connect(connection: Any, _record: object) -> None:
    """Python's own transaction control is switched off: `_on_begin` says how one starts."""
    connection.isolation_level = None
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA synchronous = NORMAL")


def _on_begin(connection: sqlalchemy.Connection) -> None:
    """Who will write says so at once: a reader that turns writer cannot wait its turn."""
    waits = _patience()
    if connection.info.get("waits", BUSY_SECONDS) != waits:
        connection.exec_driver_sql(f"PRAGMA busy_timeout = {round(waits * 1000)}")
        connection.info["waits"] = waits
    kind = connection.get_execution_options().get("sqlite_begin", "DEFERRED")
    connection.exec_driver_sql(f"BEGIN {kind}")
