"""The end of a batch: it is marked done, and every job that waited is told what became of its documents."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import datetime

from sqlalchemy import Connection, delete, update

from core.job_types import BatchState
from core.types import RejectedItem
from storage.jobs import JobChange, add_errors, settle
from storage.schema import Batches, Revisions
from storage.waiting import end_wait


def finish_batch(connection: Connection, batch_id: str) -> None:
    """Nothing is left to do for the batch; revisions that it still owns go."""
    connection.execute(delete(Revisions).where(Revisions.batch_id == batch_id))
    done = update(Batches).where(Batches.id == batch_id)
    connection.execute(done.values(state=BatchState.DONE, lease_until=None))


def count_outcomes(
    connection: Connection,
    awaited: Mapping[int, str],
    reasons: Mapping[int, str],
    seq: int,
    now: datetime,
) -> None:
    """Tells every job that waited for the documents what became of them.

    `awaited` is document id -> external id, `reasons` document id -> why it failed; the others are
    searchable at `seq`.
    """
    done: Counter[str] = Counter()
    failed: Counter[str] = Counter()
    errors: dict[str, list[RejectedItem]] = {}
    for waiter in end_wait(connection, awaited):
        reason = reasons.get(waiter.document_id)
        if reason is None:
            done[waiter.job_id] += waiter.items
        else:
            failed[waiter.job_id] += waiter.items
            item = RejectedItem(awaited[waiter.document_id], reason)
            errors.setdefault(waiter.job_id, []).append(item)
    for job_id, items in errors.items():
        add_errors(connection, job_id, items)
    changes = {
        job_id: JobChange(done=done[job_id], failed=failed[job_id], seq=seq, is_work=True)
        for job_id in done | failed
    }
    settle(connection, changes, now)
