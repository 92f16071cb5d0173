"""The change log: what followers read to keep their indexes in step."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from sqlalchemy import Connection, Row, select, tuple_

from core.types import Collection, DocumentState, Float16, Int64, LogEntry, LogPage
from storage.collections import collection_by_id, no_collection
from storage.database import Database, chunked
from storage.publishing import VECTOR_DTYPE
from storage.schema import Collections, Documents, Embeddings, Passages

_BEGINNING = (0, 2**63 - 1)  # past all documents of seq 0: never searchable, so nothing to remove either


class SqlChangeLog:
    """core.ports.ChangeLog on SQL."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def heads(self) -> dict[int, int]:
        """Collection id -> seq, for all collections."""
        with self._database.read() as connection:
            rows = connection.execute(select(Collections.id, Collections.seq))
            return {row.id: row.seq for row in rows}

    def read(self, collection_id: int, cursor: tuple[int, int], limit: int) -> LogPage:
        """Changed documents after `cursor` = (seq, document id), at most `limit`.

        (seq, 0) reads from the start of that seq. Documents that are not searchable come as empty entries.
        Raises NotFound.
        """
        with self._database.read() as connection:
            # The head first: what commits after it belongs to the next call.
            collection = _collection(connection, collection_id)
            rows = _changed(connection, collection_id, cursor, limit + 1)
            page, following = rows[:limit], rows[limit:]
            entries = _entries(connection, collection, page)
        end = (page[-1].seq, page[-1].id) if page else cursor
        applied = following[0].seq - 1 if following else collection.seq
        return LogPage(entries, end, applied, is_last=not following)


def _collection(connection: Connection, collection_id: int) -> Collection:
    if connection.execute(select(Collections.id).where(Collections.id == collection_id)).first() is None:
        raise no_collection(collection_id)
    return collection_by_id(connection, collection_id)


def _changed(
    connection: Connection, collection_id: int, cursor: tuple[int, int], limit: int
) -> Sequence[Row[int, int, str]]:
    query = (
        select(Documents.id, Documents.seq, Documents.state)
        .where(
            Documents.collection_id == collection_id,
            tuple_(Documents.seq, Documents.id) > max(cursor, _BEGINNING),
        )
        .order_by(Documents.seq, Documents.id)
        .limit(limit)
    )
    return connection.execute(query).all()


def _entries(
    connection: Connection, collection: Collection, rows: Sequence[Row[int, int, str]]
) -> tuple[LogEntry, ...]:
    searchable = [row.id for row in rows if row.state == DocumentState.SEARCHABLE]
    vectors = _vectors(connection, collection, searchable)
    nothing = _arrays([], collection.encoder.dim)
    return tuple(LogEntry(row.id, row.seq, *vectors.get(row.id, nothing)) for row in rows)


def _vectors(
    connection: Connection, collection: Collection, ids: Sequence[int]
) -> dict[int, tuple[Int64, Float16]]:
    """Document id -> passage ids (n,) and vectors (n, d) of its passages, in their order."""
    query = (
        select(Passages.document_id, Passages.id, Embeddings.vector)
        .join(Embeddings, Embeddings.passage_id == Passages.id)
        .where(Embeddings.encoder_id == collection.encoder.id)
        .order_by(Passages.document_id, Passages.ordinal)
    )
    found: dict[int, list[tuple[int, bytes]]] = {}
    for chunk in chunked(ids):
        for row in connection.execute(query.where(Passages.document_id.in_(chunk))):
            found.setdefault(row.document_id, []).append((row.id, row.vector))
    return {id_: _arrays(passages, collection.encoder.dim) for id_, passages in found.items()}


def _arrays(passages: Sequence[tuple[int, bytes]], dim: int) -> tuple[Int64, Float16]:
    ids = np.array([passage_id for passage_id, _ in passages], dtype=np.int64)
    data = b"".join(vector for _, vector in passages)
    return ids, np.frombuffer(data, dtype=VECTOR_DTYPE).reshape(len(passages), dim)
