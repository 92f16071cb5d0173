"""A collection in a real database, with the few moves that the storage tests make."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
from sqlalchemy import select

from core.index_types import LogEntry
from core.job_types import Accepted, ClaimedBatch, EncodedDocument, FailedDocument, JobKind, WorkItem
from core.types import (
    CollectionSettings,
    DocumentState,
    EncoderInfo,
    Float16,
    NewDocument,
    RejectedItem,
    Span,
)
from storage.batches import SqlBatchStore
from storage.change_log import SqlChangeLog
from storage.classifiers import SqlClassifierStore
from storage.collections import SqlCollectionStore
from storage.database import Database
from storage.documents import SqlDocumentStore
from storage.jobs import SqlJobStore
from storage.labels import SqlLabelStore
from storage.long_jobs import SqlLongJobs
from storage.retention import SqlRetention
from storage.schema import Documents

DIM = 4
ENCODER = EncoderInfo("tiny", "f" * 64, DIM, 64)


@dataclass
class FakeClock:
    """A clock that moves only when told to."""

    now: datetime = field(default_factory=lambda: datetime(2030, 1, 1, tzinfo=UTC))

    def __call__(self) -> datetime:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


def new(external_id: str, text: str = "some text", title: str = "", **metadata: Any) -> NewDocument:
    return NewDocument(external_id, text, title, metadata)


def spans(text: str) -> tuple[Span, ...]:
    """Two halves, or nothing for an empty text."""
    middle = len(text) // 2
    return (Span(0, middle), Span(middle, len(text))) if text else ()


def vectors(title: str, text: str) -> Float16:
    """One row a passage, told by title, text and place: (n, DIM)."""
    digests = [
        hashlib.sha256(f"{title}|{text}|{i}".encode()).digest()[:DIM] for i, _ in enumerate(spans(text))
    ]
    rows = np.frombuffer(b"".join(digests), dtype=np.uint8).reshape(len(digests), DIM)
    return rows.astype(np.float16)


def encode(items: Sequence[WorkItem]) -> list[EncodedDocument]:
    return [EncodedDocument(i.document_id, spans(i.text), vectors(i.title, i.text)) for i in items]


@contextmanager
def opened(url: str) -> Iterator[Database]:
    database = Database(url)
    try:
        yield database
    finally:
        database.close()


@dataclass
class World:
    """All stores on one database, and one collection."""

    database: Database
    name: str = "news"
    clock: FakeClock = field(default_factory=FakeClock)

    def __post_init__(self) -> None:
        self.collections = SqlCollectionStore(self.database, self.clock)
        self.documents = SqlDocumentStore(self.database, self.clock)
        self.batches = SqlBatchStore(self.database, self.clock)
        self.jobs = SqlJobStore(self.database, self.clock)
        self.log = SqlChangeLog(self.database)
        self.labels = SqlLabelStore(self.database, self.clock)
        self.classifiers = SqlClassifierStore(self.database, self.clock)
        self.long_jobs = SqlLongJobs(self.database, self.clock)
        self.retention = SqlRetention(self.database)
        self.collection, _ = self.collections.create(self.name, "", ENCODER, CollectionSettings())

    @property
    def id(self) -> int:
        return self.collection.id

    @property
    def seq(self) -> int:
        return self.log.heads()[self.id]

    def start_job(self, kind: JobKind = JobKind.DOCUMENTS) -> str:
        return self.jobs.create(self.id, kind, {}).id

    def send(self, *documents: NewDocument, rejected: Sequence[RejectedItem] = ()) -> Accepted:
        """A job of its own with these documents."""
        return self.documents.accept(self.start_job(), documents, rejected)

    def claim(self, batch_id: str, lease_s: float = 60.0) -> ClaimedBatch:
        batch = self.batches.claim(batch_id, lease_s)
        assert batch is not None
        return batch

    def encode(self, accepted: Accepted) -> int:
        """Claims and completes all batches; the head of the log."""
        for batch_id in accepted.batch_ids:
            batch = self.claim(batch_id)
            assert self.batches.complete(batch, encode(batch.items), []) is not None
        return self.seq

    def add(self, *documents: NewDocument) -> Accepted:
        """Sends documents and makes them searchable."""
        accepted = self.send(*documents)
        self.encode(accepted)
        return accepted

    def fail(self, accepted: Accepted, reason: str = "too hot") -> None:
        """Claims all batches and reports all documents as failed."""
        for batch_id in accepted.batch_ids:
            batch = self.claim(batch_id)
            failed = [FailedDocument(i.document_id, i.external_id, reason) for i in batch.items]
            assert self.batches.complete(batch, [], failed) is not None

    def state(self, external_id: str) -> DocumentState:
        return self.documents.get(self.id, external_id).state

    def counts(self) -> tuple[int, int, int]:
        """searchable, pending, failed"""
        counts = self.collections.counts(self.id)
        return counts.searchable, counts.pending, counts.failed

    def progress(self, job_id: str) -> tuple[str, int, int, int]:
        """state, total, done, failed"""
        job = self.jobs.get(job_id)
        return str(job.state), job.total, job.done, job.failed

    def id_of(self, external_id: str) -> int:
        """The id that the log gives a searchable document."""
        with self.database.read() as connection:
            query = select(Documents.id).where(
                Documents.collection_id == self.id, Documents.external_id == external_id
            )
            return connection.execute(query).scalar_one()

    def read_log(self, cursor: tuple[int, int] = (0, 0), limit: int = 1000) -> list[LogEntry]:
        """All entries after the cursor."""
        entries: list[LogEntry] = []
        while True:
            page = self.log.read(self.id, cursor, limit)
            entries += page.entries
            cursor = page.cursor
            if page.is_last:
                return entries

    def found(self) -> dict[str, str]:
        """External id -> text of the whole document, over all that a full replay of the log shows."""
        texts: dict[str, str] = {}
        for entry in self.read_log():
            rows = self.documents.passages(self.id, entry.passage_ids.tolist())
            for passage_id in entry.passage_ids.tolist():
                row = rows[passage_id]
                texts[row.external_id] = texts.get(row.external_id, "") + row.text
        return texts
