"""The change log: what followers read to keep their indexes in step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from sqlalchemy import Connection, Row, select, tuple_

from core.annotations import annotated
from core.index_types import LogEntry, LogPage
from core.ports.stores import HeldPassages, holds_nothing
from core.types import Collection, DocumentState, Float16, Int64, Metadata
from storage.collections import collection_by_id, collection_gone, has_collection
from storage.database import Database, chunked
from storage.pages import fitting
from storage.publishing import VECTOR_DTYPE
from storage.schema import Collections, Documents, Embeddings, Passages


class _Passage(NamedTuple):
    id: int
    start: int
    end: int
    vector: bytes


class _Content(NamedTuple):
    id: int
    title: str
    text: str
    metadata: Metadata


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

    def read(
        self, collection_id: int, cursor: tuple[int, int], limit: int, held: HeldPassages = holds_nothing
    ) -> LogPage:
        """Changed documents after `cursor` = (seq, document id), at most `limit`; fewer of many passages.

        (seq, 0) reads from the start of that seq. Documents that are not searchable come as empty entries;
        of those whose passages are `held` only the metadata are read. Raises NotFound.
        """
        with self._database.read() as connection:
            # The head first: what commits after it belongs to the next call.
            collection = _collection(connection, collection_id)
            rows = _changed(connection, collection_id, cursor, limit + 1)
            size = fitting(row.passage_count for row in rows[:limit])
            page, following = rows[:size], rows[size:]
            entries = _entries(connection, collection, page, held)
        end = (page[-1].seq, page[-1].id) if page else cursor
        applied = following[0].seq - 1 if following else collection.seq
        return LogPage(entries, end, applied, is_last=not following)


def _collection(connection: Connection, collection_id: int) -> Collection:
    if not has_collection(connection, collection_id):
        raise collection_gone()
    return collection_by_id(connection, collection_id)


def _changed(
    connection: Connection, collection_id: int, cursor: tuple[int, int], limit: int
) -> Sequence[Row[int, int, str, int]]:
    query = (
        select(Documents.id, Documents.seq, Documents.state, Documents.passage_count)
        .where(
            Documents.collection_id == collection_id,
            tuple_(Documents.seq, Documents.id) > max(cursor, _BEGINNING),
        )
        .order_by(Documents.seq, Documents.id)
        .limit(limit)
    )
    return connection.execute(query).all()


def _entries(
    connection: Connection,
    collection: Collection,
    rows: Sequence[Row[int, int, str, int]],
    held: HeldPassages,
) -> tuple[LogEntry, ...]:
    searchable = [row.id for row in rows if row.state == DocumentState.SEARCHABLE]
    same = _same_passages(connection, searchable, held)
    metadata = _metadata(connection, list(same))
    others = [id_ for id_ in searchable if id_ not in same]
    passages = _passages(connection, collection, others)
    contents = {row.id: row for chunk in chunked(others) for row in _contents(connection, chunk)}
    entries = []
    for row in rows:
        found = passages.get(row.id, [])
        entry = LogEntry(row.id, row.seq, *_arrays(found, collection.encoder.dim))
        if found:
            entry = _with_content(entry, found, contents[row.id])
        elif row.id in same:
            ids = np.array(same[row.id], dtype=np.int64)
            entry = replace(entry, passage_ids=ids, metadata=metadata[row.id], is_held=True)
        entries.append(entry)
    return tuple(entries)


def _same_passages(
    connection: Connection, ids: Sequence[int], held: HeldPassages
) -> dict[int, Sequence[int]]:
    """Document id -> passages, of the documents of which the reader holds all and no others."""
    claimed = {id_: list(passages) for id_ in ids if (passages := held(id_))}
    query = select(Passages.document_id, Passages.id).order_by(Passages.document_id, Passages.ordinal)
    stored: dict[int, list[int]] = {}
    for chunk in chunked(list(claimed)):
        for row in connection.execute(query.where(Passages.document_id.in_(chunk))):
            stored.setdefault(row.document_id, []).append(row.id)
    return {id_: passages for id_, passages in claimed.items() if stored.get(id_) == passages}


def _metadata(connection: Connection, ids: Sequence[int]) -> dict[int, Metadata]:
    """Document id -> metadata as readers see them."""
    query = select(Documents.id, Documents.metadata_, Documents.annotations)
    return {
        id_: annotated(metadata, added)
        for chunk in chunked(ids)
        for id_, metadata, added in connection.execute(query.where(Documents.id.in_(chunk)))
    }


def _with_content(entry: LogEntry, passages: Sequence[_Passage], content: _Content) -> LogEntry:
    texts = tuple(content.text[passage.start : passage.end] for passage in passages)
    return replace(entry, title=content.title, texts=texts, metadata=content.metadata)


def _contents(connection: Connection, ids: Sequence[int]) -> list[_Content]:
    columns = (Documents.id, Documents.title, Documents.text, Documents.metadata_, Documents.annotations)
    rows = connection.execute(select(*columns).where(Documents.id.in_(ids)))
    return [
        _Content(id_, title, text, annotated(metadata, added)) for id_, title, text, metadata, added in rows
    ]


def _passages(
    connection: Connection, collection: Collection, ids: Sequence[int]
) -> dict[int, list[_Passage]]:
    """Document id -> its embedded passages, in their order."""
    query = (
        select(Passages.document_id, Passages.id, Passages.start, Passages.end, Embeddings.vector)
        .join(Embeddings, Embeddings.passage_id == Passages.id)
        .where(Embeddings.encoder_id == collection.encoder.id)
        .order_by(Passages.document_id, Passages.ordinal)
    )
    found: dict[int, list[_Passage]] = {}
    for chunk in chunked(ids):
        for row in connection.execute(query.where(Passages.document_id.in_(chunk))):
            passage = _Passage(row.id, row.start, row.end, row.vector)
            found.setdefault(row.document_id, []).append(passage)
    return found


def _arrays(passages: Sequence[_Passage], dim: int) -> tuple[Int64, Float16]:
    ids = np.array([passage.id for passage in passages], dtype=np.int64)
    data = b"".join(passage.vector for passage in passages)
    return ids, np.frombuffer(data, dtype=VECTOR_DTYPE).reshape(len(passages), dim)
