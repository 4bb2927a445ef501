"""A database of its own for each test, on a PostgreSQL server that TEST_POSTGRESQL_URL names.

Such as `postgresql+psycopg://broker@/postgres?host=/run/postgresql`; whoever that is must be
allowed to create databases. Without it, tests that need one are skipped.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterator

import pytest
import sqlalchemy

URL = os.environ.get("TEST_POSTGRESQL_URL", "")
needs_postgresql = pytest.mark.skipif(not URL, reason="TEST_POSTGRESQL_URL names no server")


@contextlib.contextmanager
def fresh_database() -> Iterator[str]:
    """The URL of an empty one; it is gone afterwards."""
    name = f"broker_test_{secrets.token_hex(4)}"
    server = sqlalchemy.create_engine(URL, isolation_level="AUTOCOMMIT")
    try:
        with server.connect() as connection:
            connection.exec_driver_sql(f"CREATE DATABASE {name}")
        try:
            made = sqlalchemy.make_url(URL).set(database=name)
            yield made.render_as_string(hide_password=False)
        finally:
            with server.connect() as connection:
                connection.exec_driver_sql(f"DROP DATABASE {name} WITH (FORCE)")
    finally:
        server.dispose()
