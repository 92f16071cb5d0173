"""Ports of the database: one public method is one transaction."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from core.index_types import LogPage, PassageRow
from core.job_types import (
    Accepted,
    ArrivalRule,
    BatchStanding,
    ClaimedBatch,
    EncodedDocument,
    FailedDocument,
    Job,
    JobKind,
    JobState,
    Task,
)
from core.judgement_types import JudgedPage, JudgedQuery, JudgementCounts
from core.types import (
    Collection,
    CollectionSettings,
    Document,
    DocumentCounts,
    DocumentState,
    EncoderInfo,
    Float16,
    NewDocument,
    RejectedItem,
    SearchDefaults,
)

# Document id -> ids, in order, of those of its passages that a reader of the log holds.
HeldPassages = Callable[[int], Sequence[int]]


def holds_nothing(document_id: int) -> Sequence[int]:
    """`HeldPassages` of a reader that begins."""
    return ()


class CollectionStore(Protocol):
    def create(
        self, name: str, description: str, encoder: EncoderInfo, settings: CollectionSettings
    ) -> tuple[Collection, bool]:
        """The collection and whether it is new. Raises Conflict when it exists with other settings."""
        ...

    def get(self, name: str) -> Collection:
        """Raises NotFound."""
        ...

    def list(self) -> list[Collection]: ...

    def change(self, name: str, description: str | None, search: SearchDefaults | None) -> Collection:
        """The collection after the change; None leaves a value as it is. Raises NotFound."""
        ...

    def delete(self, name: str) -> Collection:
        """Removes the collection with all rows. Raises NotFound."""
        ...

    def counts(self, collection_id: int) -> DocumentCounts: ...


class DocumentStore(Protocol):
    def submit(
        self,
        collection_id: int,
        documents: Sequence[NewDocument],
        rejected: Sequence[RejectedItem],
        details: Mapping[str, Any] | None = None,
    ) -> Accepted:
        """Creates a job of kind documents and accepts into it, in one transaction: all or nothing."""
        ...

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

        Same content and metadata is no work; changed metadata alone is applied at once. `details`
        replaces the job's details (an import keeps its position there). `is_last` says that no more
        documents will follow. Jobs that wait for an earlier version of a document go on
        waiting for this one. Raises Conflict when the job is already over, NotFound when it is gone,
        Overtaken when the job's details are no longer those `expected`: another process wrote first.
        """
        ...

    def get(self, collection_id: int, external_id: str) -> Document:
        """Raises NotFound."""
        ...

    def embedded_passages(self, collection_id: int, external_id: str) -> tuple[list[PassageRow], Float16]:
        """Passages of one document in order and their vectors (n, d); none unless it is searchable."""
        ...

    def replacements(
        self, collection_id: int, document_ids: Sequence[int]
    ) -> dict[int, tuple[list[PassageRow], Float16]]:
        """Present passages in order and vectors (n, d) of documents searchable now; others are left out."""
        ...

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
        ...

    def delete(self, collection_id: int, external_ids: Sequence[str]) -> tuple[int, int]:
        """How many existed and were deleted, and the seq of the change."""
        ...

    def delete_unchanged(self, collection_id: int, document_ids: Sequence[int], seq: int) -> tuple[int, int]:
        """Deletes searchable documents that have not changed since `seq` and await no new version.

        How many those were, and the seq of the change (the head when there was none).
        """
        ...

    def passages(self, collection_id: int, passage_ids: Sequence[int]) -> dict[int, PassageRow]:
        """Rows of passages whose document is searchable now; others are left out."""
        ...


class JudgementStore(Protocol):
    """Which documents are relevant to which queries of a collection; deleted with it."""

    def replace(self, collection_id: int, judged: Sequence[JudgedQuery]) -> JudgementCounts:
        """Puts these in the place of all earlier ones. Raises NotFound when the collection is gone."""
        ...

    def clear(self, collection_id: int) -> int:
        """How many judged queries there were. Raises NotFound when the collection is gone."""
        ...

    def counts(self, collection_id: int) -> JudgementCounts: ...

    def page(self, collection_id: int, limit: int, after: int | None) -> JudgedPage:
        """At most `limit` queries with all that was judged for them, those behind `after`."""
        ...

    def sample(self, collection_id: int, limit: int, seed: int) -> list[JudgedQuery]:
        """Queries that have a relevant document which is searchable now, with what is searchable of theirs.

        All of them in the order sent, or if there are more, `limit` drawn by the seed.
        """
        ...


class BatchStore(Protocol):
    def standing(self, batch_id: str) -> BatchStanding | None:
        """What is known against the batch; None when it is done, gone, or leased by another."""
        ...

    def claim(self, batch_id: str, lease_s: float) -> ClaimedBatch | None:
        """Takes the lease and counts a try; None when the batch is done, gone, held by another, or spent."""
        ...

    def extend(self, batch: ClaimedBatch, lease_s: float) -> bool:
        """Lets the lease end `lease_s` from now; False when it is lost: cancelled, or taken by another."""
        ...

    def bisect(self, batch_id: str) -> tuple[str, ...]:
        """Replaces a spent batch by its halves, whose ids are returned; a document that stands alone fails.

        Does nothing to any other batch.
        """
        ...

    def complete(
        self,
        batch: ClaimedBatch,
        encoded: Sequence[EncodedDocument],
        failed: Sequence[FailedDocument],
        rules: Sequence[ArrivalRule] | None = None,
    ) -> int | None:
        """Publishes the batch in one transaction; its seq, or None (nothing done) if the lease is lost.

        Raises Overtaken (nothing done) when the collection's rules are no longer those that the documents
        were annotated by; None: they were not.
        """
        ...

    def release(self, batch: ClaimedBatch, fault: str | None = None) -> None:
        """Gives a lease back so that another may claim at once.

        `fault` is what went wrong with its documents; without it the try does not count.
        """
        ...

    def release_all(self) -> None:
        """Ends every lease: for a process that alone works on this database and has just started."""
        ...

    def unfinished(self) -> list[Task]:
        """Unfinished tasks that nobody holds: queued, or of an expired lease."""
        ...

    def waiting(self) -> int:
        """How many batches are not done, whichever process is to work on them."""
        ...


class JobStore(Protocol):
    def create(self, collection_id: int, kind: JobKind, details: Mapping[str, Any]) -> Job: ...

    def get(self, job_id: str) -> Job:
        """With its errors. Raises NotFound."""
        ...

    def list(self, limit: int, state: JobState | None = None, before: str | None = None) -> list[Job]:
        """Newest first, each with its first errors; those in `state`, older than the job `before`.

        Raises InvalidInput when `before` is no job, or not any more.
        """
        ...

    def progress(self, job_ids: Sequence[str]) -> dict[str, Job]:
        """Those of the jobs that exist, without errors."""
        ...

    def cancel(self, job_id: str) -> Job:
        """Documents not yet searchable become failed with the reason; final jobs are left as they are.

        Those that another job waits for too go on, and only this job counts them as failed.
        """
        ...

    def fail(self, job_id: str, reason: str) -> None:
        """Ends a job that cannot go on, for example an import of a damaged file."""
        ...

    def reading(self) -> Sequence[Job]:
        """Imports that have not read their file to its end, without errors."""
        ...


class LongJobs(Protocol):
    """Jobs of `LONG_JOBS`: one task works on each from beginning to end, and they belong to no collection."""

    def open(self, kind: JobKind, collection: str, details: Mapping[str, Any]) -> Job:
        """A queued job; `collection` is what it is about, empty for all."""
        ...

    def begin(self, job_id: str) -> int:
        """Marks it as running and counts the attempt; how many there were since the job last came further.

        Raises Conflict when it is over.
        """
        ...

    def take_back(self, job_id: str) -> None:
        """Makes the last attempt uncounted, unless it came further. Does nothing to a job that is over."""
        ...

    def advance(self, job_id: str, done: int, total: int) -> None:
        """Notes what is done of all there is to do; more than ever before makes all attempts uncounted.

        Raises Conflict when the job is over: cancelled, say.
        """
        ...

    def succeed(self, job_id: str, done: int) -> None:
        """Ends it with so many documents done. Does nothing to a job that is over."""
        ...

    def fail(self, job_id: str, reason: str) -> None:
        """Ends it; what is not done has failed for this reason. Final jobs are left as they are."""
        ...


class ChangeLog(Protocol):
    def heads(self) -> dict[int, int]:
        """Collection id -> seq, for all collections."""
        ...

    def read(
        self, collection_id: int, cursor: tuple[int, int], limit: int, held: HeldPassages = holds_nothing
    ) -> LogPage:
        """Changed documents after `cursor` = (seq, document id), at most `limit`; fewer of many passages.

        Vectors and texts of passages that the reader holds (`held`) are left out.
        """
        ...
