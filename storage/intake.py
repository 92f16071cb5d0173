"""Writes what accepting documents means: rows, revisions, batches. Runs inside the caller's transaction."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, bindparam, delete, insert, select, update

from core.job_types import BatchState
from core.types import DocumentState
from storage.acceptance import Action, Change, Hashed, Stored, cut_batches, decide
from storage.bulk_insert import insert_rows
from storage.clock import new_id
from storage.collections import next_seq
from storage.database import chunked
from storage.jobs import OpenJob
from storage.schema import Batches, Documents, Revisions
from storage.waiting import end_wait, items_of_jobs, wait_for


@dataclass(frozen=True, slots=True)
class Intake:
    """What was written. `seq`: of metadata changed at once; `needed_seq`: to see all that is searchable.

    `done` counts items by job: of this one, and of earlier ones that waited for an update now withdrawn.
    """

    batch_ids: tuple[str, ...]
    done: Mapping[str, int]
    seq: int | None
    needed_seq: int


def take_in(connection: Connection, job: OpenJob, documents: Sequence[Hashed], now: datetime) -> Intake:
    """Brings the collection to hold the documents; counts are left to the caller."""
    stored = _stored(connection, job.collection_id, documents)
    changes = [decide(new, stored.get(new.document.external_id)) for new in documents]
    by_action = {action: [c for c in changes if c.action is action] for action in Action}
    ready = by_action[Action.SAME] + by_action[Action.RETAG]
    _drop_superseded(connection, changes)
    done = items_of_jobs(end_wait(connection, _awaited_ids(ready)))
    done[job.id] += sum(c.new.items for c in ready)
    _join(connection, job, by_action[Action.JOIN])
    seq = _retag(connection, job, by_action[Action.RETAG], now)
    _clear_reasons(connection, by_action[Action.SAME])
    batch_ids = _enqueue(connection, job, changes, now)
    shown = max((c.stored.seq for c in ready if c.stored), default=0)
    return Intake(batch_ids, done, seq, max(shown, seq or 0))


def _stored(connection: Connection, collection_id: int, documents: Sequence[Hashed]) -> dict[str, Stored]:
    columns = (
        Documents.external_id,
        Documents.id,
        Documents.state,
        Documents.seq,
        Documents.content_hash,
        Documents.metadata_hash,
        Revisions.document_id.is_not(None).label("is_awaited"),
        Revisions.content_hash.label("revised_content_hash"),
    )
    query = select(*columns).outerjoin(Revisions, Revisions.document_id == Documents.id)
    query = query.where(Documents.collection_id == collection_id)
    found = {}
    for chunk in chunked([new.document.external_id for new in documents]):
        for row in connection.execute(query.where(Documents.external_id.in_(chunk))):
            found[row.external_id] = Stored(
                id=row.id,
                state=DocumentState(row.state),
                seq=row.seq,
                content_hash=row.content_hash,
                metadata_hash=row.metadata_hash,
                is_awaited=row.is_awaited,
                revised_content_hash=row.revised_content_hash,
            )
    return found


def _drop_superseded(connection: Connection, changes: Sequence[Change]) -> None:
    """Takes documents out of earlier batches; the jobs that wait for them go on waiting."""
    for chunk in chunked(_awaited_ids(c for c in changes if c.action is not Action.JOIN)):
        connection.execute(delete(Revisions).where(Revisions.document_id.in_(chunk)))


def _awaited_ids(changes: Iterable[Change]) -> list[int]:
    return [c.stored.id for c in changes if c.stored and c.stored.is_awaited]


def _join(connection: Connection, job: OpenJob, joined: Sequence[Change]) -> None:
    """Lets this job wait for work in progress; new metadata go to where the awaited content lies."""
    wait_for(connection, job.id, {c.document_id: c.new.items for c in joined})
    for chunk in chunked([c.document_id for c in joined]):
        connection.execute(update(Documents).where(Documents.id.in_(chunk)).values(job_id=job.id))
    revised = [c for c in joined if c.stored and c.stored.revised_content_hash]
    pending = [c for c in joined if c.stored and not c.stored.revised_content_hash]
    _execute_many(
        connection,
        update(Revisions).where(Revisions.document_id == bindparam("row_id")),
        (_metadata(c) for c in revised),
    )
    _execute_many(
        connection,
        update(Documents).where(Documents.id == bindparam("row_id")),
        (_metadata(c) for c in pending),
    )


def _retag(connection: Connection, job: OpenJob, retagged: Sequence[Change], now: datetime) -> int | None:
    if not retagged:
        return None
    seq = next_seq(connection, job.collection_id)
    common = {"seq": seq, "job_id": job.id, "reason": None, "updated_at": now}
    _execute_many(
        connection,
        update(Documents).where(Documents.id == bindparam("row_id")),
        (_metadata(c) | common for c in retagged),
    )
    return seq


def _clear_reasons(connection: Connection, same: Sequence[Change]) -> None:
    """A failed update no longer matters once the searchable version is what was sent last."""
    for chunk in chunked([c.document_id for c in same]):
        query = update(Documents).where(Documents.id.in_(chunk), Documents.reason.is_not(None))
        connection.execute(query.values(reason=None))


def _enqueue(
    connection: Connection, job: OpenJob, changes: Sequence[Change], now: datetime
) -> tuple[str, ...]:
    """Stores content that needs encoding, and the batches that will bring it there."""
    fresh = [c for c in changes if c.action.needs_encoding]
    ids = _insert(connection, job, [c for c in fresh if c.action is Action.INSERT], now)
    _renew(connection, job, [c for c in fresh if c.action is Action.RENEW], now)
    _revise(connection, job, [c for c in fresh if c.action is Action.REVISE], now)
    batches = {new_id(): batch for batch in cut_batches(fresh)}
    common = {"job_id": job.id, "collection_id": job.collection_id, "created_at": now}
    state = {"state": BatchState.QUEUED, "attempt": 0, "lease_until": None}
    _execute_many(connection, insert(Batches), ({"id": batch_id, **common, **state} for batch_id in batches))
    revisions = [
        _revision(c, ids.get(c.new.document.external_id), batch_id)
        for batch_id, batch in batches.items()
        for c in batch
    ]
    insert_rows(connection, Revisions, revisions)
    items = [c.new.items for batch in batches.values() for c in batch]
    awaited = (revision["document_id"] for revision in revisions)
    wait_for(connection, job.id, dict(zip(awaited, items, strict=True)))
    return tuple(batches)


def _insert(
    connection: Connection, job: OpenJob, inserted: Sequence[Change], now: datetime
) -> dict[str, int]:
    """External id -> id of the new rows."""
    if not inserted:
        return {}
    common = {"collection_id": job.collection_id, "seq": 0, "passage_count": 0, "created_at": now}
    rows = [{"external_id": c.new.document.external_id, **_pending(c, job, now), **common} for c in inserted]
    # Reading the new ids back is cheaper than RETURNING, for which drivers write out every row's place.
    insert_rows(connection, Documents, rows)
    return _ids(connection, job.collection_id, [row["external_id"] for row in rows])


def _ids(connection: Connection, collection_id: int, external_ids: Sequence[str]) -> dict[str, int]:
    query = select(Documents.external_id, Documents.id).where(Documents.collection_id == collection_id)
    ids: dict[str, int] = {}
    for chunk in chunked(external_ids):
        rows = connection.execute(query.where(Documents.external_id.in_(chunk)))
        ids |= {row.external_id: row.id for row in rows}
    return ids


def _renew(connection: Connection, job: OpenJob, renewed: Sequence[Change], now: datetime) -> None:
    # The seq stays: a follower that has not yet seen the earlier removal must still find it.
    query = update(Documents).where(Documents.id == bindparam("row_id"))
    _execute_many(connection, query, ({"row_id": c.document_id} | _pending(c, job, now) for c in renewed))


def _revise(connection: Connection, job: OpenJob, revised: Sequence[Change], now: datetime) -> None:
    for chunk in chunked([c.document_id for c in revised]):
        query = update(Documents).where(Documents.id.in_(chunk))
        connection.execute(query.values(job_id=job.id, reason=None, updated_at=now))


def _pending(change: Change, job: OpenJob, now: datetime) -> dict[str, Any]:
    return {
        **_content(change),
        "annotations": None,
        "state": DocumentState.PENDING,
        "reason": None,
        "job_id": job.id,
        "updated_at": now,
    }


def _content(change: Change) -> dict[str, Any]:
    document = change.new.document
    return {
        "content_hash": change.new.content_hash,
        "metadata_hash": change.new.metadata_hash,
        "title": document.title,
        "metadata": dict(document.metadata),
        "text": document.text,
    }


def _metadata(change: Change) -> dict[str, Any]:
    metadata = dict(change.new.document.metadata)
    return {
        "row_id": change.document_id,
        "metadata": metadata,
        "metadata_hash": change.new.metadata_hash,
    }


def _revision(change: Change, inserted_id: int | None, batch_id: str) -> dict[str, Any]:
    document_id = change.document_id if inserted_id is None else inserted_id
    content = _content(change)
    if change.action is not Action.REVISE:
        content = dict.fromkeys(content)
    return {"document_id": document_id, "batch_id": batch_id, **content}


def _execute_many(connection: Connection, statement: Any, rows: Iterable[dict[str, Any]]) -> None:
    parameters = list(rows)
    if parameters:
        connection.execute(statement, parameters)
