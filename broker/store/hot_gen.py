"""Writes `hot_sql.py`: `python -m broker.store.hot_gen`. A test sees that it was done."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Executable
from sqlalchemy.dialects import sqlite
from sqlalchemy.sql import ClauseElement

from broker.store import queries
from broker.store.schema import SCHEMA

TARGET = Path(__file__).with_name("hot_sql.py")


def generate() -> str:
    """The text of `hot_sql.py` for the tables as they are."""
    statements = {
        "MACHINES": queries.MACHINES,
        "FIRST_MACHINES": queries.FIRST_MACHINES,
        "WITH_PROCESS": queries.WITH_PROCESS,
        "FIND": queries.FIND,
        "UNLISTED": queries.UNLISTED,
        "FACT": queries.FACT,
        "ADD_TOKEN": queries.ADD_TOKEN,
        "ADD_EVENT": queries.ADD_EVENT,
    }
    parts = [
        '"""SQL of the hot path. Made by `python -m broker.store.hot_gen` from the tables."""',
        "# ruff: noqa: E501, S105",
        "from __future__ import annotations",
        f"SCHEMA = {SCHEMA}",
        *(f'{name} = """\n{_sql(query)}\n"""' for name, query in statements.items()),
    ]
    return "\n\n".join(parts) + "\n"


def _sql(query: Executable) -> str:
    assert isinstance(query, ClauseElement)
    dialect = sqlite.dialect(paramstyle="named")
    text = str(query.compile(dialect=dialect, compile_kwargs={"render_postcompile": True}))
    return "\n".join(line.rstrip() for line in text.splitlines())


if __name__ == "__main__":
    TARGET.write_text(generate(), encoding="utf-8")
