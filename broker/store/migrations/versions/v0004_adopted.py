"""VMs that somebody else started and that were adopted."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "4"
down_revision = "3"


def upgrade() -> None:
    """Whatever was known before was not adopted."""
    op.add_column(
        "machine", sa.Column("adopted", sa.Boolean(), nullable=False, server_default=sa.false())
    )
