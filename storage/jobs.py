"""Jobs: progress of accepted requests. total = done + failed + the items the job still waits for, always."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, delete, exists, func, insert, select, update

from core.errors import Conflict, InvalidInput, NotFound, Overtaken
from core.job_types import LONG_JOBS, BatchState, Job, JobKind, JobState
from core.types import DocumentState, RejectedItem
from storage.clock import Clock, new_id
from storage.collections import collection_gone, lock_collection
from storage.database import Database, can_be_stored, chunked
from storage.faults import repeated
from storage.rates import next_rate
from storage.schema import Batches, Collections, Documents, JobErrors, Jobs, Revisions
from storage.waiting import MAX_ERRORS, is_awaited_only_by, leave

CANCELLED_REASON = "job cancelled before this document was embedded"
UPDATE_FAILED = "last update failed: "
LISTED_ERRORS = 3  # of each job in a list

OPEN_STATES = (JobState.QUEUED, JobState.RUNNING)

_TABLE = Jobs.__table__


@dataclass(frozen=True, slots=True)
class JobChange:
    """What to add to a job's counts; `seq` is what an index must have applied to show the documents.

    `is_work`: a batch was encoded for it, which tells how fast the job goes.
    """

    total: int = 0
    done: int = 0
    failed: int = 0
    seq: int = 0
    is_work: bool = False


@dataclass(frozen=True, slots=True)
class OpenJob:
    """A job that is not over, locked together with its collection."""

    id: str
    collection_id: int
    kind: JobKind


class SqlJobStore:
    """core.ports.JobStore on SQL."""

    def __init__(self, database: Database, clock: Clock | None = None) -> None:
        self._database = database
        self._clock = clock or database.now

    @repeated
    def create(self, collection_id: int, kind: JobKind, details: Mapping[str, Any]) -> Job:
        """A queued job without documents. Raises NotFound when the collection is gone."""
        with self._database.write() as connection:
            job_id = insert_job(connection, collection_id, kind, details, self._clock())
            return read_job(connection, job_id)

    def get(self, job_id: str) -> Job:
        """With its first 1,000 errors. Raises NotFound."""
        with self._database.read() as connection:
            return read_job(connection, job_id)

    def list(self, limit: int, state: JobState | None = None, before: str | None = None) -> list[Job]:
        """Newest first, each with its first errors; those in `state`, older than the job `before`.

        Raises InvalidInput when `before` is no job, or not any more.
        """
        query = select(_TABLE).order_by(Jobs.id.desc()).limit(limit)  # ids sort by time
        if state is not None:
            query = query.where(Jobs.state == state)
        if before is not None:
            query = query.where(Jobs.id < before)
        with self._database.read() as connection:
            if before is not None:
                _require_place(connection, before)
            rows = connection.execute(query).all()
            errors = _first_errors(connection, [row.id for row in rows])
        return [_to_job(row, errors.get(row.id, ())) for row in rows]

    def progress(self, job_ids: Sequence[str]) -> dict[str, Job]:
        """Those of the jobs that exist, without errors."""
        with self._database.read() as connection:
            rows = [
                row
                for chunk in chunked(job_ids)
                for row in connection.execute(select(_TABLE).where(Jobs.id.in_(chunk)))
            ]
        return {row.id: _to_job(row) for row in rows}

    @repeated
    def cancel(self, job_id: str) -> Job:
        """Stops the job.

        Documents never searchable become failed with the reason; of others the searchable version stays.
        Those that another job waits for too go on, and only this job counts them as failed. Final jobs
        are left as they are. Raises NotFound.
        """
        with self._database.write() as connection:
            job, now = lock_job(connection, job_id), self._clock()
            if job is None:
                cancel_alone(connection, job_id, now)
                return read_job(connection, job_id)
            _drop_revisions(connection, job_id, now)
            given_up = leave(connection, job_id, CANCELLED_REASON)
            settle(connection, {job_id: JobChange(failed=given_up)}, now)
            connection.execute(
                update(Jobs)
                .where(Jobs.id == job_id)
                .values(state=JobState.CANCELLED, is_complete=True, finished_at=now)
            )
            return read_job(connection, job_id)

    @repeated
    def fail(self, job_id: str, reason: str) -> None:
        """Ends a job that cannot go on: no more documents follow, those accepted go on.

        The reason is listed as one failed item without id, so that the job cannot end as succeeded.
        Final jobs are left as they are. Raises NotFound.
        """
        with self._database.write() as connection:
            if lock_job(connection, job_id) is None:
                return
            connection.execute(update(Jobs).where(Jobs.id == job_id).values(is_complete=True))
            add_errors(connection, job_id, [RejectedItem(None, reason)])
            settle(connection, {job_id: JobChange(total=1, failed=1)}, self._clock())

    def reading(self) -> Sequence[Job]:
        """Imports that have not read their file to its end, without errors."""
        query = select(_TABLE).where(
            Jobs.kind == JobKind.IMPORT,
            Jobs.state.in_([JobState.QUEUED, JobState.RUNNING]),
            Jobs.is_complete.is_(False),
        )
        with self._database.read() as connection:
            return [_to_job(row) for row in connection.execute(query)]


def insert_job(
    connection: Connection, collection_id: int, kind: JobKind, details: Mapping[str, Any], now: datetime
) -> str:
    """Id of a new queued job without documents. Raises NotFound when the collection is gone."""
    if not lock_collection(connection, collection_id):
        raise collection_gone()
    name = connection.execute(select(Collections.name).where(Collections.id == collection_id)).scalar_one()
    job_id = new_id()
    row = {"id": job_id, "collection_id": collection_id, "collection_name": name}
    counts = {"total": 0, "done": 0, "failed": 0, "seq": 0, "is_complete": False}
    fresh = {"kind": kind, "state": JobState.QUEUED, "created_at": now}
    connection.execute(insert(Jobs).values(**row, **counts, **fresh, details=dict(details)))
    return job_id


def lock_job(connection: Connection, job_id: str) -> OpenJob | None:
    """Locks the job's collection; None when the job is over. Raises NotFound."""
    query = select(Jobs.collection_id).where(Jobs.id == job_id)
    place = connection.execute(query).first() if can_be_stored(job_id) else None
    if place is None:
        raise _no_job(job_id)
    if place.collection_id is None or not lock_collection(connection, place.collection_id):
        return None
    row = connection.execute(select(Jobs.state, Jobs.kind).where(Jobs.id == job_id)).first()
    if row is None:  # purged while the collection was locked by another
        raise _no_job(job_id)
    if JobState(row.state).is_final:
        return None
    return OpenJob(job_id, place.collection_id, JobKind(row.kind))


def cancel_alone(connection: Connection, job_id: str, now: datetime) -> None:
    """Cancels a job without collection: a backup, say, which notices before its next step."""
    connection.execute(
        update(Jobs)
        .where(Jobs.id == job_id, Jobs.kind.in_(LONG_JOBS), Jobs.state.in_(OPEN_STATES))
        .values(state=JobState.CANCELLED, is_complete=True, failed=Jobs.total - Jobs.done, finished_at=now)
    )


def require_open_job(connection: Connection, job_id: str) -> OpenJob:
    """Locks a job that takes documents. Raises NotFound, or Conflict when it is over."""
    job = lock_job(connection, job_id)
    if job is None:
        state = connection.execute(select(Jobs.state).where(Jobs.id == job_id)).scalar_one()
        raise Conflict(f"job {job_id} is {state} and takes no more documents; start a new job")
    return job


def require_details(connection: Connection, job_id: str, expected: Mapping[str, Any]) -> None:
    """Locks a job whose details are `expected`.

    Raises Overtaken when they are others; NotFound; Conflict when the job is over.
    """
    require_open_job(connection, job_id)
    found = connection.execute(select(Jobs.details).where(Jobs.id == job_id)).scalar_one()
    if found != expected:
        raise Overtaken(f"job {job_id} went on elsewhere meanwhile")


def add_errors(connection: Connection, job_id: str, items: Sequence[RejectedItem]) -> None:
    """Lists failed items on the job; counting them is the caller's."""
    if items:
        rows = [
            {"job_id": job_id, "external_id": storable(item.id), "reason": storable(item.reason)}
            for item in items
        ]
        connection.execute(insert(JobErrors), rows)


def storable(text: str | None) -> str | None:
    """An id may have been rejected for the very characters that no database takes."""
    return (
        None
        if text is None
        else text.encode(errors="replace").decode().replace("\0", "\N{REPLACEMENT CHARACTER}")
    )


def mark_running(connection: Connection, job_ids: Sequence[str], now: datetime) -> None:
    """Starts those of the jobs that are still queued."""
    for chunk in chunked(job_ids):
        connection.execute(
            update(Jobs)
            .where(Jobs.id.in_(chunk), Jobs.state == JobState.QUEUED)
            .values(state=JobState.RUNNING, started_at=now)
        )


def settle(connection: Connection, changes: Mapping[str, JobChange], now: datetime) -> None:
    """Adds to the counts of jobs, and ends those that have nothing left to do."""
    for job_id in sorted(changes):
        _settle_one(connection, job_id, changes[job_id], now)


def _settle_one(connection: Connection, job_id: str, change: JobChange, now: datetime) -> None:
    row = connection.execute(select(_TABLE).where(Jobs.id == job_id).with_for_update()).one()
    total, done, failed = row.total + change.total, row.done + change.done, row.failed + change.failed
    values = {"total": total, "done": done, "failed": failed, "seq": max(row.seq, change.seq)}
    if change.is_work:
        since = row.worked_at or row.started_at or now
        rate = next_rate(row.rate_per_s, since, now, change.done + change.failed)
        values |= {"rate_per_s": rate, "worked_at": now}
    if row.is_complete and done + failed == total and not JobState(row.state).is_final:
        started = row.started_at or now
        values |= {"state": _outcome(done, failed), "started_at": started, "finished_at": now}
    connection.execute(update(Jobs).where(Jobs.id == job_id).values(**values))


def _outcome(done: int, failed: int) -> JobState:
    if failed == 0:
        return JobState.SUCCEEDED
    return JobState.PARTIAL if done else JobState.FAILED


def _drop_revisions(connection: Connection, job_id: str, now: datetime) -> None:
    """Takes the documents that this job alone waits for out of their batches."""
    mine = update(Documents).where(is_awaited_only_by(job_id, Documents.id)).values(updated_at=now)
    connection.execute(
        mine.where(Documents.state == DocumentState.SEARCHABLE).values(
            reason=UPDATE_FAILED + CANCELLED_REASON
        )
    )
    connection.execute(
        mine.where(Documents.state == DocumentState.PENDING).values(
            state=DocumentState.FAILED, reason=CANCELLED_REASON
        )
    )
    connection.execute(delete(Revisions).where(is_awaited_only_by(job_id, Revisions.document_id)))
    # A batch may still hold documents that another job waits for; those go on.
    left = exists().where(Revisions.batch_id == Batches.id)
    connection.execute(
        update(Batches)
        .where(Batches.job_id == job_id, Batches.state != BatchState.DONE, ~left)
        .values(state=BatchState.DONE, lease_until=None)
    )


def _no_job(job_id: str) -> NotFound:
    return NotFound(f"job {job_id!r} does not exist; check the id")


def _require_place(connection: Connection, before: str) -> None:
    """Raises InvalidInput unless a list of jobs can go on behind this one."""
    query = select(Jobs.id).where(Jobs.id == before)
    if not can_be_stored(before) or connection.execute(query).first() is None:
        raise InvalidInput(
            f"before is {before!r}, and there is no such job: finished jobs are removed after a while. Give"
            " the id of a job that is listed, or none to begin with the newest."
        )


def read_job(connection: Connection, job_id: str) -> Job:
    """With its first errors. Raises NotFound."""
    query = select(_TABLE).where(Jobs.id == job_id)
    row = connection.execute(query).first() if can_be_stored(job_id) else None
    if row is None:
        raise _no_job(job_id)
    errors = connection.execute(
        select(JobErrors.external_id, JobErrors.reason)
        .where(JobErrors.job_id == job_id)
        .order_by(JobErrors.id)
        .limit(MAX_ERRORS)
    )
    return _to_job(row, tuple(RejectedItem(external_id, reason) for external_id, reason in errors))


def _first_errors(connection: Connection, job_ids: Sequence[str]) -> dict[str, tuple[RejectedItem, ...]]:
    place = func.row_number().over(partition_by=JobErrors.job_id, order_by=JobErrors.id).label("place")
    found: dict[str, tuple[RejectedItem, ...]] = {}
    for chunk in chunked(job_ids):
        of_jobs = select(JobErrors.job_id, JobErrors.external_id, JobErrors.reason, place)
        numbered = of_jobs.where(JobErrors.job_id.in_(chunk)).subquery()
        first = select(numbered).where(numbered.c.place <= LISTED_ERRORS).order_by(numbered.c.place)
        for row in connection.execute(first):
            item = RejectedItem(row.external_id, row.reason)
            found[row.job_id] = (*found.get(row.job_id, ()), item)
    return found


def _to_job(row: Row[*tuple[Any, ...]], errors: tuple[RejectedItem, ...] = ()) -> Job:
    return Job(
        id=row.id,
        kind=JobKind(row.kind),
        collection=row.collection_name,
        state=JobState(row.state),
        total=row.total,
        done=row.done,
        failed=row.failed,
        created_at=row.created_at,
        started_at=row.started_at,
        finished_at=row.finished_at,
        seq=row.seq,
        details=row.details,
        errors=errors,
        is_read=row.is_complete,
        rate_per_s=row.rate_per_s,
        worked_at=row.worked_at,
    )
