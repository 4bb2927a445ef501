"""What relaying showed of latency, what workers counted, and more of what the audit log says."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "3"
down_revision = "2"


def upgrade() -> None:
    """Whatever was there before was not measured."""
    for table in ("session", "channel"):
        op.add_column(
            table, sa.Column("measured", sa.String(), nullable=False, server_default="{}")
        )
    for column in ("label", "verdict", "channel"):
        op.add_column("event", sa.Column(column, sa.String(), nullable=False, server_default=""))
    op.create_table(
        "counter",
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("value", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )
