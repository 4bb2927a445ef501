"""Alembic's way in. The connection is handed over by `engine.migrate`, inside a transaction."""

from __future__ import annotations

from alembic import context
from sqlmodel import SQLModel

from broker.store import tables

assert tables.MetaRow.metadata is SQLModel.metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=SQLModel.metadata,
    render_as_batch=True,
)
context.run_migrations()
