"""Machines that were read before, so that reading many again makes only what is different."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import Any, Final

from broker.model import Machine
from broker.store import rows
from broker.store.queries import MACHINES
from broker.store.rows import StoredMachine

_NAMES: Final = tuple(column.name for column in MACHINES.selected_columns)
_NOT_OF_THE_MACHINE: Final = {"kept", "stale", "seen_at", "listed_at", "sessions"}
_KEY: Final = (_NAMES.index("source"), _NAMES.index("uuid"))
_FACE: Final = tuple(i for i, name in enumerate(_NAMES) if name not in _NOT_OF_THE_MACHINE)


class Faces:
    """Machines by what their rows said. Thread-safe.

    Of a row only a hash is kept, 64 bits of it with a secret of the process: two rows that a
    source could make alike are not a thing to fear, and the rows of 100,000 machines would be
    40 MB.
    """

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], tuple[int, Machine]] = {}
        self._lock = threading.Lock()

    def read(self, found: Iterable[Any]) -> list[StoredMachine]:
        """The machines of `queries.MACHINES`, in its order; unchanged ones are the same objects."""
        with self._lock:
            known, self._known = self._known, {}
            return [self._one(row, known) for row in found]

    def _one(self, row: Any, known: dict[tuple[str, str], tuple[int, Machine]]) -> StoredMachine:
        key = (row[_KEY[0]], row[_KEY[1]])
        face = hash(tuple([row[index] for index in _FACE]))
        before = known.get(key)
        if before is not None and before[0] == face:
            machine = before[1]
        else:
            machine = rows.to_machine(row._mapping)
            before = (face, machine)
        self._known[machine.key.source, machine.key.uuid] = before
        return rows.to_stored(row._mapping, machine)
