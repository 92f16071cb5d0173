"""Trained classifiers, their examples, versions and rules; what the service adds to documents' metadata."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

BIG_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
KEY = sa.String(512).with_variant(sa.String(512, collation="C"), "postgresql")
MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.add_column("documents", sa.Column("annotations", sa.JSON(), nullable=True))
    _create_classifiers()
    _create_examples()
    _create_versions()
    _create_rules()


def downgrade() -> None:
    op.drop_index("ix_labeling_rules_classifier_id", "labeling_rules")
    op.drop_index("ix_classifier_examples_classifier_id_id", "classifier_examples")
    for table in ("labeling_rules", "classifier_versions", "classifier_examples", "classifiers"):
        op.drop_table(table)
    op.drop_column("documents", "annotations")


def _create_classifiers() -> None:
    op.create_table(
        "classifiers",
        sa.Column("id", BIG_ID, nullable=False),
        sa.Column("name", KEY, nullable=False),
        *_encoder(),
        sa.Column("active", sa.Integer(), nullable=True),
        sa.Column("last_number", sa.Integer(), nullable=False),
        sa.Column("job_id", sa.String(32), nullable=True),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("updated_at", MOMENT, nullable=False),
        sa.Column("options", sa.JSON(), nullable=False),
        sa.Column("source", sa.JSON(), nullable=True),
        sa.Column("descriptions", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(
            ["job_id"], ["jobs.id"], name="fk_classifiers_job_id_jobs", ondelete="SET NULL"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_classifiers"),
        sa.UniqueConstraint("name", name="uq_classifiers_name"),
        sqlite_autoincrement=True,
    )


def _create_examples() -> None:
    op.create_table(
        "classifier_examples",
        sa.Column("id", BIG_ID, nullable=False),
        sa.Column("classifier_id", BIG_ID, nullable=False),
        sa.Column("text_hash", sa.String(64), nullable=False),
        sa.Column("updated_at", MOMENT, nullable=False),
        sa.Column("labels", sa.JSON(), nullable=False),
        sa.Column("vector", sa.LargeBinary(), nullable=True),
        sa.Column("text", sa.Text(), nullable=False),
        _of_classifier("classifier_examples"),
        sa.PrimaryKeyConstraint("id", name="pk_classifier_examples"),
        sa.UniqueConstraint(
            "classifier_id", "text_hash", name="uq_classifier_examples_classifier_id_text_hash"
        ),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_classifier_examples_classifier_id_id", "classifier_examples", ["classifier_id", "id"])


def _create_versions() -> None:
    op.create_table(
        "classifier_versions",
        sa.Column("classifier_id", BIG_ID, autoincrement=False, nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("origin", sa.String(16), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("is_multi", sa.Boolean(), nullable=False),
        sa.Column("is_tuned", sa.Boolean(), nullable=False),
        *_encoder(),
        sa.Column("data_hash", sa.String(64), nullable=False),
        sa.Column("examples", sa.Integer(), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("metrics", sa.JSON(), nullable=False),
        sa.Column("labels", sa.JSON(), nullable=False),
        sa.Column("parameters", sa.JSON(), nullable=False),
        sa.Column("head", sa.LargeBinary(), nullable=False),
        sa.Column("report", sa.JSON(), nullable=False),
        sa.Column("adapters", sa.LargeBinary(), nullable=True),
        _of_classifier("classifier_versions"),
        sa.PrimaryKeyConstraint("classifier_id", "number", name="pk_classifier_versions"),
    )


def _create_rules() -> None:
    op.create_table(
        "labeling_rules",
        sa.Column("collection_id", BIG_ID, autoincrement=False, nullable=False),
        sa.Column("field", KEY, nullable=False),
        sa.Column("classifier_id", BIG_ID, nullable=False),
        sa.ForeignKeyConstraint(
            ["collection_id"],
            ["collections.id"],
            name="fk_labeling_rules_collection_id_collections",
            ondelete="CASCADE",
        ),
        _of_classifier("labeling_rules"),
        sa.PrimaryKeyConstraint("collection_id", "field", name="pk_labeling_rules"),
    )
    op.create_index("ix_labeling_rules_classifier_id", "labeling_rules", ["classifier_id"])


def _encoder() -> list[sa.Column[object]]:
    return [
        sa.Column("encoder_id", sa.String(255), nullable=False),
        sa.Column("encoder_fingerprint", sa.String(64), nullable=False),
        sa.Column("encoder_dim", sa.Integer(), nullable=False),
        sa.Column("encoder_max_tokens", sa.Integer(), nullable=False),
    ]


def _of_classifier(table: str) -> sa.ForeignKeyConstraint:
    name = f"fk_{table}_classifier_id_classifiers"
    return sa.ForeignKeyConstraint(["classifier_id"], ["classifiers.id"], name=name, ondelete="CASCADE")
