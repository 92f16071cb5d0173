"""The tables. Written for SQLite and Postgres alike; rows never leave this package.

Wide columns come last: SQLite then reads the narrow ones without walking the pages of a long text.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    DateTime,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Text,
    UniqueConstraint,
)
from sqlalchemy.engine import Dialect
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.types import TypeDecorator


class UtcDateTime(TypeDecorator[datetime]):
    """Moments with a zone, kept in UTC; SQLite has no zones, so there the zone is dropped and put back."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"{value!r} has no time zone; pass an aware datetime")
        return value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


BigId = BigInteger().with_variant(Integer, "sqlite")
# Byte order on both databases, so that pages of a list agree with Python's order of strings.
Key = String(512).with_variant(String(512, collation="C"), "postgresql")
HexId = String(32)
Hash = String(64)
State = String(16)


class Base(DeclarativeBase):
    """Root of the tables; constraint names are fixed so that migrations can name them."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )


class Collections(Base):
    """`seq` is the head of the change log; `purged_seq` the newest removal that has left the log.

    What a replay of the log shows before `purged_seq` is no state that the collection ever had. Of one that
    was restored from a backup it is the seq it was restored at.

    `search` holds those defaults of searching that are not the service's own; null when there are none.
    """

    __tablename__ = "collections"
    __table_args__ = {"sqlite_autoincrement": True}  # noqa: RUF012

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    uid: Mapped[str] = mapped_column(HexId, unique=True)
    name: Mapped[str] = mapped_column(Key, unique=True)
    description: Mapped[str] = mapped_column(Text)
    encoder_id: Mapped[str] = mapped_column(String(255))
    encoder_fingerprint: Mapped[str] = mapped_column(Hash)
    encoder_dim: Mapped[int] = mapped_column(Integer)
    encoder_max_tokens: Mapped[int] = mapped_column(Integer)
    settings: Mapped[dict[str, Any]] = mapped_column(JSON)
    seq: Mapped[int] = mapped_column(BigInteger)
    purged_seq: Mapped[int] = mapped_column(BigInteger)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    search: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))


class Documents(Base):
    """`seq` is that of the last change to what is searchable; 0 while there was none.

    `annotations` are what the service itself found out, labels say: readers see them over the metadata that
    were sent, which stay as they are. They belong to the content, and go when it changes.
    """

    __tablename__ = "documents"
    __table_args__ = (
        UniqueConstraint("collection_id", "external_id"),
        Index(None, "collection_id", "seq", "id"),
        Index(None, "collection_id", "state", "passage_count"),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    collection_id: Mapped[int] = mapped_column(ForeignKey("collections.id", ondelete="CASCADE"))
    external_id: Mapped[str] = mapped_column(Key)
    state: Mapped[str] = mapped_column(State)
    seq: Mapped[int] = mapped_column(BigInteger)
    passage_count: Mapped[int] = mapped_column(Integer)
    content_hash: Mapped[str] = mapped_column(Hash)
    metadata_hash: Mapped[str] = mapped_column(Hash)
    job_id: Mapped[str | None] = mapped_column(HexId)
    reason: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    updated_at: Mapped[datetime] = mapped_column(UtcDateTime)
    title: Mapped[str] = mapped_column(Text)
    metadata_: Mapped[dict[str, Any]] = mapped_column("metadata", JSON)
    text: Mapped[str] = mapped_column(Text)
    annotations: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))


class Passages(Base):
    """Character ranges of a document's text; `id` names the vector and is never given out twice."""

    __tablename__ = "passages"
    __table_args__ = (UniqueConstraint("document_id", "ordinal"), {"sqlite_autoincrement": True})

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    document_id: Mapped[int] = mapped_column(ForeignKey("documents.id", ondelete="CASCADE"))
    ordinal: Mapped[int] = mapped_column(Integer)
    start: Mapped[int] = mapped_column(Integer)
    end: Mapped[int] = mapped_column(Integer)


class Embeddings(Base):
    """Vectors as little-endian float16. The passage leads the key: joins and cascades come from there."""

    __tablename__ = "embeddings"

    passage_id: Mapped[int] = mapped_column(
        ForeignKey("passages.id", ondelete="CASCADE"), primary_key=True, autoincrement=False
    )
    encoder_id: Mapped[str] = mapped_column(String(255), primary_key=True)
    vector: Mapped[bytes] = mapped_column(LargeBinary)


class Jobs(Base):
    """`is_complete`: no more documents will follow; final once done + failed = total.

    `rate_per_s` is how fast its documents were settled lately, up to `worked_at`.
    """

    __tablename__ = "jobs"
    __table_args__ = (Index(None, "collection_id"), Index(None, "state"))

    id: Mapped[str] = mapped_column(HexId, primary_key=True)
    kind: Mapped[str] = mapped_column(State)
    collection_id: Mapped[int | None] = mapped_column(ForeignKey("collections.id", ondelete="SET NULL"))
    collection_name: Mapped[str] = mapped_column(Key)
    state: Mapped[str] = mapped_column(State)
    total: Mapped[int] = mapped_column(Integer)
    done: Mapped[int] = mapped_column(Integer)
    failed: Mapped[int] = mapped_column(Integer)
    seq: Mapped[int] = mapped_column(BigInteger)
    is_complete: Mapped[bool] = mapped_column(Boolean)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    started_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    finished_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    rate_per_s: Mapped[float | None] = mapped_column(Double)
    worked_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    details: Mapped[dict[str, Any]] = mapped_column(JSON)


class Batches(Base):
    """A share of a job that one worker encodes; `attempt` counts the leases given on it.

    `tries` counts those leases that were not given back without blame; at `max_tries` the batch is bisected.
    `halvings` counts how often that made it smaller.
    `last_error` is null when the last try ended without a word: the process died, or its lease ran out.
    """

    __tablename__ = "batches"
    __table_args__ = (Index(None, "state"), Index(None, "job_id"), Index(None, "collection_id"))

    id: Mapped[str] = mapped_column(HexId, primary_key=True)
    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"))
    collection_id: Mapped[int] = mapped_column(ForeignKey("collections.id", ondelete="CASCADE"))
    state: Mapped[str] = mapped_column(State)
    attempt: Mapped[int] = mapped_column(Integer)
    lease_until: Mapped[datetime | None] = mapped_column(UtcDateTime)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    tries: Mapped[int] = mapped_column(Integer, server_default="0")
    max_tries: Mapped[int] = mapped_column(Integer, server_default="3")
    halvings: Mapped[int] = mapped_column(Integer, server_default="0")
    last_error: Mapped[str | None] = mapped_column(Text)


class Revisions(Base):
    """One row for every document that awaits encoding, owned by one batch.

    The content is null while the document was never searchable: then it lies in `documents`. Otherwise it
    waits here, and the searchable version stays as it is until the batch commits.
    """

    __tablename__ = "revisions"
    __table_args__ = (Index(None, "batch_id"),)

    document_id: Mapped[int] = mapped_column(
        ForeignKey("documents.id", ondelete="CASCADE"), primary_key=True, autoincrement=False
    )
    batch_id: Mapped[str] = mapped_column(ForeignKey("batches.id", ondelete="CASCADE"))
    content_hash: Mapped[str | None] = mapped_column(Hash)
    metadata_hash: Mapped[str | None] = mapped_column(Hash)
    title: Mapped[str | None] = mapped_column(Text)
    metadata_: Mapped[dict[str, Any] | None] = mapped_column("metadata", JSON(none_as_null=True))
    text: Mapped[str | None] = mapped_column(Text)


IS_UPDATE: Final = Revisions.content_hash.is_not(None)  # of a searchable document, not of one still pending


class RevisionJobs(Base):
    """The jobs that wait for a document of `revisions`; `items` counts how often each was sent it."""

    __tablename__ = "revision_jobs"
    __table_args__ = (Index(None, "job_id"),)

    document_id: Mapped[int] = mapped_column(
        ForeignKey("documents.id", ondelete="CASCADE"), primary_key=True, autoincrement=False
    )
    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    items: Mapped[int] = mapped_column(Integer)


class JobErrors(Base):
    """Items of a job that failed, and why."""

    __tablename__ = "job_errors"
    __table_args__ = (Index(None, "job_id"), {"sqlite_autoincrement": True})

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"))
    external_id: Mapped[str | None] = mapped_column(Text)
    reason: Mapped[str] = mapped_column(Text)


class JudgedQueries(Base):
    """Queries whose relevant documents are known; later ids were sent later."""

    __tablename__ = "judged_queries"
    __table_args__ = (Index(None, "collection_id"), {"sqlite_autoincrement": True})

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    collection_id: Mapped[int] = mapped_column(ForeignKey("collections.id", ondelete="CASCADE"))
    text: Mapped[str] = mapped_column(Text)


class Judgements(Base):
    """`relevance` of a document for a query, 0 = judged not relevant; there need be no such document."""

    __tablename__ = "judgements"

    query_id: Mapped[int] = mapped_column(
        ForeignKey("judged_queries.id", ondelete="CASCADE"), primary_key=True, autoincrement=False
    )
    external_id: Mapped[str] = mapped_column(Key, primary_key=True)
    relevance: Mapped[int] = mapped_column(Integer)


class Classifiers(Base):
    """`active` is the number of the version that serves, `last_number` the newest ever given out.

    `job_id` is the newest training; only one at a time may be open.
    """

    __tablename__ = "classifiers"
    __table_args__ = {"sqlite_autoincrement": True}  # noqa: RUF012

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    name: Mapped[str] = mapped_column(Key, unique=True)
    encoder_id: Mapped[str] = mapped_column(String(255))
    encoder_fingerprint: Mapped[str] = mapped_column(Hash)
    encoder_dim: Mapped[int] = mapped_column(Integer)
    encoder_max_tokens: Mapped[int] = mapped_column(Integer)
    active: Mapped[int | None] = mapped_column(Integer)
    last_number: Mapped[int] = mapped_column(Integer)
    job_id: Mapped[str | None] = mapped_column(ForeignKey("jobs.id", ondelete="SET NULL"))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    updated_at: Mapped[datetime] = mapped_column(UtcDateTime)
    options: Mapped[dict[str, Any]] = mapped_column(JSON)
    source: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    descriptions: Mapped[dict[str, str]] = mapped_column(JSON)


class ClassifierExamples(Base):
    """Labelled texts, each once; `vector` is little-endian float16, null until it is encoded."""

    __tablename__ = "classifier_examples"
    __table_args__ = (
        UniqueConstraint("classifier_id", "text_hash"),
        Index(None, "classifier_id", "id"),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    classifier_id: Mapped[int] = mapped_column(ForeignKey("classifiers.id", ondelete="CASCADE"))
    text_hash: Mapped[str] = mapped_column(Hash)
    updated_at: Mapped[datetime] = mapped_column(UtcDateTime)
    labels: Mapped[list[str]] = mapped_column(JSON)
    vector: Mapped[bytes | None] = mapped_column(LargeBinary)
    text: Mapped[str] = mapped_column(Text)


class ClassifierVersions(Base):
    """`head` and `adapters` are arrays as storage/arrays.py writes them."""

    __tablename__ = "classifier_versions"

    classifier_id: Mapped[int] = mapped_column(
        ForeignKey("classifiers.id", ondelete="CASCADE"), primary_key=True, autoincrement=False
    )
    number: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    origin: Mapped[str] = mapped_column(State)
    kind: Mapped[str] = mapped_column(State)
    is_multi: Mapped[bool] = mapped_column(Boolean)
    is_tuned: Mapped[bool] = mapped_column(Boolean)
    encoder_id: Mapped[str] = mapped_column(String(255))
    encoder_fingerprint: Mapped[str] = mapped_column(Hash)
    encoder_dim: Mapped[int] = mapped_column(Integer)
    encoder_max_tokens: Mapped[int] = mapped_column(Integer)
    data_hash: Mapped[str] = mapped_column(Hash)
    examples: Mapped[int] = mapped_column(Integer)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    metrics: Mapped[dict[str, float]] = mapped_column(JSON)
    labels: Mapped[list[str]] = mapped_column(JSON)
    parameters: Mapped[dict[str, Any]] = mapped_column(JSON)
    head: Mapped[bytes] = mapped_column(LargeBinary)
    report: Mapped[dict[str, Any]] = mapped_column(JSON)
    adapters: Mapped[bytes | None] = mapped_column(LargeBinary)


class LabelingRules(Base):
    """Documents of the collection get the classifier's label in metadata `field` when they are encoded."""

    __tablename__ = "labeling_rules"
    __table_args__ = (Index(None, "classifier_id"),)

    collection_id: Mapped[int] = mapped_column(
        ForeignKey("collections.id", ondelete="CASCADE"), primary_key=True, autoincrement=False
    )
    field: Mapped[str] = mapped_column(Key, primary_key=True)
    classifier_id: Mapped[int] = mapped_column(ForeignKey("classifiers.id", ondelete="CASCADE"))
