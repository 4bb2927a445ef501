from __future__ import annotations

import sqlite3
from dataclasses import fields

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlmodel import SQLModel

from broker.config.locations import Locations
from broker.model import LinkPolicy
from broker.store import engine, schema, tables, token_rows
from broker.store.store import Store
from tests.broker.store.nouns import NOW, POLICY, engine_of
from tests.fake_clock import FakeClock


def test_migrations_make_what_the_tables_say(store: Store) -> None:
    assert tables.MetaRow.metadata is SQLModel.metadata
    with engine_of(store).connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, SQLModel.metadata) == []


def test_the_last_migration_has_the_schemas_number() -> None:
    scripts = ScriptDirectory(engine.__file__.replace("engine.py", "migrations"))
    assert scripts.get_current_head() == str(schema.SCHEMA)


def make_first_schema(locations: Locations) -> None:
    """A database as the first version made it, with an unused token and a live session."""
    config = Config()
    config.set_main_option("script_location", engine.__file__.replace("engine.py", "migrations"))
    made = engine.engine_on(locations.database)
    with made.execution_options(sqlite_begin="EXCLUSIVE").begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "1")
        connection.exec_driver_sql("PRAGMA user_version = 1")
    made.dispose()
    now = NOW.timestamp()
    with sqlite3.connect(locations.database) as raw:
        raw.execute(
            "INSERT INTO token VALUES (?, 'lab', 'u1', ?, ?, 'Ada', NULL, NULL, NULL)",
            (b"d" * 32, now, now + 60),
        )
        raw.execute(
            "INSERT INTO session VALUES "
            "('abc', 'lab', 'u1', 'web', '192.0.2.1:1', 1, ?, 1, 2, 'Ada', NULL, '', 0)",
            (now,),
        )
    raw.close()


def test_what_the_first_version_made_may_do_everything(
    locations: Locations, clock: FakeClock
) -> None:
    make_first_schema(locations)
    store = Store.open(locations, clock=clock)
    token = store.token(b"d" * 32)
    (session,) = store.sessions()
    store.close()
    assert token is not None
    assert (token.label, token.policy) == ("Ada", LinkPolicy())
    assert (session.label, session.policy) == ("Ada", LinkPolicy())


def test_a_policy_comes_back_as_it_was_put() -> None:
    assert token_rows.to_policy(token_rows.from_policy(POLICY)) == POLICY
    assert all(getattr(POLICY, each.name) != each.default for each in fields(LinkPolicy))


def test_only_what_a_policy_says_is_stored() -> None:
    assert token_rows.from_policy(LinkPolicy()) == "{}"
    assert token_rows.from_policy(LinkPolicy(usb=False)) == '{"usb": false}'


def test_a_restriction_that_is_not_known_is_not_passed_over() -> None:
    with pytest.raises(TypeError, match="no_mouse"):
        token_rows.to_policy('{"no_mouse": true}')
