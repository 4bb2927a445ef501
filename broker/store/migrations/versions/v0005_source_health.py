"""Since when a source does as it does, when it may be asked again, and what can be done there."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "5"
down_revision = "4"


def upgrade() -> None:
    """Whatever was known before was listed in no time, and may be asked at once."""
    op.add_column("source", sa.Column("since", sa.Float(), nullable=True))
    op.add_column("source", sa.Column("seconds", sa.Float(), nullable=False, server_default="0"))
    op.add_column("source", sa.Column("error", sa.String(), nullable=False, server_default=""))
    op.add_column("source", sa.Column("retry_at", sa.Float(), nullable=True))
    op.add_column(
        "source", sa.Column("abilities", sa.String(), nullable=False, server_default="{}")
    )
