"""Ports: what the use cases need from the other rooms. Shapes: n items, d dimensions of a vector."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, BinaryIO, Protocol, TypeAlias

from core.document_set import DocumentSet
from core.filters import Filter
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
    Facet,
    FailedDocument,
    Float16,
    Float32,
    Float64,
    ImportFields,
    ImportPlan,
    IndexHit,
    IndexStats,
    Int32,
    Int64,
    Job,
    JobKind,
    JudgedPage,
    JudgedQuery,
    JudgementCounts,
    Label,
    Lane,
    LogPage,
    NewDocument,
    PassageRow,
    PassageText,
    PassageVectors,
    RejectedItem,
    RerankerInfo,
    SearchDefaults,
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
        self, collection_id: int, state: DocumentState | None, limit: int, after: str | None
    ) -> list[Document]:
        """In order of external id, those greater than `after`; deleted ones are left out."""
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


class RankingScorer(Protocol):
    """Measures of rankings against judgements, by the names that ir-measures gives them (nDCG@10, R@100)."""

    def values(
        self,
        measures: Sequence[str],
        relevance: Sequence[Mapping[str, int]],
        rankings: Sequence[Sequence[str]],
    ) -> dict[str, Float64]:
        """Measure -> its value (n,) for each of n queries, from judged grades and ranked ids, best first."""
        ...

    def p_value(self, ours: Float64, theirs: Float64) -> float:
        """Of the hypothesis that two systems, measured (n,) and (n,) on the same queries, do not differ."""
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
    """An immutable state of one collection's index: vectors, words and attributes of the same documents.

    Searches give one hit a document, by its best passage, best first; equal scores by passage id. `allowed`
    keeps them to a set of documents: at most k hits, fewer only if fewer documents answer.
    """

    @property
    def seq(self) -> int: ...

    def dense(self, xq: Float32, k: int, allowed: DocumentSet | None = None) -> list[list[IndexHit]]:
        """Hits for each row of `xq` (n, d); every document answers."""
        ...

    def dense_scores(self, query: Float32, document_ids: Int64) -> list[IndexHit]:
        """Inner products of `query` (d,) with the best passage of each of the documents in the view."""
        ...

    def lexical(self, text: str, k: int, allowed: DocumentSet | None = None) -> list[IndexHit]:
        """Hits by BM25; documents answer that hold any word of the text."""
        ...

    def lexical_scores(self, text: str, document_ids: Int64) -> list[IndexHit]:
        """BM25 of those of the documents that hold any word of the text, as in `lexical`."""
        ...

    def coverage(self, text: str, document_ids: Int64) -> list[IndexHit]:
        """The passage of each document that covers most of the text's words, of those that hold any.

        Its score is the share covered, 0 to 1: the idf of the words it holds among that of all words.
        """
        ...

    def stem(self, word: str) -> str:
        """The word as it is indexed; empty for one too common to be worth showing."""
        ...

    def vectors(self, document_ids: Int64) -> PassageVectors:
        """The vectors of all passages of those of the documents (n,) that are in the view."""
        ...

    def select(self, filter_: Filter) -> DocumentSet:
        """The documents that match. Raises InvalidInput naming the known fields and their types."""
        ...

    def facets(self, fields: Sequence[str], allowed: DocumentSet | None = None) -> Mapping[str, Facet]:
        """The most frequent values of each field over `allowed` or all. Raises InvalidInput as `select`."""
        ...


class IndexRegistry(Protocol):
    """The indexes of this process, one a collection, kept in step with the change log."""

    def view(self, collection: Collection) -> IndexView: ...

    def stats(self, collection: Collection) -> IndexStats: ...

    def newest(self, collection: Collection) -> Collection:
        """The collection's row as it was last read, at most about a second ago; no look at the database."""
        ...

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
