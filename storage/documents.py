"""Documents: accepting, reading, deleting."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection, Row, Select, case, select, update

from core.annotations import annotated
from core.document_pages import page_of
from core.errors import NotFound
from core.index_types import PassageRow
from core.job_types import Accepted, JobKind
from core.types import Document, DocumentState, Float16, NewDocument, RejectedItem
from storage.acceptance import Hashed, hash_documents
from storage.clock import Clock
from storage.collections import collection_gone, lock_collection
from storage.database import MAX_PARAMETERS, Database, can_be_stored
from storage.deleting import delete_documents, live_ids, unchanged_ids
from storage.faults import repeated
from storage.intake import take_in
from storage.jobs import (
    JobChange,
    add_errors,
    insert_job,
    mark_running,
    require_details,
    require_open_job,
    settle,
)
from storage.passages import PassageReader, no_passages
from storage.schema import IS_UPDATE, Documents, Jobs, Revisions

ROWS_AT_ONCE: Final = 16  # whole documents; a text may have a mebibyte


class SqlDocumentStore:
    """core.ports.DocumentStore on SQL."""

    def __init__(self, database: Database, clock: Clock | None = None) -> None:
        self._database = database
        self._clock = clock or database.now
        self._passages = PassageReader()

    @repeated
    def submit(
        self,
        collection_id: int,
        documents: Sequence[NewDocument],
        rejected: Sequence[RejectedItem],
        details: Mapping[str, Any] | None = None,
    ) -> Accepted:
        """Creates a job of kind documents and accepts into it, in one transaction: all or nothing.

        Raises NotFound when the collection is gone.
        """
        hashed = hash_documents(documents)
        with self._database.write() as connection:
            now = self._clock()
            job_id = insert_job(connection, collection_id, JobKind.DOCUMENTS, details or {}, now)
            return _take(connection, job_id, hashed, rejected, None, True, now)

    @repeated
    def accept(
        self,
        job_id: str,
        documents: Sequence[NewDocument],
        rejected: Sequence[RejectedItem] = (),
        details: Mapping[str, Any] | None = None,
        is_last: bool = True,
        expected: Mapping[str, Any] | None = None,
    ) -> Accepted:
        """Stores documents as pending, in batches, and counts them on the job, in one transaction.

        Jobs that wait for an earlier version of a document go on waiting, together with this one, until its
        newest version is searchable. Content that already awaits encoding is not queued twice. Raises
        Conflict when the job is over, NotFound when it is gone, Overtaken when its details are no longer
        those `expected`. Of documents of one id the last counts, as if each had been accepted by itself.
        """
        hashed = hash_documents(documents)
        with self._database.write() as connection:
            if expected is not None:
                require_details(connection, job_id, expected)
            return _take(connection, job_id, hashed, rejected, details, is_last, self._clock())

    def get(self, collection_id: int, external_id: str) -> Document:
        """The newest accepted version. Raises NotFound."""
        query = _newest(collection_id).where(Documents.external_id == external_id)
        if can_be_stored(external_id):
            with self._database.read() as connection:
                row = connection.execute(query).first()
            if row is not None:
                return _to_document(row)
        raise NotFound(f"document {external_id!r} does not exist in this collection; check the id")

    def embedded_passages(self, collection_id: int, external_id: str) -> tuple[list[PassageRow], Float16]:
        """Passages of one document in order and their vectors (n, d); none unless it is searchable."""
        if not can_be_stored(external_id):
            return no_passages()
        with self._database.read() as connection:
            return self._passages.of_external_id(connection, collection_id, external_id)

    def replacements(
        self, collection_id: int, document_ids: Sequence[int]
    ) -> dict[int, tuple[list[PassageRow], Float16]]:
        """Present passages in order and vectors (n, d) of documents that are searchable now.

        Others, and documents without a passage, are left out.
        """
        with self._database.read() as connection:
            return self._passages.of_documents(connection, collection_id, document_ids)

    def list(
        self,
        collection_id: int,
        state: DocumentState | None,
        limit: int,
        after: str | None,
        is_update_pending: bool | None = None,
    ) -> list[Document]:
        """In order of external id, those greater than `after`; deleted ones are left out.

        With `is_update_pending` those alone of which that is true, or those of which it is not.
        At most `limit`; large ones are fewer, `core.document_pages.page_of`.
        """
        query = _newest(collection_id).order_by(Documents.external_id).limit(limit)
        if state is not None:
            query = query.where(Documents.state == state)
        if is_update_pending is not None:
            query = query.where(IS_UPDATE if is_update_pending else ~IS_UPDATE)
        if after is not None:
            # Ids hold no NUL, so those after the text before it are those after the whole.
            query = query.where(Documents.external_id > after.partition("\0")[0])
        few = {"yield_per": ROWS_AT_ONCE}
        with self._database.read() as connection, connection.execute(query, execution_options=few) as rows:
            return page_of(map(_to_document, rows))

    @repeated
    def delete(self, collection_id: int, external_ids: Sequence[str]) -> tuple[int, int]:
        """How many existed and were deleted, and the seq of the change (the head when there was none).

        Jobs that waited for the documents count them as done. Raises NotFound for the collection.
        """
        with self._database.write() as connection:
            if not lock_collection(connection, collection_id):
                raise collection_gone()
            ids = live_ids(connection, collection_id, external_ids)
            return len(ids), delete_documents(connection, collection_id, ids, self._clock())

    @repeated
    def delete_unchanged(self, collection_id: int, document_ids: Sequence[int], seq: int) -> tuple[int, int]:
        """Deletes searchable documents that have not changed since `seq` and await no new version.

        How many those were, and the seq of the change (the head when there was none). Raises NotFound for
        the collection.
        """
        with self._database.write() as connection:
            if not lock_collection(connection, collection_id):
                raise collection_gone()
            ids = unchanged_ids(connection, collection_id, document_ids, seq)
            return len(ids), delete_documents(connection, collection_id, ids, self._clock())

    def passages(self, collection_id: int, passage_ids: Sequence[int]) -> dict[int, PassageRow]:
        """Rows of passages whose document is searchable now; others are left out."""
        whole = self._database.glance if len(passage_ids) <= MAX_PARAMETERS else self._database.read
        with whole() as connection:
            return self._passages.by_id(connection, collection_id, passage_ids)


def _take(
    connection: Connection,
    job_id: str,
    hashed: Sequence[Hashed],
    rejected: Sequence[RejectedItem],
    details: Mapping[str, Any] | None,
    is_last: bool,
    now: datetime,
) -> Accepted:
    job = require_open_job(connection, job_id)
    intake = take_in(connection, job, hashed, now)
    add_errors(connection, job_id, rejected)
    _note_progress(connection, job_id, details, is_last)
    if job.kind is JobKind.IMPORT:
        mark_running(connection, [job_id], now)
    own = JobChange(
        total=sum(new.items for new in hashed) + len(rejected),
        done=intake.done.get(job_id, 0),
        failed=len(rejected),
        seq=intake.needed_seq,
    )
    settle(connection, {**_done(intake.done, intake.needed_seq), job_id: own}, now)
    return Accepted(job_id, intake.batch_ids, intake.seq)


def _newest(collection_id: int) -> Select[*tuple[Any, ...]]:
    """Documents with the content that was accepted last, whether searchable yet or not."""
    return (
        select(
            Documents.external_id,
            case((IS_UPDATE, Revisions.title), else_=Documents.title).label("title"),
            case((IS_UPDATE, Revisions.text), else_=Documents.text).label("text"),
            case((IS_UPDATE, Revisions.metadata_), else_=Documents.metadata_).label("newest_metadata"),
            case((~IS_UPDATE, Documents.annotations)).label("annotations"),  # of new content none yet
            IS_UPDATE.label("is_update_pending"),
            Documents.state,
            Documents.reason,
            Documents.seq,
            Documents.job_id,
            Documents.updated_at,
        )
        .outerjoin(Revisions, Revisions.document_id == Documents.id)
        .where(Documents.collection_id == collection_id, Documents.state != DocumentState.DELETED)
    )


def _to_document(row: Row[*tuple[Any, ...]]) -> Document:
    return Document(
        external_id=row.external_id,
        title=row.title,
        text=row.text,
        metadata=annotated(row.newest_metadata, row.annotations),
        state=DocumentState(row.state),
        reason=row.reason,
        seq=row.seq,
        job_id=row.job_id,
        updated_at=row.updated_at,
        is_update_pending=bool(row.is_update_pending),
    )


def _note_progress(
    connection: Connection, job_id: str, details: Mapping[str, Any] | None, is_last: bool
) -> None:
    values: dict[str, Any] = {"is_complete": True} if is_last else {}
    if details is not None:
        values["details"] = dict(details)
    if values:
        connection.execute(update(Jobs).where(Jobs.id == job_id).values(**values))


def _done(counts: Mapping[str, int], seq: int = 0) -> dict[str, JobChange]:
    return {job_id: JobChange(done=count, seq=seq) for job_id, count in counts.items()}
