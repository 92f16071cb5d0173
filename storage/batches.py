"""Batches: leases on the work of encoding, and publishing what was encoded."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, Connection, and_, case, func, or_, select, update

from core.errors import Overtaken
from core.job_types import (
    LONG_JOBS,
    ArrivalRule,
    BatchStanding,
    BatchState,
    ClaimedBatch,
    EncodedDocument,
    FailedDocument,
    JobKind,
    Task,
    TaskKind,
    WorkItem,
)
from storage.bisecting import bisect_batch, is_spent
from storage.classifier_rules import read_arrival_rules
from storage.clock import Clock
from storage.collections import collection_by_id, head_seq, lock_collection, next_seq
from storage.database import Database
from storage.faults import repeated
from storage.jobs import OPEN_STATES, mark_running, storable
from storage.outcomes import count_outcomes, finish_batch
from storage.publishing import awaited_documents, mark_failed, publish
from storage.schema import Batches, Documents, Jobs, RevisionJobs, Revisions

NOT_RETURNED = "the encoder returned nothing for this document"


class SqlBatchStore:
    """core.ports.BatchStore on SQL."""

    def __init__(self, database: Database, clock: Clock | None = None) -> None:
        self._database = database
        self._clock = clock or database.now

    def standing(self, batch_id: str) -> BatchStanding | None:
        """What is known against the batch; None when it is done, gone, or leased by another."""
        columns = (Batches.tries, Batches.max_tries, Batches.halvings)
        query = select(*columns).where(Batches.id == batch_id, _is_free(self._clock()))
        with self._database.read() as connection:
            row = connection.execute(query).first()
        if row is None:
            return None
        if row.tries >= row.max_tries:
            return BatchStanding.SPENT
        # A part of a bisected batch is under suspicion from the start.
        return BatchStanding.SUSPECT if row.tries or row.halvings else BatchStanding.FRESH

    @repeated
    def claim(self, batch_id: str, lease_s: float) -> ClaimedBatch | None:
        """Takes the lease and counts a try; None when the batch is done, gone, leased by another, or spent.

        A batch whose documents were all deleted, replaced or cancelled meanwhile ends here.
        """
        with self._database.write() as connection:
            place = select(Batches.collection_id).where(Batches.id == batch_id)
            collection_id = connection.execute(place).scalar_one_or_none()
            if collection_id is None or not lock_collection(connection, collection_id):
                return None
            now = self._clock()
            lease = _take_lease(connection, batch_id, now, now + timedelta(seconds=lease_s))
            if lease is None:
                return None
            job_id, attempt, is_taken_over = lease
            items = _items(connection, batch_id)
            if not items:
                finish_batch(connection, batch_id)
                return None
            mark_running(connection, _waiting_jobs(connection, batch_id), now)
            collection = collection_by_id(connection, collection_id)
            return ClaimedBatch(batch_id, job_id, collection, attempt, items, is_taken_over)

    @repeated
    def complete(
        self,
        batch: ClaimedBatch,
        encoded: Sequence[EncodedDocument],
        failed: Sequence[FailedDocument],
        rules: Sequence[ArrivalRule] | None = None,
    ) -> int | None:
        """Publishes the batch in one transaction; its seq, or None (nothing done) if the lease is lost.

        Documents replaced or deleted meanwhile are passed over; those in neither list fail. When nothing
        became searchable the seq is the head of the log. Raises EncoderMismatch on vectors of another shape,
        Overtaken (nothing done) when the collection's rules are others than the documents were annotated by.
        """
        collection_id = batch.collection.id
        with self._database.write() as connection:
            if not lock_collection(connection, collection_id) or not _is_held(connection, batch):
                return None
            if rules is not None:
                _require_rules(connection, collection_id, rules)
            now = self._clock()
            awaited = awaited_documents(connection, batch.id)
            ready = {e.document_id: e for e in encoded if e.document_id in awaited}
            reasons = dict.fromkeys(awaited.keys() - ready.keys(), NOT_RETURNED)
            reasons |= {f.document_id: f.reason for f in failed if f.document_id in reasons}
            seq = next_seq(connection, collection_id) if ready else head_seq(connection, collection_id) or 0
            publish(connection, batch, list(ready.values()), seq, now)
            mark_failed(connection, reasons, now)
            finish_batch(connection, batch.id)
            count_outcomes(connection, awaited, reasons, seq, now)
            return seq

    @repeated
    def extend(self, batch: ClaimedBatch, lease_s: float) -> bool:
        """Lets the lease end `lease_s` from now; False when it is lost: cancelled, or taken by another."""
        until = self._clock() + timedelta(seconds=lease_s)
        held = update(Batches).where(Batches.id == batch.id, _holds(batch)).values(lease_until=until)
        with self._database.write() as connection:
            return connection.execute(held.returning(Batches.id)).first() is not None

    @repeated
    def release(self, batch: ClaimedBatch, fault: str | None = None) -> None:
        """Gives a lease back so that another may claim at once.

        `fault` is what went wrong with its documents; without it the try does not count.
        """
        blame = {"tries": Batches.tries - 1} if fault is None else {"last_error": storable(fault)}
        with self._database.write() as connection:
            connection.execute(
                update(Batches)
                .where(Batches.id == batch.id, _holds(batch))
                .values(state=BatchState.QUEUED, lease_until=None, **blame)
            )

    @repeated
    def bisect(self, batch_id: str) -> tuple[str, ...]:
        """Replaces a spent batch by its halves, whose ids are returned; a document that stands alone fails.

        One transaction; does nothing to any other batch.
        """
        with self._database.write() as connection:
            place = select(Batches.collection_id).where(Batches.id == batch_id)
            collection_id = connection.execute(place).scalar_one_or_none()
            if collection_id is None or not lock_collection(connection, collection_id):
                return ()
            now = self._clock()
            return bisect_batch(connection, batch_id, _is_free(now), now)

    @repeated
    def release_all(self) -> None:
        """Ends every lease: for a process that alone works on this database and has just started.

        The tries stay counted: whoever held them died.
        """
        with self._database.write() as connection:
            connection.execute(
                update(Batches)
                .where(Batches.state == BatchState.RUNNING)
                .values(state=BatchState.QUEUED, lease_until=None)
            )

    def unfinished(self) -> list[Task]:
        """Unfinished tasks that nobody holds: queued, or of an expired lease.

        Imports and long jobs carry no lease: every import that still reads its file is listed, and every
        long job (a backup, a training, say) that is not over.
        """
        batches = (
            select(Batches.id, Jobs.kind)
            .join(Jobs, Jobs.id == Batches.job_id)
            .where(_is_free(self._clock()))
            .order_by(Batches.id)
        )
        is_open = Jobs.state.in_(OPEN_STATES)
        imports = select(Jobs.id).where(Jobs.kind == JobKind.IMPORT, is_open, Jobs.is_complete.is_(False))
        long = select(Jobs.kind, Jobs.id).where(Jobs.kind.in_(LONG_JOBS), is_open).order_by(Jobs.id)
        with self._database.read() as connection:
            tasks = [
                Task(TaskKind.INGEST_BATCH, row.id, is_bulk=row.kind == JobKind.IMPORT)
                for row in connection.execute(batches)
            ]
            reading = connection.execute(imports.order_by(Jobs.id)).scalars()
            tasks += [Task(TaskKind.IMPORT_FILE, id_) for id_ in reading]
            tasks += [Task(LONG_JOBS[JobKind(row.kind)], row.id) for row in connection.execute(long)]
        return tasks

    def waiting(self) -> int:
        """How many batches are not done, whichever process is to work on them."""
        query = select(func.count()).where(Batches.state.in_([BatchState.QUEUED, BatchState.RUNNING]))
        with self._database.read() as connection:
            return connection.execute(query).scalar_one()


def _is_free(now: datetime) -> ColumnElement[bool]:
    expired = and_(Batches.state == BatchState.RUNNING, Batches.lease_until < now)
    return or_(Batches.state == BatchState.QUEUED, expired)


def _holds(batch: ClaimedBatch) -> ColumnElement[bool]:
    return and_(Batches.state == BatchState.RUNNING, Batches.attempt == batch.attempt)


def _take_lease(
    connection: Connection, batch_id: str, now: datetime, until: datetime
) -> tuple[str, int, bool] | None:
    """The batch's job, the number of this lease, and whether an earlier one ran out."""
    free = (Batches.id == batch_id, _is_free(now), ~is_spent())
    before = connection.execute(select(Batches.state).where(*free).with_for_update()).scalar_one_or_none()
    row = connection.execute(
        update(Batches)
        .where(*free)
        .values(
            state=BatchState.RUNNING,
            attempt=Batches.attempt + 1,
            tries=Batches.tries + 1,
            last_error=None,
            lease_until=until,
        )
        .returning(Batches.job_id, Batches.attempt)
    ).first()
    return None if row is None else (row.job_id, row.attempt, before == BatchState.RUNNING)


def _is_held(connection: Connection, batch: ClaimedBatch) -> bool:
    query = select(Batches.id).where(Batches.id == batch.id, _holds(batch)).with_for_update()
    return connection.execute(query).first() is not None


def _require_rules(connection: Connection, collection_id: int, rules: Sequence[ArrivalRule]) -> None:
    """Raises Overtaken when a rule, or what it says, has changed since the documents were annotated.

    Who adds a rule locks the collection: what a labelling finds searchable afterwards and what is published
    afterwards are all there is, and no document falls between them.
    """
    found = read_arrival_rules(connection, collection_id)
    if found != list(rules):
        raise Overtaken(f"rules of labelling changed meanwhile: {found}, not {list(rules)}; annotate anew")


def _items(connection: Connection, batch_id: str) -> tuple[WorkItem, ...]:
    """What the batch has to encode."""
    is_revised = Revisions.content_hash.is_not(None)
    query = (
        select(
            Documents.id,
            Documents.external_id,
            case((is_revised, Revisions.title), else_=Documents.title),
            case((is_revised, Revisions.text), else_=Documents.text),
        )
        .join(Documents, Documents.id == Revisions.document_id)
        .where(Revisions.batch_id == batch_id)
        .order_by(Documents.id)
    )
    return tuple(WorkItem(*row) for row in connection.execute(query))


def _waiting_jobs(connection: Connection, batch_id: str) -> list[str]:
    query = (
        select(RevisionJobs.job_id)
        .distinct()
        .join(Revisions, Revisions.document_id == RevisionJobs.document_id)
        .where(Revisions.batch_id == batch_id)
        .order_by(RevisionJobs.job_id)
    )
    return list(connection.execute(query).scalars())
