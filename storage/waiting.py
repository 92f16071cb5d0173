"""Which jobs wait for which documents. total = done + failed + the job's items here, always."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, delete, exists, func, insert, literal, select, update
from sqlalchemy.orm import InstrumentedAttribute, aliased

from storage.database import chunked
from storage.schema import Documents, JobErrors, RevisionJobs

MAX_ERRORS = 1000  # told of one job


@dataclass(frozen=True, slots=True)
class Waiter:
    """A job that waits for a document; `items` of what it was sent are settled by it."""

    document_id: int
    job_id: str
    items: int


def wait_for(connection: Connection, job_id: str, items: Mapping[int, int]) -> None:
    """Adds to each document, by id, items of the job; the jobs that wait already go on waiting."""
    for chunk in chunked(list(items)):
        mine = (RevisionJobs.job_id == job_id, RevisionJobs.document_id.in_(chunk))
        held = set(connection.execute(select(RevisionJobs.document_id).where(*mine)).scalars())
        for count in {items[id_] for id_ in held}:
            same = [id_ for id_ in held if items[id_] == count]
            more = update(RevisionJobs).where(mine[0], RevisionJobs.document_id.in_(same))
            connection.execute(more.values(items=RevisionJobs.items + count))
        rows = [
            {"document_id": id_, "job_id": job_id, "items": items[id_]} for id_ in chunk if id_ not in held
        ]
        if rows:
            connection.execute(insert(RevisionJobs), rows)


def end_wait(connection: Connection, document_ids: Iterable[int]) -> list[Waiter]:
    """Nobody waits for the documents from now on; who did. Counting them is the caller's."""
    waiters: list[Waiter] = []
    for chunk in chunked(list(document_ids)):
        ended = delete(RevisionJobs).where(RevisionJobs.document_id.in_(chunk))
        columns = (RevisionJobs.document_id, RevisionJobs.job_id, RevisionJobs.items)
        waiters += (Waiter(*row) for row in connection.execute(ended.returning(*columns)))
    return waiters


def leave(connection: Connection, job_id: str, reason: str) -> int:
    """The job waits for nothing from now on; how many of its items it gave up.

    The first of their documents are listed as errors of the job, with the reason; counting them is the
    caller's.
    """
    mine = RevisionJobs.job_id == job_id
    given_up = select(literal(job_id), Documents.external_id, literal(reason)).join(
        RevisionJobs, RevisionJobs.document_id == Documents.id
    )
    first = given_up.where(mine).order_by(Documents.id).limit(MAX_ERRORS)
    connection.execute(insert(JobErrors).from_select(["job_id", "external_id", "reason"], first))
    items = connection.execute(select(func.sum(RevisionJobs.items)).where(mine)).scalar_one()
    connection.execute(delete(RevisionJobs).where(mine))
    return int(items or 0)


def is_awaited_only_by(job_id: str, document_id: InstrumentedAttribute[int]) -> ColumnElement[bool]:
    """A condition: this job waits for the document, and no other."""
    mine, other = aliased(RevisionJobs), aliased(RevisionJobs)
    others = exists().where(other.document_id == mine.document_id, other.job_id != job_id)
    return document_id.in_(select(mine.document_id).where(mine.job_id == job_id, ~others))


def items_of_jobs(waiters: Iterable[Waiter]) -> Counter[str]:
    """Job id -> how many of its items the waiters stand for."""
    counts: Counter[str] = Counter()
    for waiter in waiters:
        counts[waiter.job_id] += waiter.items
    return counts
