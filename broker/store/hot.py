"""The store for commands that must start fast: raw sqlite3, and SQL generated from the tables.

Only questions that `broker list` and `broker export-vv` ask. Anything unusual (no database yet,
another schema, damage) makes `open_hot` give None, and the whole store sorts it out.
"""

from __future__ import annotations

from pathlib import Path

from broker.events import Event
from broker.model import Token
from broker.store.rows import StoredMachine


class HotStore:
    """A few verbs of `Store`, with the same meaning. Not for several threads."""

    def machines(self) -> list[StoredMachine]:
        """All machines, by name, then source."""
        raise NotImplementedError

    def find(self, reference: str) -> list[StoredMachine]:
        """The machines that `name`, `source/name`, uuid or `source/uuid` names; often one."""
        raise NotImplementedError

    def add_token(self, token: Token) -> None:
        """Keep a new token."""
        raise NotImplementedError

    def add_event(self, event: Event) -> None:
        """Write one line of the audit log."""
        raise NotImplementedError

    def file_fingerprint(self) -> str:
        """Which state of sources.yaml the machines are those of; empty when unknown."""
        raise NotImplementedError

    def close(self) -> None:
        """Give back the connection."""
        raise NotImplementedError


def open_hot(database: Path) -> HotStore | None:
    """The quick way in, or None when the whole store must open it: then that is no error."""
    raise NotImplementedError
