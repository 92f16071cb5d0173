"""Brings a collection back from an archive: under a hidden name in many transactions, shown in one."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from sqlalchemy import Connection, insert, select, update
from sqlalchemy.exc import IntegrityError, NoResultFound

from core.backup_types import Going, Indexing, Move, Restored
from core.errors import Conflict, NotFound, Unavailable
from core.job_types import BatchState, JobKind
from storage.acceptance import MAX_BATCH_DOCUMENTS
from storage.backup_file import Archive, Damaged
from storage.backup_leftovers import RESTORING, hidden_name, remove_leftovers
from storage.backup_rows import Placement, decoded, from_line, place, reserve_ids
from storage.backup_rules import load_rules_of
from storage.backup_tables import DOCUMENTS, REVISIONS, ROOT, TablePlan
from storage.backup_writing import OWN
from storage.bulk_insert import insert_rows
from storage.clock import Clock, new_id
from storage.collections import (
    collection_by_id,
    collection_gone,
    find_collection,
    lock_collection,
    to_collection,
)
from storage.database import Database, chunked
from storage.faults import repeated
from storage.jobs import insert_job
from storage.long_jobs import lock_open, note_details
from storage.removal import clear_gone, hide_collection
from storage.schema import Base, Batches, Collections, Documents, Jobs, RevisionJobs

CHUNK_ROWS: Final = 1000
CHUNK_BYTES: Final = 4 << 20
INDEXED_WITHIN_S: Final = 600.0  # else the collection is shown without its index
INDEXED_SLICE_S: Final = 1.0  # after which it is looked whether the job still runs
RESTORED: Final = "restored"  # in the details of a job: names of the collections that are there again
_TABLE = Base.metadata.tables[ROOT]
_COLUMNS = {column.name for column in _TABLE.columns} - OWN


@dataclass(frozen=True, slots=True)
class RestoreRun:
    """One attempt at a job; `going` is told the documents of all its collections."""

    job_id: str
    going: Going
    indexing: Indexing


class CollectionLoader:
    """Restores collections for one job, one after the other.

    What a killed process left of this job, or of one that is over, is removed first.
    """

    def __init__(self, database: Database, clock: Clock, plans: Sequence[TablePlan], run: RestoreRun) -> None:
        self._database, self._clock, self._plans = database, clock, plans
        self._job_id, self._going, self._indexing = run.job_id, run.going, run.indexing
        self._documents = 0

    def load(self, archive: Archive, saved: Mapping[str, Any], move: Move) -> Restored:
        """Restores one collection. Raises Conflict, Damaged; then, or if cancelled, nothing of it is left.

        Raises Unavailable when another attempt at the job began meanwhile: it takes the first for dead.
        """
        hidden = hidden_name(self._job_id)
        self.remove_leftovers(RESTORING + self._job_id)
        try:
            placement = self._begin(saved, move.target, hidden)
            for plan in self._plans:
                self._load_table(archive, saved["tables"].get(plan.name), plan, placement)
            return self._show_indexed(archive, placement.collection_id, move)
        except (IntegrityError, NoResultFound, NotFound) as error:
            if hidden not in self.remove_leftovers(hidden):
                raise Unavailable("Another process works on this restore; it is left to that one.") from error
            raise
        except BaseException:
            self.remove_leftovers(hidden)
            raise

    def remove_leftovers(self, ours: str) -> list[str]:
        """Removes what is hidden and whose name begins so, or whose job is over; the names."""
        removed = self._delete_leftovers(ours)
        if removed:
            clear_gone(self._database)
        return removed

    @repeated
    def _delete_leftovers(self, ours: str) -> list[str]:
        with self._database.write() as connection:
            return remove_leftovers(connection, self._clock(), ours)

    @repeated
    def _begin(self, saved: Mapping[str, Any], target: str, hidden: str) -> Placement:
        """A hidden, empty collection, and ids set aside for its rows."""
        with self._database.write() as connection:
            row = decoded(saved["row"], _TABLE, _COLUMNS) | {"uid": new_id()}
            row["purged_seq"] = row["seq"]  # the log says nothing of what was before
            insertion = insert(Collections).values(**row, name=hidden)
            collection_id = connection.execute(insertion.returning(Collections.id)).scalar_one()
            made = connection.execute(select(_TABLE).where(Collections.id == collection_id)).one()
            try:
                to_collection(made)
            except TypeError as error:
                raise Damaged(
                    f"The settings of collection {target!r} are of a newer version: {error}."
                ) from None
        moved_by = {plan.name: self._shift(saved, plan) for plan in self._plans}
        return Placement(collection_id, target, moved_by)

    @repeated
    def _shift(self, saved: Mapping[str, Any], plan: TablePlan) -> int:
        """By how much the ids of this table move: all alike, since their order decides ties of scores."""
        ids = saved["tables"].get(plan.name, {}).get("ids")
        if plan.id_column is None or not ids:
            return 0
        first, last = ids
        with self._database.write() as connection:
            return reserve_ids(connection, plan.name, plan.id_column, last - first + 1) - int(first)

    def _load_table(
        self, archive: Archive, description: Mapping[str, Any] | None, plan: TablePlan, placement: Placement
    ) -> None:
        if description is None:  # the table is newer than the backup
            return
        rows = MAX_BATCH_DOCUMENTS if plan.name == REVISIONS else CHUNK_ROWS
        for lines in chunks_of(archive.lines(description), rows):
            chunk = [place(from_line(line, plan), plan, placement) for line in lines]
            self._insert(plan, chunk, placement)
            self._documents += len(chunk) * (plan.name == DOCUMENTS)
            self._going(self._documents)

    @repeated
    def _insert(self, plan: TablePlan, rows: Sequence[dict[str, Any]], placement: Placement) -> None:
        with self._database.write() as connection:
            lock_open(connection, self._job_id)
            if plan.name == REVISIONS:
                self._insert_revisions(connection, rows, placement)
            else:
                insert_rows(connection, plan.table, rows)

    def _insert_revisions(
        self, connection: Connection, rows: Sequence[dict[str, Any]], placement: Placement
    ) -> None:
        """A batch of what was pending, done until the collection is shown: no worker takes it before."""
        now, batch_id = self._clock(), new_id()
        job_id = self._pending_job(connection, placement.collection_id)
        batch = {"id": batch_id, "job_id": job_id, "collection_id": placement.collection_id}
        batch |= {"created_at": now}
        connection.execute(insert(Batches).values(**batch, state=BatchState.DONE, attempt=0))
        connection.execute(
            insert(Base.metadata.tables[REVISIONS]), [row | {"batch_id": batch_id} for row in rows]
        )
        ids = [row["document_id"] for row in rows]
        waits = [{"document_id": id_, "job_id": job_id, "items": 1} for id_ in ids]
        connection.execute(insert(RevisionJobs), waits)
        for chunk in chunked(ids):
            connection.execute(update(Documents).where(Documents.id.in_(chunk)).values(job_id=job_id))
        counted = {"total": Jobs.total + len(rows), "collection_name": placement.name}
        connection.execute(update(Jobs).where(Jobs.id == job_id).values(**counted))

    def _pending_job(self, connection: Connection, collection_id: int) -> str:
        found = connection.execute(select(Jobs.id).where(Jobs.collection_id == collection_id)).scalar()
        if found is not None:
            return str(found)
        details = {"restored_by": self._job_id}
        return insert_job(connection, collection_id, JobKind.DOCUMENTS, details, self._clock())

    def _show_indexed(self, archive: Archive, collection_id: int, move: Move) -> Restored:
        """Shows the collection when this process has indexed it, so that no search finds it half indexed."""
        with self._database.read() as connection:
            collection = replace(collection_by_id(connection, collection_id), name=move.target)
        try:
            deadline = time.monotonic() + INDEXED_WITHIN_S
            while not self._indexing.prepare(collection, INDEXED_SLICE_S) and time.monotonic() < deadline:
                self._going(self._documents)
            return self._show(archive, collection_id, move)
        finally:
            self._indexing.release(collection)

    def _show(self, archive: Archive, collection_id: int, move: Move) -> Restored:
        try:
            return self._rename(archive, collection_id, move)
        except IntegrityError:  # another process has just created one of this name
            return self._rename(archive, collection_id, move)

    @repeated
    def _rename(self, archive: Archive, collection_id: int, move: Move) -> Restored:
        """The one transaction that makes the collection visible, in the place of one that gives way.

        Its rules come with it, as far as this job has brought their classifiers back.
        """
        with self._database.write() as connection:
            found = find_collection(connection, move.target)
            if found is not None and not move.replace:
                raise taken(move.target)
            if found is not None and lock_collection(connection, found.id):
                hide_collection(connection, found.id, self._clock())
            if not lock_collection(connection, collection_id):  # another attempt took this one for dead
                raise collection_gone()
            this = update(Collections).where(Collections.id == collection_id).values(name=move.target)
            seq = connection.execute(this.returning(Collections.seq)).scalar_one()
            batch_ids = _release_pending(connection, collection_id)
            details = _note_restored(connection, self._job_id, move.target)
            load_rules_of(connection, archive.manifest, move.target, details)
        return Restored(collection_id, seq, batch_ids)


def taken(name: str) -> Conflict:
    """The error for a name that a collection has already."""
    return Conflict(
        f"collection {name!r} exists; restore under another name (as), or let it be replaced (replace)"
    )


def _note_restored(connection: Connection, job_id: str, collection: str) -> dict[str, Any]:
    """Notes on an open job that a collection is there again; its details. Raises Conflict when it is over."""
    details = lock_open(connection, job_id)
    details[RESTORED] = [*details.get(RESTORED, []), collection]
    note_details(connection, job_id, details)
    return details


def _release_pending(connection: Connection, collection_id: int) -> tuple[str, ...]:
    connection.execute(update(Jobs).where(Jobs.collection_id == collection_id).values(is_complete=True))
    batches = update(Batches).where(Batches.collection_id == collection_id)
    queued = batches.values(state=BatchState.QUEUED).returning(Batches.id)
    return tuple(sorted(connection.execute(queued).scalars()))


def chunks_of(lines: Iterator[bytes], most: int) -> Iterator[list[bytes]]:
    """Lists of at most `most` lines and about CHUNK_BYTES."""
    chunk: list[bytes] = []
    size = 0
    for line in lines:
        chunk.append(line)
        size += len(line)
        if len(chunk) == most or size >= CHUNK_BYTES:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk
