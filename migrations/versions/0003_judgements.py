"""Judged queries, and how a collection is searched when a request does not say."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

BIG_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
KEY = sa.String(512).with_variant(sa.String(512, collation="C"), "postgresql")


def upgrade() -> None:
    op.add_column("collections", sa.Column("search", sa.JSON(), nullable=True))
    op.create_table(
        "judged_queries",
        sa.Column("id", BIG_ID, nullable=False),
        sa.Column("collection_id", BIG_ID, nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["collection_id"],
            ["collections.id"],
            name="fk_judged_queries_collection_id_collections",
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name="pk_judged_queries"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_judged_queries_collection_id", "judged_queries", ["collection_id"])
    op.create_table(
        "judgements",
        sa.Column("query_id", BIG_ID, autoincrement=False, nullable=False),
        sa.Column("external_id", KEY, nullable=False),
        sa.Column("relevance", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["query_id"],
            ["judged_queries.id"],
            name="fk_judgements_query_id_judged_queries",
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("query_id", "external_id", name="pk_judgements"),
    )


def downgrade() -> None:
    op.drop_table("judgements")
    op.drop_index("ix_judged_queries_collection_id", "judged_queries")
    op.drop_table("judged_queries")
    op.drop_column("collections", "search")
