"""Jobs that one task works on from beginning to end: what they count is theirs alone."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, case, func, insert, select, update

from core.errors import Conflict, NotFound
from core.job_types import ATTEMPTS, Job, JobKind, JobState, JobStep
from core.types import RejectedItem
from storage.clock import Clock, new_id
from storage.database import Database
from storage.faults import repeated
from storage.jobs import OPEN_STATES, add_errors, read_job
from storage.schema import Jobs

# In the details: the most that was ever done. A job that begins anew at each attempt passes again what it
# did before: only more than that is progress.
FURTHEST = "furthest"


class SqlLongJobs:
    """core.ports.LongJobs on SQL."""

    def __init__(self, database: Database, clock: Clock | None = None) -> None:
        self._database = database
        self._clock = clock or database.now

    @repeated
    def open(self, kind: JobKind, collection: str, details: Mapping[str, Any]) -> Job:
        """A queued job; `collection` is what it is about, empty for all."""
        with self._database.write() as connection:
            job_id = open_job(connection, kind, collection, details, self._clock())
            return read_job(connection, job_id)

    @repeated
    def begin(self, job_id: str) -> int:
        """Marks it as running and counts the attempt; how many there were since the job last came further.

        Raises Conflict when it is over.
        """
        with self._database.write() as connection:
            details = lock_open(connection, job_id)
            attempts = details.get(ATTEMPTS, 0) + 1
            details[ATTEMPTS] = attempts
            started = {"started_at": func.coalesce(Jobs.started_at, self._clock()), "details": details}
            running = update(Jobs).where(Jobs.id == job_id).values(state=JobState.RUNNING, **started)
            connection.execute(running)
        return int(attempts)

    @repeated
    def take_back(self, job_id: str) -> None:
        """Makes the last attempt uncounted, unless it came further. Does nothing to a job that is over."""
        with self._database.write() as connection:
            query = select(Jobs.details).where(Jobs.id == job_id, Jobs.state.in_(OPEN_STATES))
            details = connection.execute(query.with_for_update()).scalar()
            if details is not None and details.get(ATTEMPTS):
                counted = details | {ATTEMPTS: details[ATTEMPTS] - 1}
                connection.execute(update(Jobs).where(Jobs.id == job_id).values(details=counted))

    @repeated
    def advance(self, job_id: str, done: int, total: int) -> None:
        """Notes what is done of all there is to do; more than ever before makes all attempts uncounted.

        Raises Conflict when the job is over: cancelled, say.
        """
        with self._database.write() as connection:
            details = lock_open(connection, job_id)
            values: dict[str, Any] = {"done": done, "total": max(done, total)}  # more may have come meanwhile
            if done > details.get(FURTHEST, 0):
                values["details"] = _uncounted(details) | {FURTHEST: done}
            connection.execute(update(Jobs).where(Jobs.id == job_id).values(**values))

    @repeated
    def succeed(self, job_id: str, done: int) -> None:
        """Ends it with so many documents done. Does nothing to a job that is over."""
        with self._database.write() as connection:
            end_well(connection, job_id, done, self._clock())

    @repeated
    def fail(self, job_id: str, reason: str) -> None:
        """Ends it; what is not done has failed for this reason. Final jobs are left as they are."""
        with self._database.write() as connection:
            query = select(Jobs.total, Jobs.done).where(Jobs.id == job_id, Jobs.state.in_(OPEN_STATES))
            row = connection.execute(query.with_for_update()).first()
            if row is None:
                return
            add_errors(connection, job_id, [RejectedItem(None, reason)])
            failed = max(1, row.total - row.done)
            ended = {"state": JobState.FAILED, "is_complete": True, "finished_at": self._clock()}
            counts = {"failed": failed, "total": row.done + failed}
            connection.execute(update(Jobs).where(Jobs.id == job_id).values(**ended, **counts))


def open_job(
    connection: Connection, kind: JobKind, collection: str, details: Mapping[str, Any], now: datetime
) -> str:
    """Id of a new queued job; `collection` is what it is about, empty for none or all."""
    job_id = new_id()
    counts = {"total": 0, "done": 0, "failed": 0, "seq": 0, "is_complete": False}
    row = {"id": job_id, "kind": kind, "collection_name": collection, "state": JobState.QUEUED}
    connection.execute(insert(Jobs).values(**row, **counts, created_at=now, details=dict(details)))
    return job_id


def end_well(connection: Connection, job_id: str, done: int, now: datetime) -> bool:
    """Ends the job as succeeded with so many items done; False, and nothing done, when it is over already."""
    still_open = update(Jobs).where(Jobs.id == job_id, Jobs.state.in_(OPEN_STATES))
    ended = {"state": JobState.SUCCEEDED, "is_complete": True, "finished_at": now}
    return bool(connection.execute(still_open.values(total=done, done=done, **ended)).rowcount)


def note_step(connection: Connection, step: JobStep, seq: int) -> None:
    """Notes how far a job has come with a change of its collection; the job keeps the greatest `seq`.

    That makes its attempts uncounted. Raises Conflict when the job is over, for example cancelled: the change
    is not to be made then.
    """
    details = lock_open(connection, step.job_id)
    values = {
        "done": step.done,
        "total": max(step.done, step.total),  # more may have come since it began
        "seq": case((Jobs.seq < seq, seq), else_=Jobs.seq),
        "details": _uncounted(details) | dict(step.position),
    }
    connection.execute(update(Jobs).where(Jobs.id == step.job_id).values(**values))


def note_details(connection: Connection, job_id: str, details: Mapping[str, Any]) -> None:
    """Keeps the details of a locked job that has come further, which makes its attempts uncounted."""
    connection.execute(update(Jobs).where(Jobs.id == job_id).values(details=_uncounted(details)))


def _uncounted(details: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in details.items() if name != ATTEMPTS}


def lock_open(connection: Connection, job_id: str) -> dict[str, Any]:
    """Locks the job; its details. Raises NotFound, or Conflict when it is over."""
    query = select(Jobs.state, Jobs.details).where(Jobs.id == job_id).with_for_update()
    row = connection.execute(query).first()
    if row is None:
        raise NotFound(f"job {job_id!r} does not exist; check the id")
    if JobState(row.state).is_final:
        raise Conflict(f"job {job_id} is {row.state}; start a new one")
    return dict(row.details)
