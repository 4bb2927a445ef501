"""The number of the schema that this version reads and writes."""

from __future__ import annotations

from typing import Final

SCHEMA: Final = 7
"""Kept in SQLite's `user_version`; the last migration's revision is this number."""
