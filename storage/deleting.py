"""Deleting documents within a transaction that has locked their collection: they become tombstones."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, delete, exists, select, update

from core.types import DocumentState
from storage.collections import head_seq, next_seq
from storage.database import can_be_stored, chunked
from storage.jobs import JobChange, settle
from storage.schema import Documents, Passages, Revisions
from storage.waiting import Waiter, end_wait, items_of_jobs


def live_ids(connection: Connection, collection_id: int, external_ids: Iterable[str]) -> list[int]:
    """Those that exist, in whatever state."""
    query = select(Documents.id).where(
        Documents.collection_id == collection_id, Documents.state != DocumentState.DELETED
    )
    ids: list[int] = []
    for chunk in chunked(sorted(filter(can_be_stored, set(external_ids)))):
        ids += connection.execute(query.where(Documents.external_id.in_(chunk))).scalars()
    return ids


def unchanged_ids(
    connection: Connection, collection_id: int, document_ids: Sequence[int], seq: int
) -> list[int]:
    """Those searchable that have not changed since `seq` and await no new version."""
    query = select(Documents.id).where(
        Documents.collection_id == collection_id,
        Documents.state == DocumentState.SEARCHABLE,
        Documents.seq <= seq,
        ~exists().where(Revisions.document_id == Documents.id),
    )
    ids: list[int] = []
    for chunk in chunked(document_ids):
        ids += connection.execute(query.where(Documents.id.in_(chunk))).scalars()
    return ids


def delete_documents(connection: Connection, collection_id: int, ids: Sequence[int], now: datetime) -> int:
    """Deletes documents of a locked collection; the seq of that, or the head when there are none.

    Jobs that waited for them count them as done.
    """
    if not ids:
        return head_seq(connection, collection_id) or 0
    seq = next_seq(connection, collection_id)
    waiters: list[Waiter] = []
    for chunk in chunked(ids):
        waiters += _bury(connection, chunk, seq, now)
    done = items_of_jobs(waiters)
    settle(connection, {job_id: JobChange(done=count) for job_id, count in done.items()}, now)
    return seq


def _bury(connection: Connection, ids: Sequence[int], seq: int, now: datetime) -> list[Waiter]:
    """Turns documents into tombstones; who still waited for them."""
    connection.execute(delete(Revisions).where(Revisions.document_id.in_(ids)))
    connection.execute(delete(Passages).where(Passages.document_id.in_(ids)))
    hashes = {"content_hash": "", "metadata_hash": ""}
    blank: dict[str, Any] = {"title": "", "text": "", "metadata_": {}, "annotations": None}
    row = {"state": DocumentState.DELETED, "reason": None, "job_id": None, "passage_count": 0}
    stamp = {"seq": seq, "updated_at": now}
    connection.execute(
        update(Documents).where(Documents.id.in_(ids)).values(**blank, **hashes, **row, **stamp)
    )
    return end_wait(connection, ids)
