from __future__ import annotations

from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlmodel import SQLModel

from broker.store import engine, schema, tables
from broker.store.store import Store
from tests.broker.store.nouns import engine_of


def test_migrations_make_what_the_tables_say(store: Store) -> None:
    assert tables.MetaRow.metadata is SQLModel.metadata
    with engine_of(store).connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, SQLModel.metadata) == []


def test_the_last_migration_has_the_schemas_number() -> None:
    scripts = ScriptDirectory(engine.__file__.replace("engine.py", "migrations"))
    assert scripts.get_current_head() == str(schema.SCHEMA)


def test_every_table_is_named() -> None:
    assert set(schema.TABLES) == set(SQLModel.metadata.tables)
