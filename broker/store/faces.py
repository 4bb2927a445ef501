"""Machines that were read before, so that reading many again makes only what is different.

Rows come as plain tuples, straight from the driver and a thousand at a time: for 100,000 machines
SQLAlchemy's own rows cost more than all the rest of a reading, and held at once more memory.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

from sqlalchemy import Connection

from broker.model import Machine
from broker.store import rows
from broker.store.queries import MACHINES
from broker.store.rows import StoredMachine

_NAMES: Final = tuple(column.name for column in MACHINES.selected_columns)
_OF_THE_MACHINE: Final = _NAMES.index("kept")
"""What the source showed comes first; behind it is what the store adds."""
_UUID: Final = _NAMES.index("uuid")
_ADDED: Final = tuple(map(_NAMES.index, ("stale", "seen_at", "listed_at", "sessions")))
_AT_ONCE: Final = 1000


class Faces:
    """Machines by what their rows said. Thread-safe.

    Of a row only a hash is kept, 64 bits of it with a secret of the process: two rows that a
    source could make alike are not a thing to fear, and the rows of 100,000 machines would be
    40 MB.
    """

    def __init__(self) -> None:
        self._known: dict[int, Machine] = {}
        self._lock = threading.Lock()
        self._sql: dict[str, str] = {}

    def read(self, db: Connection) -> list[StoredMachine]:
        """The machines of `queries.MACHINES`, in its order; unchanged ones are the same objects."""
        name = db.dialect.name
        if name not in self._sql:
            self._sql[name] = str(MACHINES.compile(dialect=db.dialect))
        result = db.exec_driver_sql(self._sql[name])
        assert result.cursor is not None
        with self._lock:
            try:
                return self._all(result.cursor.fetchmany)
            finally:
                result.close()

    def _all(self, fetch: Callable[[int], Sequence[Any]]) -> list[StoredMachine]:
        before, now = self._known, {}
        found = []
        stale, seen_at, listed_at, sessions = _ADDED
        for row in iter_rows(fetch):
            face = hash(tuple(row[:_OF_THE_MACHINE]))
            machine = before.get(face)
            if machine is None or machine.key.uuid != row[_UUID]:
                machine = rows.to_machine(dict(zip(_NAMES, row, strict=True)))
            now[face] = machine
            found.append(
                rows.stored(machine, row[stale], row[seen_at], row[listed_at], row[sessions])
            )
        self._known = now
        return found


def iter_rows(fetch: Callable[[int], Sequence[Any]]) -> Iterator[Any]:
    """All rows of a cursor, not all at once."""
    while some := fetch(_AT_ONCE):
        yield from some
