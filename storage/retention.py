"""Removes what nobody needs any more: old tombstones, finished batches and jobs, rests of killed restores."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, delete, exists, select, update
from sqlalchemy.orm import InstrumentedAttribute

from core.job_types import BatchState, JobState
from core.types import DocumentState
from storage.backup_leftovers import RESTORING, remove_leftovers
from storage.clock import Clock
from storage.collections import lock_collection
from storage.database import Database, chunked
from storage.faults import repeated
from storage.removal import clear_gone
from storage.schema import Batches, Collections, Documents, JobErrors, Jobs, Revisions

MAX_ROWS = 1000  # of one transaction: searches and ingestion never wait long for it

_FINAL = [state for state in JobState if state.is_final]


@dataclass(frozen=True, slots=True)
class PurgedCounts:
    """How many rows were removed; `restores`: hidden collections that killed restores left."""

    tombstones: int
    batches: int
    jobs: int
    restores: int = 0


class SqlRetention:
    """Purging in many small transactions; it may be stopped at any point and run again."""

    def __init__(self, database: Database, clock: Clock | None = None) -> None:
        self._database = database
        self._clock = clock or database.now

    def purge(self, older_than: datetime) -> PurgedCounts:
        """Removes tombstones, done batches and finished jobs with their errors of before `older_than`.

        Of a restore whose job is over all that is hidden goes, whenever that was, and what is left of
        collections that were deleted.
        A follower or snapshot that had not applied `purged_seq` of its collection must start anew. Batches
        that still have documents stay, and jobs that still own a batch.
        """
        with self._database.read() as connection:
            names = {row.id: row.name for row in connection.execute(select(Collections.id, Collections.name))}
        is_restoring = any(name.startswith(RESTORING) for name in names.values())
        restores = self._drop_leftovers() if is_restoring else 0
        clear_gone(self._database)
        tombstones = sum(self._purge_tombstones(id_, older_than) for id_ in names)
        batches, jobs = self._purge_batches(older_than), self._purge_jobs(older_than)
        return PurgedCounts(tombstones, batches, jobs, restores)

    @repeated
    def _drop_leftovers(self) -> int:
        with self._database.write() as connection:
            return len(remove_leftovers(connection, self._clock()))

    def _purge_tombstones(self, collection_id: int, older_than: datetime) -> int:
        # The count of passages is 0 of every tombstone; with it the index leads straight to them, by id.
        is_old = (
            Documents.collection_id == collection_id,
            Documents.state == DocumentState.DELETED,
            Documents.passage_count == 0,
            Documents.updated_at < older_than,
        )
        return sum(
            self._drop_tombstones(collection_id, ids, is_old) for ids in self._pages(Documents.id, *is_old)
        )

    @repeated
    def _drop_tombstones(
        self, collection_id: int, ids: Sequence[int], is_old: Sequence[ColumnElement[bool]]
    ) -> int:
        """Removes those that are still tombstones: a document may have come back since it was read."""
        with self._database.write() as connection:
            if not lock_collection(connection, collection_id):
                return 0
            seqs: list[int] = []
            for chunk in chunked(ids):
                gone = delete(Documents).where(*is_old, Documents.id.in_(chunk)).returning(Documents.seq)
                seqs += connection.execute(gone).scalars()
            newest = max(seqs, default=0)
            connection.execute(
                update(Collections)
                .where(Collections.id == collection_id, Collections.purged_seq < newest)
                .values(purged_seq=newest)
            )
        return len(seqs)

    def _purge_batches(self, older_than: datetime) -> int:
        # A restore keeps pending documents in done batches until their collection is shown.
        has_documents = exists().where(Revisions.batch_id == Batches.id)
        is_old = (Batches.state == BatchState.DONE, Batches.created_at < older_than, ~has_documents)
        return sum(self._drop(Batches.id, ids) for ids in self._pages(Batches.id, *is_old))

    def _purge_jobs(self, older_than: datetime) -> int:
        # Their done batches are gone by now; one that is left has documents that another job waits for.
        has_batches = exists().where(Batches.job_id == Jobs.id)
        is_old = (Jobs.state.in_(_FINAL), Jobs.finished_at < older_than, ~has_batches)
        purged = 0
        for ids in self._pages(Jobs.id, *is_old):
            for job_id in ids:
                for errors in self._pages(JobErrors.id, JobErrors.job_id == job_id):
                    self._drop(JobErrors.id, errors)
            purged += self._drop(Jobs.id, ids)
        return purged

    def _pages(self, key: InstrumentedAttribute[Any], *where: ColumnElement[bool]) -> Iterator[list[Any]]:
        """Keys of matching rows in order, at most MAX_ROWS at a time, each page read when it is asked for."""
        query = select(key).where(*where).order_by(key).limit(MAX_ROWS)
        page: list[Any] = []
        while True:
            following = query.where(key > page[-1]) if page else query
            with self._database.read() as connection:
                page = list(connection.execute(following).scalars())
            if not page:
                return
            yield page

    @repeated
    def _drop(self, key: InstrumentedAttribute[Any], keys: Sequence[Any]) -> int:
        """Removes rows that can only stay as they are; how many."""
        with self._database.write() as connection:
            return sum(
                connection.execute(delete(key.class_).where(key.in_(chunk))).rowcount
                for chunk in chunked(keys)
            )
