"""Labels of whole collections: vectors of documents in pages, and what labelling writes to them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from itertools import islice
from typing import Any, Final

import numpy as np
from sqlalchemy import Connection, Select, bindparam, select, update

from core.annotations import held, label_annotations, without_label
from core.classifier_types import DocumentVectors, GivenLabel
from core.job_types import JobStep
from core.label_types import label_as_text
from core.types import DocumentState, Float32, Int64, Metadata
from storage.clock import Clock
from storage.collections import (
    collection_by_id,
    collection_gone,
    has_collection,
    head_seq,
    lock_collection,
    next_seq,
)
from storage.database import Database, chunked
from storage.faults import repeated
from storage.long_jobs import note_step
from storage.pages import fitting
from storage.publishing import VECTOR_DTYPE
from storage.schema import Documents, Embeddings, Passages

SCAN_ROWS: Final = 2_000  # whose metadata are looked at together


class SqlLabelStore:
    """core.ports.LabelStore on SQL."""

    def __init__(self, database: Database, clock: Clock | None = None) -> None:
        self._database = database
        self._clock = clock or database.now

    def document_vectors(self, collection_id: int, after: int, limit: int) -> DocumentVectors:
        """At most `limit` searchable documents with an id greater than `after`, in order of id.

        Fewer of many passages. Documents without a passage have no vector and are passed over. None left: an
        empty page. Raises NotFound when the collection is gone.
        """
        with self._database.read() as connection:
            columns = (Documents.id, Documents.passage_count)
            query = _searchable(collection_id, *columns).where(Documents.passage_count > 0)
            page = query.where(Documents.id > after).order_by(Documents.id).limit(limit)
            rows = connection.execute(page).all()
            ids = [row.id for row in rows[: fitting(row.passage_count for row in rows)]]
            return _vectors(connection, collection_id, ids)

    def labelled(
        self, collection_id: int, field: str, after: int, limit: int, with_none: bool = False
    ) -> tuple[list[tuple[str, tuple[str, ...]]], DocumentVectors]:
        """(text, values of the metadata field as text) and vectors, of searchable documents that have any.

        The text is the title, if there is one, and then the document's. Only metadata that were sent count,
        not what labelling wrote. `with_none`: also documents of an empty list. At most `limit` documents with
        an id greater than `after`, in order of id, fewer of many passages; none when there are no more.
        `field` may be a path with dots. Raises NotFound when the collection is gone.
        """
        with self._database.read() as connection:
            values = _values_of_field(connection, collection_id, field, after, limit, with_none)
            vectors = _vectors(connection, collection_id, list(values))
            texts = _texts(connection, collection_id, list(values))
        return [(_whole(*texts[id_][1:]), values[id_]) for id_ in vectors.ids.tolist()], vectors

    def has_annotations(self, collection_id: int, field: str) -> bool:
        """Whether labelling wrote a value to metadata `field` of any searchable document."""
        query = _searchable(collection_id, Documents.id, Documents.annotations)
        query = query.where(Documents.annotations.is_not(None))
        with self._database.read() as connection:
            rows = _scanned(connection, query, 0)
            return any(values_as_text(row.annotations, field) for row in rows)

    def holder(self, collection_id: int, field: str) -> str | None:
        """The external id of a searchable document with passages whose caller sent a value in `field`.

        Left out are those that labelling wrote to in that field: theirs is hidden already.
        """
        columns = (Documents.id, Documents.external_id, Documents.metadata_, Documents.annotations)
        query = _searchable(collection_id, *columns).where(Documents.passage_count > 0)
        with self._database.read() as connection:
            for row in _scanned(connection, query, 0):
                is_hidden = field in (row.annotations or {})
                if not is_hidden and any(value is not None for value in held(row.metadata, field)):
                    return str(row.external_id)
        return None

    def annotated(self, collection_id: int, field: str, after: int, limit: int) -> list[int]:
        """At most `limit` searchable documents with an id greater than `after` that labelling wrote to."""
        query = _searchable(collection_id, Documents.id, Documents.annotations)
        query = query.where(Documents.annotations.is_not(None))
        with self._database.read() as connection:
            rows = _scanned(connection, query, after)
            return list(islice((row.id for row in rows if field in row.annotations), limit))

    @repeated
    def write(
        self,
        collection_id: int,
        field: str,
        labels: Mapping[int, GivenLabel | None],
        step: JobStep | None = None,
    ) -> int:
        """Document id -> what metadata `field` and `{field}_confidence` are to say; the seq of the change.

        None takes off what labelling wrote.

        One transaction and one step of the log; none when all said so already. Stays when the caller sends
        the document's metadata anew, and goes with its content. Documents gone meanwhile, or with other
        content than was labelled, are left out. The `step` of the job that labels is part of the
        transaction, so that its seq covers all it wrote, whenever it is cancelled. Raises NotFound when the
        collection is gone, Conflict when the job is over.
        """
        with self._database.write() as connection:
            if not lock_collection(connection, collection_id):
                raise collection_gone()
            changes = list(_changes(connection, collection_id, field, labels))
            if changes:
                seq = next_seq(connection, collection_id)
                _annotate(connection, changes, seq, self._clock())
            else:
                seq = head_seq(connection, collection_id) or 0
            if step is not None:
                note_step(connection, step, seq)
            return seq

    def rows(self, collection_id: int, document_ids: Int64) -> dict[int, tuple[str, str, str]]:
        """Document id -> (external id, title, text) of searchable ones."""
        with self._database.read() as connection:
            return _texts(connection, collection_id, document_ids.tolist())


def _searchable(collection_id: int, *columns: Any) -> Select[Any]:
    is_shown = Documents.state == DocumentState.SEARCHABLE
    return select(*columns).where(Documents.collection_id == collection_id, is_shown)


def _scanned(connection: Connection, query: Select[Any], after: int) -> Iterator[Any]:
    """Rows of documents with an id greater than `after`, in order of id, read in pages."""
    page = query.order_by(Documents.id).limit(SCAN_ROWS)
    while rows := connection.execute(page.where(Documents.id > after)).all():
        yield from rows
        after = rows[-1].id


def _vectors(connection: Connection, collection_id: int, ids: Sequence[int]) -> DocumentVectors:
    """Unit means of the vectors of documents that have passages; `ids` are in order."""
    if not has_collection(connection, collection_id):
        raise collection_gone()
    encoder = collection_by_id(connection, collection_id).encoder
    rows = _embedded_passages(connection, encoder.id, ids)
    data = b"".join(vector for _, _, vector in rows)
    vectors = np.frombuffer(data, VECTOR_DTYPE).reshape(len(rows), encoder.dim).astype(np.float32)
    documents = np.array([document_id for document_id, _, _ in rows], dtype=np.int64)
    passages = np.array([passage_id for _, passage_id, _ in rows], dtype=np.int64)
    starts = np.flatnonzero(np.diff(documents, prepend=-1))
    return DocumentVectors(documents[starts], _unit_means(vectors, starts), passages[starts])


def _embedded_passages(
    connection: Connection, encoder_id: str, document_ids: Sequence[int]
) -> list[tuple[int, int, bytes]]:
    """Document id, passage id and vector, in order of document and passage.

    Two plain look-ups: a join of them is planned badly by a Postgres that has no statistics yet.
    """
    of_documents = select(Passages.document_id, Passages.id).order_by(Passages.document_id, Passages.ordinal)
    of_passages = select(Embeddings.passage_id, Embeddings.vector).where(Embeddings.encoder_id == encoder_id)
    found: list[tuple[int, int, bytes]] = []
    for chunk in chunked(document_ids):
        rows = connection.execute(of_documents.where(Passages.document_id.in_(chunk))).all()
        vectors: dict[int, bytes] = {}
        for part in chunked([row.id for row in rows]):
            vectors |= {
                row.passage_id: row.vector
                for row in connection.execute(of_passages.where(Embeddings.passage_id.in_(part)))
            }
        found += [(row.document_id, row.id, vectors[row.id]) for row in rows if row.id in vectors]
    return found


def _unit_means(vectors: Float32, starts: Int64) -> Float32:
    """(m, d): of each group of rows that begins at one of `starts` (m,), its mean at unit length."""
    if not len(starts):
        return vectors[:0]
    sums = np.add.reduceat(vectors, starts, axis=0)
    lengths = np.linalg.norm(sums, axis=1, keepdims=True)
    means: Float32 = sums / np.maximum(lengths, np.finfo(np.float32).tiny)
    return means


def _values_of_field(
    connection: Connection, collection_id: int, field: str, after: int, limit: int, with_none: bool
) -> dict[int, tuple[str, ...]]:
    """Document id -> values, of the first documents with passages that have any (or an empty list)."""
    found: dict[int, tuple[str, ...]] = {}
    passages = 0
    columns = (Documents.id, Documents.passage_count, Documents.metadata_)
    query = _searchable(collection_id, *columns).where(Documents.passage_count > 0)
    query = query.order_by(Documents.id).limit(SCAN_ROWS)
    while len(found) < limit:
        rows = connection.execute(query.where(Documents.id > after)).all()
        for id_, passage_count, metadata in rows:
            values = values_as_text(metadata, field)
            if values or (with_none and _at(metadata, field) == []):
                if found and fitting([passages, passage_count]) == 1:
                    return found
                passages += passage_count
                found[id_] = values
                if len(found) == limit:
                    return found
        if len(rows) < SCAN_ROWS:
            return found
        after = rows[-1].id
    return found


def values_as_text(metadata: Metadata, field: str) -> tuple[str, ...]:
    """The distinct values of a field, lists as several; a path with dots leads into objects.

    Null and white space are none.
    """
    value = _at(metadata, field)
    values = value if isinstance(value, list) else [value]
    texts = (label_as_text(one) for one in values if isinstance(one, str | int | float))
    return tuple(dict.fromkeys(text for text in texts if text.strip()))


def _at(metadata: Metadata, field: str) -> Any:
    """The value of a field or of a path with dots, or None."""
    value = metadata.get(field)
    if value is None and "." in field:
        first, _, rest = field.partition(".")
        inner = metadata.get(first)
        return _at(inner, rest) if isinstance(inner, Mapping) else None
    return value


def _texts(connection: Connection, collection_id: int, ids: Sequence[int]) -> dict[int, tuple[str, str, str]]:
    """Document id -> external id, title, text."""
    columns = (Documents.id, Documents.external_id, Documents.title, Documents.text)
    query = _searchable(collection_id, *columns)
    return {
        row.id: (row.external_id, row.title, row.text)
        for chunk in chunked(ids)
        for row in connection.execute(query.where(Documents.id.in_(chunk)))
    }


def _whole(title: str, text: str) -> str:
    return f"{title}\n{text}" if title else text


def _changes(
    connection: Connection, collection_id: int, field: str, labels: Mapping[int, GivenLabel | None]
) -> Iterator[tuple[int, dict[str, Any] | None]]:
    """Documents that are still what was labelled, with annotations that differ from those they have."""
    query = _searchable(collection_id, Documents.id, Documents.annotations)
    for chunk in chunked(sorted(labels)):
        first = _first_passages(connection, chunk)
        for id_, before in connection.execute(query.where(Documents.id.in_(chunk))):
            label = labels[id_]
            after = without_label(before or {}, field) | (
                {} if label is None else label_annotations(field, label)
            )
            is_of_content = label is None or label.passage in (None, first.get(id_))
            if is_of_content and after != (before or {}):
                yield id_, after or None


def _first_passages(connection: Connection, document_ids: Sequence[int]) -> dict[int, int]:
    """Document id -> id of its first passage."""
    query = select(Passages.document_id, Passages.id)
    query = query.where(Passages.document_id.in_(document_ids), Passages.ordinal == 0)
    return {row.document_id: row.id for row in connection.execute(query)}


def _annotate(
    connection: Connection, changes: Sequence[tuple[int, dict[str, Any] | None]], seq: int, now: datetime
) -> None:
    rows = [
        {"row_id": id_, "annotations": annotations, "seq": seq, "updated_at": now}
        for id_, annotations in changes
    ]
    connection.execute(update(Documents).where(Documents.id == bindparam("row_id")), rows)
