"""Batches count their tries and remember the last error; jobs remember how fast they go."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Plain ADD COLUMN with constants: neither database rewrites its rows or locks them for long.
    op.add_column("batches", sa.Column("tries", sa.Integer(), nullable=False, server_default="0"))
    op.add_column("batches", sa.Column("max_tries", sa.Integer(), nullable=False, server_default="3"))
    op.add_column("batches", sa.Column("halvings", sa.Integer(), nullable=False, server_default="0"))
    op.add_column("batches", sa.Column("last_error", sa.Text(), nullable=True))
    op.add_column("jobs", sa.Column("rate_per_s", sa.Double(), nullable=True))
    op.add_column("jobs", sa.Column("worked_at", sa.DateTime(timezone=True), nullable=True))


def downgrade() -> None:
    op.drop_column("jobs", "worked_at")
    op.drop_column("jobs", "rate_per_s")
    op.drop_column("batches", "last_error")
    op.drop_column("batches", "halvings")
    op.drop_column("batches", "max_tries")
    op.drop_column("batches", "tries")
