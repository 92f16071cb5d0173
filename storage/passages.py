"""Reads passages of searchable documents: the rows behind hits, and their vectors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from sqlalchemy import ColumnElement, Connection, Row, Select, and_, bindparam, func, select

from core.annotations import annotated
from core.index_types import PassageRow
from core.types import DocumentState, Float16, Span
from storage.database import chunked
from storage.publishing import VECTOR_DTYPE
from storage.schema import Collections, Documents, Embeddings, Passages


class PassageReader:
    """Queries on passages, built once; every method reads inside the caller's transaction."""

    def __init__(self) -> None:
        self._by_id = _rows().where(Passages.id.in_(bindparam("ids", expanding=True)))
        self._by_document = _embedded(Documents.id.in_(bindparam("ids", expanding=True)))
        self._by_external_id = _embedded(
            and_(
                Documents.collection_id == bindparam("collection"), Documents.external_id == bindparam("name")
            )
        )

    def by_id(
        self, connection: Connection, collection_id: int, passage_ids: Sequence[int]
    ) -> dict[int, PassageRow]:
        """Passage id -> row, of those whose document is searchable."""
        found: dict[int, PassageRow] = {}
        for chunk in chunked(passage_ids):
            rows = connection.execute(self._by_id, {"ids": chunk})
            found |= {row.id: _to_passage(row) for row in rows if _is_searchable(row, collection_id)}
        return found

    def of_documents(
        self, connection: Connection, collection_id: int, document_ids: Sequence[int]
    ) -> dict[int, tuple[list[PassageRow], Float16]]:
        """Document id -> passages in order and vectors (n, d), of those that are searchable and have any."""
        found: dict[int, list[Row[*tuple[Any, ...]]]] = {}
        for chunk in chunked(document_ids):
            for row in connection.execute(self._by_document, {"ids": chunk}):
                if _is_searchable(row, collection_id):
                    found.setdefault(row.document_id, []).append(row)
        return {id_: _with_vectors(rows) for id_, rows in found.items()}

    def of_external_id(
        self, connection: Connection, collection_id: int, external_id: str
    ) -> tuple[list[PassageRow], Float16]:
        """Passages of one document in order and vectors (n, d); none unless it is searchable."""
        parameters = {"collection": collection_id, "name": external_id}
        rows = connection.execute(self._by_external_id, parameters)
        return _with_vectors([row for row in rows if _is_searchable(row, collection_id)])


def no_passages() -> tuple[list[PassageRow], Float16]:
    """What a document that is not searchable has."""
    return [], np.empty((0, 0), VECTOR_DTYPE)


def _rows() -> Select[*tuple[Any, ...]]:
    length = Passages.end - Passages.start
    return select(
        Passages.id,
        Documents.external_id,
        Documents.title,
        func.substr(Documents.text, Passages.start + 1, length),
        Passages.start,
        Passages.end,
        Documents.metadata_,
        Documents.annotations,
        # Compared by the caller: as conditions they tempt SQLite to start from all of the collection.
        Documents.collection_id,
        Documents.state,
    ).join(Documents, Documents.id == Passages.document_id)


def _embedded(which: ColumnElement[bool]) -> Select[*tuple[Any, ...]]:
    """Passages of some documents with the vectors of their collection's encoder."""
    is_current = and_(Embeddings.passage_id == Passages.id, Embeddings.encoder_id == Collections.encoder_id)
    return (
        _rows()
        .add_columns(Documents.id.label("document_id"), Embeddings.vector)
        .join(Collections, Collections.id == Documents.collection_id)
        .join(Embeddings, is_current)
        .where(which)
        .order_by(Documents.id, Passages.ordinal)
    )


def _is_searchable(row: Row[*tuple[Any, ...]], collection_id: int) -> bool:
    return bool(row.collection_id == collection_id and row.state == DocumentState.SEARCHABLE)


def _with_vectors(rows: Sequence[Row[*tuple[Any, ...]]]) -> tuple[list[PassageRow], Float16]:
    if not rows:
        return no_passages()
    data = b"".join(row.vector for row in rows)
    return [_to_passage(row) for row in rows], np.frombuffer(data, VECTOR_DTYPE).reshape(len(rows), -1)


def _to_passage(row: Sequence[Any]) -> PassageRow:
    passage_id, external_id, title, text, start, end, metadata, added = row[:8]
    seen = annotated(metadata, added)
    return PassageRow(passage_id, external_id, title, text, Span(start, end), seen)
