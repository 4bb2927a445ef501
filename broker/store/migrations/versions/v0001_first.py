"""The first schema."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "1"
down_revision = None


def upgrade() -> None:
    """Make every table."""
    op.create_table(
        "meta",
        sa.Column("name", sa.String(), primary_key=True),
        sa.Column("value", sa.String(), nullable=False),
    )
    op.create_table(
        "source",
        sa.Column("name", sa.String(), primary_key=True),
        sa.Column("type", sa.String(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("health", sa.String(), nullable=False),
        sa.Column("problem", sa.String(), nullable=False),
        sa.Column("fix", sa.String(), nullable=False),
        sa.Column("warnings", sa.String(), nullable=False),
        sa.Column("listed_at", sa.Float()),
    )
    op.create_table(
        "machine",
        sa.Column(
            "source",
            sa.String(),
            sa.ForeignKey("source.name", ondelete="CASCADE"),
            primary_key=True,
        ),
        sa.Column("uuid", sa.String(), primary_key=True),
        sa.Column("name", sa.String(), nullable=False, index=True),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("hypervisor", sa.String(), nullable=False),
        sa.Column("hypervisor_ip", sa.String(), nullable=False),
        sa.Column("protocol", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("pid", sa.Integer()),
        sa.Column("started_at", sa.Float()),
        sa.Column("target", sa.String()),
        sa.Column("defined", sa.Boolean(), nullable=False),
        sa.Column("kept", sa.Boolean(), nullable=False),
        sa.Column("sealed_ticket", sa.String()),
        sa.Column("stale", sa.Boolean(), nullable=False),
        sa.Column("seen_at", sa.Float(), nullable=False),
    )
    op.create_table(
        "wanted",
        sa.Column("source", sa.String(), primary_key=True),
        sa.Column("uuid", sa.String(), primary_key=True),
        sa.Column("power", sa.String(), nullable=False),
    )
    op.create_table(
        "token",
        sa.Column("digest", sa.LargeBinary(), primary_key=True),
        sa.Column("source", sa.String(), nullable=False),
        sa.Column("uuid", sa.String(), nullable=False),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.Column("expires_at", sa.Float(), nullable=False, index=True),
        sa.Column("label", sa.String(), nullable=False),
        sa.Column("used_at", sa.Float()),
        sa.Column("revoked_at", sa.Float()),
        sa.Column("session", sa.String()),
    )
    op.create_table(
        "session",
        sa.Column("id", sa.String(), primary_key=True),
        sa.Column("source", sa.String(), nullable=False),
        sa.Column("uuid", sa.String(), nullable=False),
        sa.Column("console", sa.String(), nullable=False),
        sa.Column("client", sa.String(), nullable=False),
        sa.Column("worker", sa.Integer(), nullable=False),
        sa.Column("started_at", sa.Float(), nullable=False),
        sa.Column("bytes_to_client", sa.BigInteger(), nullable=False),
        sa.Column("bytes_to_server", sa.BigInteger(), nullable=False),
        sa.Column("label", sa.String(), nullable=False),
        sa.Column("ended_at", sa.Float(), index=True),
        sa.Column("end_reason", sa.String(), nullable=False),
        sa.Column("end_asked", sa.Boolean(), nullable=False),
    )
    op.create_table(
        "channel",
        sa.Column(
            "session",
            sa.String(),
            sa.ForeignKey("session.id", ondelete="CASCADE"),
            primary_key=True,
        ),
        sa.Column("name", sa.String(), primary_key=True),
        sa.Column("opened_at", sa.Float(), nullable=False),
        sa.Column("bytes_to_client", sa.BigInteger(), nullable=False),
        sa.Column("bytes_to_server", sa.BigInteger(), nullable=False),
    )
    op.create_table(
        "event",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("at", sa.Float(), nullable=False, index=True),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("text", sa.String(), nullable=False),
        sa.Column("source", sa.String(), nullable=False),
        sa.Column("machine_source", sa.String()),
        sa.Column("machine_uuid", sa.String()),
        sa.Column("console", sa.String(), nullable=False),
        sa.Column("session", sa.String()),
        sa.Column("client", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sqlite_autoincrement=True,
    )
