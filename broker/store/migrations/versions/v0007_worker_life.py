"""Which life of its process number a session's worker has."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "7"
down_revision = "6"


def upgrade() -> None:
    """Of what was there before, nobody knows."""
    op.add_column(
        "session", sa.Column("worker_life", sa.String(), nullable=False, server_default="")
    )
