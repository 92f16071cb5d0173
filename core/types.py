"""The nouns of Cognate as plain frozen types; they cross every room."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

Float32 = npt.NDArray[np.float32]
Float16 = npt.NDArray[np.float16]
Float64 = npt.NDArray[np.float64]
Int32 = npt.NDArray[np.int32]
Int64 = npt.NDArray[np.int64]
Metadata = Mapping[str, Any]

REQUEST_ID = "request_id"  # in the details of a job and in the fields of a log line


class DocumentState(StrEnum):
    """A document is exactly one of these; the counts of the first three always add up to the total."""

    PENDING = "pending"
    SEARCHABLE = "searchable"
    FAILED = "failed"
    DELETED = "deleted"


class JobKind(StrEnum):
    DOCUMENTS = "documents"
    IMPORT = "import"
    BACKUP = "backup"
    RESTORE = "restore"
    VERIFY = "verify"  # of a backup
    TRAIN = "train"
    LABEL = "label"  # all documents of a collection


class JobState(StrEnum):
    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    PARTIAL = "partial"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_final(self) -> bool:
        return self not in (JobState.QUEUED, JobState.RUNNING)


class BatchState(StrEnum):
    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"


class BatchStanding(StrEnum):
    """What is known against a batch that may be claimed."""

    FRESH = "fresh"  # never tried, or given back without blame
    SUSPECT = "suspect"  # one of its documents may end the process that encodes it
    SPENT = "spent"  # tried as often as it may be: to be bisected


class Lane(StrEnum):
    """Priority of work in the engine: interactive goes before bulk between micro-batches."""

    INTERACTIVE = "interactive"
    BULK = "bulk"


class TaskKind(StrEnum):
    INGEST_BATCH = "ingest_batch"
    IMPORT_FILE = "import_file"
    BACKUP = "backup"  # makes, restores or verifies one, as its job says
    TRAIN = "train"
    LABEL = "label"


# Jobs that one task works on from beginning to end, and that task; others are cut into batches.
LONG_JOBS: Final[Mapping[JobKind, TaskKind]] = MappingProxyType(
    {
        JobKind.BACKUP: TaskKind.BACKUP,
        JobKind.RESTORE: TaskKind.BACKUP,
        JobKind.VERIFY: TaskKind.BACKUP,
        JobKind.TRAIN: TaskKind.TRAIN,
        JobKind.LABEL: TaskKind.LABEL,
    }
)


@dataclass(frozen=True, slots=True)
class Task:
    """A unit of background work, named by the id of the row that describes it."""

    kind: TaskKind
    id: str

    @property
    def named_id(self) -> dict[str, str]:
        """Its id under the name that log lines give it."""
        return {"batch_id" if self.kind is TaskKind.INGEST_BATCH else "job_id": self.id}


@dataclass(frozen=True, slots=True)
class EncoderInfo:
    """Identity of an encoder; `fingerprint` is a sha256 over all that changes its vectors."""

    id: str
    fingerprint: str
    dim: int
    max_tokens: int


@dataclass(frozen=True, slots=True)
class RerankerInfo:
    """Identity of a reranker. `is_bi_encoder`: it compares embeddings and reads no pair together."""

    id: str
    fingerprint: str
    max_tokens: int
    is_bi_encoder: bool


@dataclass(frozen=True, slots=True)
class CollectionSettings:
    """What a collection fixes at creation. Token counts include title and special tokens."""

    max_tokens: int = 256
    overlap_tokens: int = 32
    index: str = "auto"
    language: str = "en"
    attributes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SearchDefaults:
    """How a collection is searched when a request does not say; None leaves it to the service's defaults."""

    mode: str | None = None
    fusion_method: str | None = None
    dense_weight: float | None = None
    rerank: bool | None = None


@dataclass(frozen=True, slots=True)
class Collection:
    """A named set of documents embedded by one encoder. `seq` is the head of its change log."""

    id: int
    uid: str
    name: str
    description: str
    encoder: EncoderInfo
    settings: CollectionSettings
    seq: int
    purged_seq: int
    created_at: datetime
    search: SearchDefaults = SearchDefaults()


@dataclass(frozen=True, slots=True)
class DocumentCounts:
    searchable: int = 0
    pending: int = 0
    failed: int = 0
    passages: int = 0

    @property
    def total(self) -> int:
        return self.searchable + self.pending + self.failed


@dataclass(frozen=True, slots=True)
class NewDocument:
    """A validated document as a caller sent it."""

    external_id: str
    text: str
    title: str = ""
    metadata: Metadata = field(default_factory=dict)

    @property
    def content_hash(self) -> str:
        """sha256 of what is encoded: equal hashes need no encoding."""
        title = self.title.encode()
        return hashlib.sha256(b"%d:%s%s" % (len(title), title, self.text.encode())).hexdigest()

    @property
    def metadata_hash(self) -> str:
        return hashlib.sha256(json.dumps(self.metadata, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class RejectedItem:
    """An item that never became a document, or a document that failed, and why."""

    id: str | None
    reason: str


@dataclass(frozen=True, slots=True)
class Document:
    """A stored document. `title`, `text` and `metadata` are of the newest accepted version."""

    external_id: str
    title: str
    text: str
    metadata: Metadata
    state: DocumentState
    reason: str | None
    seq: int
    job_id: str | None
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class Span:
    """Half-open character range [start, end) of a text."""

    start: int
    end: int


@dataclass(frozen=True, slots=True)
class PassageText:
    """What is encoded for a passage: the document's title, then the passage's own text."""

    title: str
    text: str


class TokenField(StrEnum):
    """Where a token of an encoded input comes from."""

    TITLE = "title"
    TEXT = "text"
    SPECIAL = "special"


@dataclass(frozen=True, slots=True)
class Token:
    """A token and its character offsets [start, end) in the title or text; 0, 0 for special ones."""

    text: str
    field: TokenField
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class TokenParts:
    """An embedding as a sum over tokens: `vectors` (t, d) float32 add up to the unit vector.

    `words` numbers the word of each token; special tokens have a number of their own.
    """

    tokens: tuple[Token, ...]
    words: tuple[int, ...]
    vectors: Float32


@dataclass(frozen=True, slots=True)
class WorkItem:
    """One document of a claimed batch, still to be encoded."""

    document_id: int
    external_id: str
    title: str
    text: str


@dataclass(frozen=True, slots=True)
class ClaimedBatch:
    """A batch under lease. `attempt` is the fencing token: completing with an older one does nothing.

    `is_taken_over`: another had the lease before and let it run out.
    """

    id: str
    job_id: str
    collection: Collection
    attempt: int
    items: tuple[WorkItem, ...]
    is_taken_over: bool = False


@dataclass(frozen=True, slots=True)
class EncodedDocument:
    """Passages of one document and their vectors: `vectors` is (len(spans), d) float16, unit rows.

    `annotations` are what the service itself adds to the document's metadata, published together with them.
    """

    document_id: int
    spans: tuple[Span, ...]
    vectors: Float16
    annotations: Metadata | None = None


@dataclass(frozen=True, slots=True)
class FailedDocument:
    document_id: int
    external_id: str
    reason: str


@dataclass(frozen=True, slots=True)
class Accepted:
    """Outcome of accepting documents: what to enqueue, and the seq when metadata changed at once."""

    job_id: str
    batch_ids: tuple[str, ...]
    seq: int | None


@dataclass(frozen=True, slots=True)
class Job:
    """Progress of one accepted request. `done` documents are searchable; total = done + failed + to do.

    `is_read`: no more documents will follow. `rate_per_s` is how many documents a second were settled by
    encoding lately, up to `worked_at`; None before there is anything to measure.
    """

    id: str
    kind: JobKind
    collection: str
    state: JobState
    total: int
    done: int
    failed: int
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    seq: int
    details: Mapping[str, Any]
    errors: tuple[RejectedItem, ...] = ()
    is_read: bool = False
    rate_per_s: float | None = None
    worked_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class StoredUpload:
    """An uploaded file as the store lists it, or one that was not written to its end."""

    name: str
    modified: datetime


@dataclass(frozen=True, slots=True)
class ImportFields:
    """Column names as the caller gave them; None means: guess."""

    id_field: str | None = None
    text_field: str | None = None
    title_field: str | None = None
    metadata_fields: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class ImportPlan:
    """Columns that hold what. `id_field` None numbers the rows; `guessed` names the guessed ones."""

    id_field: str | None
    text_field: str
    title_field: str | None
    metadata_fields: tuple[str, ...]
    guessed: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class LogEntry:
    """The present state of one changed document: its passages and vectors, or none when it was removed.

    `passage_ids` is (n,) int64, `vectors` (n, d) float16, `texts` the n texts of the passages. An entry
    replaces all earlier passages of its document, and its metadata.

    `is_held`: the reader told that it holds just these passages, so `vectors`, `title` and `texts` were left
    out; only the metadata are new.
    """

    document_id: int
    seq: int
    passage_ids: Int64
    vectors: Float16
    title: str = ""
    texts: tuple[str, ...] = ()
    metadata: Metadata = field(default_factory=dict)
    is_held: bool = False


@dataclass(frozen=True, slots=True)
class LogPage:
    """Entries in (seq, document_id) order. `applied_seq` is the seq up to which the log is now complete."""

    entries: tuple[LogEntry, ...]
    cursor: tuple[int, int]
    applied_seq: int
    is_last: bool


class IndexHit(NamedTuple):
    """Best passage of one document. A tuple, because a search makes hundreds of them."""

    document_id: int
    passage_id: int
    score: float


FacetValue = str | bool | int | float


@dataclass(frozen=True, slots=True)
class Facet:
    """What values a field has over a set of documents, each with the number of documents that have it.

    `values` are those of most documents, first; `distinct` says how many there are in all. `minimum` and
    `maximum` are of numbers and dates; dates are ISO 8601 text in UTC.
    """

    values: tuple[tuple[FacetValue, int], ...]
    distinct: int
    minimum: FacetValue | None = None
    maximum: FacetValue | None = None


@dataclass(frozen=True, slots=True, eq=False)
class PassageVectors:
    """Stored vectors of m passages: `document_ids` and `passage_ids` (m,), `vectors` (m, d) float32."""

    document_ids: Int64
    passage_ids: Int64
    vectors: Float32


@dataclass(frozen=True, slots=True)
class IndexStats:
    """Counts of passages, and how well approximate searches do.

    `effort` is a multiple of what searches usually take, raised until `recall_at_10` meets its target; at its
    most, `is_below_target` may remain. `built` is the share (0 to 1) done of an index being built, or None.
    `fields` are the attributes with their types, `unindexed` in how many documents some value of a field is
    not indexed (under the empty name: of fields beyond the limits).
    """

    kind: str
    bytes: int
    passages: int
    delta: int
    deleted: int
    recall_at_10: float | None
    applied_seq: int
    effort: float = 1.0
    is_below_target: bool = False
    built: float | None = None
    fields: Mapping[str, str] = field(default_factory=dict)
    unindexed: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PassageRow:
    """A passage of a searchable document, as read from the database for display."""

    passage_id: int
    external_id: str
    title: str
    text: str
    span: Span
    metadata: Metadata


@dataclass(frozen=True, slots=True)
class Label:
    """A class for zero-shot classification: its name, and optionally words and examples that tell it."""

    name: str
    description: str = ""
    examples: tuple[str, ...] = ()
    phrasings: tuple[str, ...] = ()  # other ways to say the name


@dataclass(frozen=True, slots=True)
class ZeroShotOptions:
    """How texts are compared to labels; the defaults pick one label for each text by itself.

    `multi_label`: each label has a probability of its own. `none_of_these`: no label may fit. `templates`
    hold a name at "{}"; None takes the built-in ones. `transductive`: the texts of a call help each other,
    so that an answer depends on the other texts.
    """

    multi_label: bool = False
    none_of_these: bool = False
    templates: tuple[str, ...] | None = None
    transductive: bool = False


@dataclass(frozen=True, slots=True)
class Classification:
    """`label` is the most probable one, `labels` those given: none where none fits, several if asked for.

    `none` is the probability that none of the labels fits, where that was asked for.
    """

    label: str
    score: float
    scores: Mapping[str, float]
    is_truncated: bool = False  # the encoder read only the start of the text
    labels: tuple[str, ...] = ()
    none: float | None = None


@dataclass(frozen=True, slots=True)
class JudgedQuery:
    """A query and the documents judged for it: external id -> relevance, where 0 is judged not relevant."""

    text: str
    relevance: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class JudgementCounts:
    """What a collection's judgements hold.

    `measurable` queries have a relevant document that is searchable now; `not_found` of the judged
    documents are not searchable now, and `examples` names the first of them.
    """

    queries: int
    judgements: int
    measurable: int
    not_found: int
    examples: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class JudgedPage:
    """Judged queries in the order in which they were sent; `following` continues, None ends."""

    queries: tuple[JudgedQuery, ...]
    following: int | None
