"""Makes encoded documents searchable: passages, vectors and content change in the caller's transaction."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime

import numpy as np
from sqlalchemy import Connection, bindparam, case, delete, select, update

from core.errors import EncoderMismatch
from core.job_types import ClaimedBatch, EncodedDocument
from core.types import DocumentState
from storage.bulk_insert import insert_rows
from storage.database import chunked
from storage.jobs import UPDATE_FAILED, storable
from storage.schema import Documents, Embeddings, Passages, Revisions

VECTOR_DTYPE = np.dtype("<f2")  # as stored, on every machine


def awaited_documents(connection: Connection, batch_id: str) -> dict[int, str]:
    """Document id -> external id of those that the batch still has to bring."""
    query = (
        select(Documents.id, Documents.external_id)
        .select_from(Revisions)
        .join(Documents, Documents.id == Revisions.document_id)
        .where(Revisions.batch_id == batch_id)
    )
    return {row.id: row.external_id for row in connection.execute(query)}


def publish(
    connection: Connection,
    batch: ClaimedBatch,
    encoded: Sequence[EncodedDocument],
    seq: int,
    now: datetime,
) -> None:
    """Replaces passages, vectors, content and annotations of the documents; they are searchable at `seq`."""
    if not encoded:
        return
    _refuse_other_shapes(batch, encoded)
    ids = [document.document_id for document in encoded]
    for chunk in chunked(ids):
        connection.execute(delete(Passages).where(Passages.document_id.in_(chunk)))
        _take_revised_content(connection, chunk)
    rows = [
        {
            "row_id": e.document_id,
            "passage_count": len(e.spans),
            "seq": seq,
            "updated_at": now,
            "annotations": dict(e.annotations) if e.annotations else None,
        }
        for e in encoded
    ]
    made = update(Documents).where(Documents.id == bindparam("row_id"))
    connection.execute(made.values(state=DocumentState.SEARCHABLE, reason=None), rows)
    _insert_passages(connection, batch.collection.encoder.id, encoded)


def mark_failed(connection: Connection, reasons: Mapping[int, str], now: datetime) -> None:
    """Documents never searchable become failed; searchable ones stay so and tell why no update came."""
    if not reasons:
        return
    was_pending = Documents.state == DocumentState.PENDING
    state = case((was_pending, DocumentState.FAILED), else_=Documents.state)
    reason = case((was_pending, bindparam("told")), else_=bindparam("told_of_update"))
    rows = [
        {"row_id": id_, "told": storable(reason), "told_of_update": storable(UPDATE_FAILED + reason)}
        for id_, reason in reasons.items()
    ]
    this = update(Documents).where(Documents.id == bindparam("row_id"))
    connection.execute(this.values(state=state, reason=reason, updated_at=now), rows)


def _refuse_other_shapes(batch: ClaimedBatch, encoded: Sequence[EncodedDocument]) -> None:
    encoder = batch.collection.encoder
    for document in encoded:
        expected = (len(document.spans), encoder.dim)
        if document.vectors.shape != expected:
            raise EncoderMismatch(
                f"document {document.document_id} came with vectors of shape {document.vectors.shape}, but "
                f"collection {batch.collection.name!r} ({encoder.id}) needs {expected}; use its encoder"
            )


def _take_revised_content(connection: Connection, ids: Sequence[int]) -> None:
    connection.execute(
        update(Documents)
        .where(
            Revisions.document_id == Documents.id,
            Revisions.content_hash.is_not(None),
            Documents.id.in_(ids),
        )
        .values(
            content_hash=Revisions.content_hash,
            metadata_hash=Revisions.metadata_hash,
            title=Revisions.title,
            metadata_=Revisions.metadata_,
            text=Revisions.text,
        )
    )


def _insert_passages(connection: Connection, encoder_id: str, encoded: Sequence[EncodedDocument]) -> None:
    rows = [
        {"document_id": e.document_id, "ordinal": ordinal, "start": span.start, "end": span.end}
        for e in encoded
        for ordinal, span in enumerate(e.spans)
    ]
    if not rows:
        return
    insert_rows(connection, Passages, rows)
    places = {e.document_id: e.vectors for e in encoded}
    vectors = [
        {
            "passage_id": passage_id,
            "encoder_id": encoder_id,
            "vector": places[document_id][ordinal].astype(VECTOR_DTYPE).tobytes(),
        }
        for passage_id, document_id, ordinal in _passage_ids(connection, list(places))
    ]
    insert_rows(connection, Embeddings, vectors)


def _passage_ids(connection: Connection, document_ids: Sequence[int]) -> Iterator[tuple[int, int, int]]:
    """Id, document id and ordinal of passages. Cheaper than RETURNING, which names the place of every row."""
    query = select(Passages.id, Passages.document_id, Passages.ordinal)
    for chunk in chunked(document_ids):
        for row in connection.execute(query.where(Passages.document_id.in_(chunk))):
            yield row.id, row.document_id, row.ordinal
