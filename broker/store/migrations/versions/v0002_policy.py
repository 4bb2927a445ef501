"""What a token lets its session do."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "2"
down_revision = "1"


def upgrade() -> None:
    """Whatever was made before may do everything, as it could."""
    for table in ("token", "session"):
        op.add_column(table, sa.Column("policy", sa.String(), nullable=False, server_default="{}"))
