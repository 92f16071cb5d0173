"""Ports: what the use cases need from the other rooms. Shapes: n items, d dimensions of a vector."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, BinaryIO, Protocol, TypeAlias

from core.types import (
    Accepted,
    BatchStanding,
    ClaimedBatch,
    Classification,
    Collection,
    CollectionSettings,
    Document,
    DocumentCounts,
    DocumentState,
    EncodedDocument,
    EncoderInfo,
    FailedDocument,
    Float16,
    Float32,
    ImportFields,
    ImportPlan,
    IndexHit,
    IndexStats,
    Int32,
    Int64,
    Job,
    JobKind,
    Label,
    Lane,
    LogPage,
    NewDocument,
    PassageRow,
    PassageText,
    RejectedItem,
    RerankerInfo,
    Span,
    StoredUpload,
    Task,
    TokenParts,
)

OpenFile: TypeAlias = Callable[[], BinaryIO]  # opens one file for reading, seekable, as often as called


class TokenSpans(Protocol):
    """Token boundaries of texts, without special tokens and without truncation."""

    def token_spans(self, texts: Sequence[str]) -> list[Int64]:
        """One (t, 2) array a text: character offsets [start, end) of its t tokens."""
        ...


class TokenEncoder(Protocol):
    """Vectors of tokens that are already ids of this encoder's vocabulary."""

    @property
    def info(self) -> EncoderInfo: ...

    @property
    def vocabulary_size(self) -> int: ...

    def tokenize(self, texts: Sequence[str]) -> list[Int32]:
        """One (t,) array a text, special tokens included, not truncated."""
        ...

    def encode_tokens(self, token_ids: Sequence[Int32], lane: Lane) -> Float32:
        """(n, d) float32, unit rows; longer inputs than the encoder reads are cut, their last token kept."""
        ...


class Encoder(TokenSpans, Protocol):
    """Texts to unit vectors. Queries and passages go through different methods: prompts may differ."""

    @property
    def info(self) -> EncoderInfo: ...

    def encode_queries(self, texts: Sequence[str], lane: Lane = Lane.INTERACTIVE) -> Float32:
        """(n, d) float32, rows of unit length, in the order of `texts`."""
        ...

    def encode_passages(self, passages: Sequence[PassageText], lane: Lane = Lane.BULK) -> Float32:
        """(n, d) float32, rows of unit length, in the order of `passages`."""
        ...


class Reranker(TokenSpans, Protocol):
    """Relevance of passages to one query, for putting few of them into order."""

    @property
    def info(self) -> RerankerInfo: ...

    def room(self, query: str) -> int:
        """How many tokens of a passage are read beside this query; the rest is cut from its end."""
        ...

    def score(self, query: str, passages: Sequence[PassageText], lane: Lane) -> Float32:
        """(n,) float32 in the order of `passages`, higher is more relevant.

        Logits of a cross-encoder, cosines of a bi-encoder.
        """
        ...


class PartsEncoder(Protocol):
    """Embeddings split over their tokens. Raises InvalidInput when the encoder's pooling is no sum."""

    def query_parts(self, text: str) -> TokenParts: ...

    def passage_parts(self, passages: Sequence[PassageText]) -> list[TokenParts]: ...


class Chunker(Protocol):
    """Texts to passages."""

    def split(self, documents: Sequence[PassageText], settings: CollectionSettings) -> list[tuple[Span, ...]]:
        """Passage spans of each document; joined they cover its text, neighbours may overlap."""
        ...


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
        self, collection_id: int, state: DocumentState | None, limit: int, after: str | None
    ) -> list[Document]:
        """In order of external id, those greater than `after`; deleted ones are left out."""
        ...

    def delete(self, collection_id: int, external_ids: Sequence[str]) -> tuple[int, int]:
        """How many existed and were deleted, and the seq of the change."""
        ...

    def passages(self, collection_id: int, passage_ids: Sequence[int]) -> dict[int, PassageRow]:
        """Rows of passages whose document is searchable now; others are left out."""
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
        self, batch: ClaimedBatch, encoded: Sequence[EncodedDocument], failed: Sequence[FailedDocument]
    ) -> int | None:
        """Publishes the batch in one transaction; its seq, or None (nothing done) if the lease is lost."""
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

    def list(self, limit: int) -> list[Job]:
        """Newest first, without errors."""
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


class ChangeLog(Protocol):
    def heads(self) -> dict[int, int]:
        """Collection id -> seq, for all collections."""
        ...

    def read(self, collection_id: int, cursor: tuple[int, int], limit: int) -> LogPage:
        """Changed documents after `cursor` = (seq, document id), at most about `limit`."""
        ...


class TaskQueue(Protocol):
    def enqueue(self, tasks: Sequence[Task]) -> None:
        """Called after commit; a task may be delivered more than once."""
        ...

    def depth(self) -> int:
        """Tasks waiting."""
        ...


class Notifier(Protocol):
    """Tells followers that a collection has news; losing a message only costs a polling interval."""

    def publish(self, collection_id: int, seq: int) -> None: ...

    def subscribe(self, listener: Callable[[int, int], None]) -> None:
        """`listener(collection_id, seq)` may be called from any thread and must return at once."""
        ...


class IndexView(Protocol):
    """An immutable state of one collection's vector index."""

    @property
    def seq(self) -> int: ...

    def search(self, xq: Float32, k: int) -> list[list[IndexHit]]:
        """For each row of `xq` (n, d): at most k documents, best first, each with its best passage.

        Fewer than k only if the view holds fewer documents.
        """
        ...


class IndexRegistry(Protocol):
    """The indexes of this process, one a collection, kept in step with the change log."""

    def view(self, collection: Collection) -> IndexView: ...

    def stats(self, collection: Collection) -> IndexStats: ...

    def wait_for(self, collection: Collection, seq: int, timeout_s: float) -> bool:
        """True once the view has applied `seq`."""
        ...


class UploadWriter(Protocol):
    """One upload, written aside: it is there under its name when committed, whole, or never.

    All methods may block. `write` and `commit` raise StorageFull, or Unavailable.
    """

    def write(self, block: bytes) -> None: ...

    def commit(self) -> None: ...

    def discard(self) -> None:
        """Leaves nothing behind, as far as the store can be reached. Raises nothing."""
        ...


class UploadStore(Protocol):
    """Uploaded files until they are imported. All methods raise Unavailable when the store fails."""

    def create(self, name: str) -> UploadWriter: ...

    def open(self, name: str) -> BinaryIO:
        """For reading, seekable; reading raises Unavailable too. Raises NotFound."""
        ...

    def exists(self, name: str) -> bool: ...

    def delete(self, name: str) -> None:
        """Does nothing when there is no such file."""
        ...

    def list(self) -> list[StoredUpload]:
        """All files, unfinished ones too."""
        ...


class ImportReader(Protocol):
    """Reads rows of an uploaded file in bounded memory."""

    def plan(self, open_file: OpenFile, filename: str, fields: ImportFields) -> ImportPlan:
        """Which columns hold what, guessed where `fields` is silent. Raises InvalidInput."""
        ...

    def items(
        self, open_file: OpenFile, filename: str, plan: ImportPlan, skip_rows: int
    ) -> Iterator[Mapping[str, object] | RejectedItem]:
        """One document mapping, or the reason it cannot be read, a row. Raises InvalidInput."""
        ...


class LabelScorer(Protocol):
    def classify(self, texts: Sequence[str], labels: Sequence[Label]) -> list[Classification]: ...
