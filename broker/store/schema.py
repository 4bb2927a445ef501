"""The number of the schema that this version reads and writes."""

from __future__ import annotations

from typing import Final

SCHEMA: Final = 5
"""Kept in SQLite's `user_version`; the last migration's revision is this number."""

TABLES: Final = (
    "meta",
    "source",
    "machine",
    "wanted",
    "token",
    "session",
    "channel",
    "counter",
    "event",
)
"""Ours, in the order in which rows may be added."""
