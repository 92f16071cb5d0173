"""Bisecting: a batch that failed too often is halved until the document at fault stands alone and fails.

A whole batch and a document that stands alone are tried three times; those between, which only narrow the
search, once. One document among n that ends its process does so 2 * 3 + ceil(log2 n) - 1 times.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, insert, select, update

from core.job_types import BatchState
from storage.clock import new_id
from storage.collections import head_seq
from storage.database import chunked
from storage.outcomes import count_outcomes, finish_batch
from storage.publishing import awaited_documents, mark_failed
from storage.schema import Batches, Revisions

MAX_TRIES = 3  # also the default of the column, for batches that are made whole
TRIES_OF_PARTS = 1
CRASHED = (
    "encoding this document alone ended the worker process, or outlasted its lease, {tries} times in a row"
)
NOT_STORED = "could not be stored after {tries} tries: {error}"


def is_spent() -> ColumnElement[bool]:
    """A condition: the batch was tried as often as it may be."""
    return Batches.tries >= Batches.max_tries


def bisect_batch(
    connection: Connection, batch_id: str, is_free: ColumnElement[bool], now: datetime
) -> tuple[str, ...]:
    """Ids of the batches that replace a spent one; its collection must be locked."""
    query = select(Batches.__table__).where(Batches.id == batch_id, is_free, is_spent()).with_for_update()
    spent = connection.execute(query).first()
    if spent is None:
        return ()
    awaited = awaited_documents(connection, batch_id)
    if len(awaited) == 1 and spent.max_tries >= MAX_TRIES:
        reasons = dict.fromkeys(awaited, _reason(spent))
        mark_failed(connection, reasons, now)
        finish_batch(connection, batch_id)
        count_outcomes(connection, awaited, reasons, head_seq(connection, spent.collection_id) or 0, now)
        return ()
    parts = {new_id(): ids for ids in _halves(sorted(awaited))}
    for part_id, ids in parts.items():
        _move(connection, spent, part_id, ids, now)
    finish_batch(connection, batch_id)
    return tuple(parts)


def _halves(ids: Sequence[int]) -> list[Sequence[int]]:
    middle = (len(ids) + 1) // 2
    return [half for half in (ids[:middle], ids[middle:]) if half]


def _move(
    connection: Connection, spent: Row[*tuple[Any, ...]], part_id: str, ids: Sequence[int], now: datetime
) -> None:
    """A new batch takes the documents over."""
    owner = {"id": part_id, "job_id": spent.job_id, "collection_id": spent.collection_id, "created_at": now}
    state = {"state": BatchState.QUEUED, "attempt": 0, "lease_until": None, "tries": 0}
    max_tries = MAX_TRIES if len(ids) == 1 else TRIES_OF_PARTS
    suspicion = {"max_tries": max_tries, "halvings": spent.halvings + 1}
    connection.execute(insert(Batches).values(**owner, **state, **suspicion))
    for chunk in chunked(ids):
        moved = update(Revisions).where(Revisions.document_id.in_(chunk))
        connection.execute(moved.values(batch_id=part_id))


def _reason(spent: Row[*tuple[Any, ...]]) -> str:
    if spent.last_error is None:
        return CRASHED.format(tries=spent.tries)
    return NOT_STORED.format(tries=spent.tries, error=spent.last_error)
