"""The first tables: collections, documents and their passages, embeddings and revisions; jobs and batches."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

BIG_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
KEY = sa.String(length=512).with_variant(sa.String(length=512, collation="C"), "postgresql")
HEX_ID = sa.String(length=32)
HASH = sa.String(length=64)
STATE = sa.String(length=16)
MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    _create_collections()
    _create_documents()
    _create_jobs()
    _create_batches()
    _create_job_errors()
    _create_passages()
    _create_embeddings()
    _create_revisions()
    _create_revision_jobs()


def downgrade() -> None:
    for table in (
        "revision_jobs",
        "revisions",
        "embeddings",
        "passages",
        "job_errors",
        "batches",
        "jobs",
        "documents",
        "collections",
    ):
        op.drop_table(table)


def _create_collections() -> None:
    op.create_table(
        "collections",
        sa.Column("id", BIG_ID, nullable=False),
        sa.Column("uid", HEX_ID, nullable=False),
        sa.Column("name", KEY, nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("encoder_id", sa.String(length=255), nullable=False),
        sa.Column("encoder_fingerprint", HASH, nullable=False),
        sa.Column("encoder_dim", sa.Integer(), nullable=False),
        sa.Column("encoder_max_tokens", sa.Integer(), nullable=False),
        sa.Column("settings", sa.JSON(), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("purged_seq", sa.BigInteger(), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_collections"),
        sa.UniqueConstraint("name", name="uq_collections_name"),
        sa.UniqueConstraint("uid", name="uq_collections_uid"),
        sqlite_autoincrement=True,
    )


def _create_documents() -> None:
    op.create_table(
        "documents",
        sa.Column("id", BIG_ID, nullable=False),
        sa.Column("collection_id", BIG_ID, nullable=False),
        sa.Column("external_id", KEY, nullable=False),
        sa.Column("state", STATE, nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("passage_count", sa.Integer(), nullable=False),
        sa.Column("content_hash", HASH, nullable=False),
        sa.Column("metadata_hash", HASH, nullable=False),
        sa.Column("job_id", HEX_ID, nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("updated_at", MOMENT, nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("metadata", sa.JSON(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["collection_id"],
            ["collections.id"],
            name="fk_documents_collection_id_collections",
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name="pk_documents"),
        sa.UniqueConstraint("collection_id", "external_id", name="uq_documents_collection_id_external_id"),
        sqlite_autoincrement=True,
    )
    op.create_index(
        "ix_documents_collection_id_seq_id", "documents", ["collection_id", "seq", "id"], unique=False
    )
    op.create_index(
        "ix_documents_collection_id_state_passage_count",
        "documents",
        ["collection_id", "state", "passage_count"],
        unique=False,
    )


def _create_jobs() -> None:
    op.create_table(
        "jobs",
        sa.Column("id", HEX_ID, nullable=False),
        sa.Column("kind", STATE, nullable=False),
        sa.Column("collection_id", BIG_ID, nullable=True),
        sa.Column("collection_name", KEY, nullable=False),
        sa.Column("state", STATE, nullable=False),
        sa.Column("total", sa.Integer(), nullable=False),
        sa.Column("done", sa.Integer(), nullable=False),
        sa.Column("failed", sa.Integer(), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("is_complete", sa.Boolean(), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("started_at", MOMENT, nullable=True),
        sa.Column("finished_at", MOMENT, nullable=True),
        sa.Column("details", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(
            ["collection_id"],
            ["collections.id"],
            name="fk_jobs_collection_id_collections",
            ondelete="SET NULL",
        ),
        sa.PrimaryKeyConstraint("id", name="pk_jobs"),
    )
    op.create_index("ix_jobs_collection_id", "jobs", ["collection_id"], unique=False)
    op.create_index("ix_jobs_state", "jobs", ["state"], unique=False)


def _create_batches() -> None:
    op.create_table(
        "batches",
        sa.Column("id", HEX_ID, nullable=False),
        sa.Column("job_id", HEX_ID, nullable=False),
        sa.Column("collection_id", BIG_ID, nullable=False),
        sa.Column("state", STATE, nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("lease_until", MOMENT, nullable=True),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.ForeignKeyConstraint(
            ["collection_id"],
            ["collections.id"],
            name="fk_batches_collection_id_collections",
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name="fk_batches_job_id_jobs", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name="pk_batches"),
    )
    op.create_index("ix_batches_collection_id", "batches", ["collection_id"], unique=False)
    op.create_index("ix_batches_job_id", "batches", ["job_id"], unique=False)
    op.create_index("ix_batches_state", "batches", ["state"], unique=False)


def _create_job_errors() -> None:
    op.create_table(
        "job_errors",
        sa.Column("id", BIG_ID, nullable=False),
        sa.Column("job_id", HEX_ID, nullable=False),
        sa.Column("external_id", sa.Text(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["job_id"], ["jobs.id"], name="fk_job_errors_job_id_jobs", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_job_errors"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_job_errors_job_id", "job_errors", ["job_id"], unique=False)


def _create_passages() -> None:
    op.create_table(
        "passages",
        sa.Column("id", BIG_ID, nullable=False),
        sa.Column("document_id", BIG_ID, nullable=False),
        sa.Column("ordinal", sa.Integer(), nullable=False),
        sa.Column("start", sa.Integer(), nullable=False),
        sa.Column("end", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["document_id"], ["documents.id"], name="fk_passages_document_id_documents", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_passages"),
        sa.UniqueConstraint("document_id", "ordinal", name="uq_passages_document_id_ordinal"),
        sqlite_autoincrement=True,
    )


def _create_embeddings() -> None:
    op.create_table(
        "embeddings",
        sa.Column("passage_id", BIG_ID, autoincrement=False, nullable=False),
        sa.Column("encoder_id", sa.String(length=255), nullable=False),
        sa.Column("vector", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["passage_id"], ["passages.id"], name="fk_embeddings_passage_id_passages", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("passage_id", "encoder_id", name="pk_embeddings"),
    )


def _create_revisions() -> None:
    op.create_table(
        "revisions",
        sa.Column("document_id", BIG_ID, autoincrement=False, nullable=False),
        sa.Column("batch_id", HEX_ID, nullable=False),
        sa.Column("content_hash", HASH, nullable=True),
        sa.Column("metadata_hash", HASH, nullable=True),
        sa.Column("title", sa.Text(), nullable=True),
        sa.Column("metadata", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("text", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(
            ["batch_id"], ["batches.id"], name="fk_revisions_batch_id_batches", ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["document_id"], ["documents.id"], name="fk_revisions_document_id_documents", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("document_id", name="pk_revisions"),
    )
    op.create_index("ix_revisions_batch_id", "revisions", ["batch_id"], unique=False)


def _create_revision_jobs() -> None:
    op.create_table(
        "revision_jobs",
        sa.Column("document_id", BIG_ID, autoincrement=False, nullable=False),
        sa.Column("job_id", HEX_ID, nullable=False),
        sa.Column("items", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["document_id"],
            ["documents.id"],
            name="fk_revision_jobs_document_id_documents",
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["job_id"], ["jobs.id"], name="fk_revision_jobs_job_id_jobs", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("document_id", "job_id", name="pk_revision_jobs"),
    )
    op.create_index("ix_revision_jobs_job_id", "revision_jobs", ["job_id"], unique=False)
