"""Jobs, batches and the tasks that work on them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Final

from core.types import Collection, Float16, Metadata, RejectedItem, Span

FROM_COLLECTION = "from_collection"  # in the details of a training: where its examples come from
EXAMPLES_SENT = "examples_sent"  # in the details of a training: examples that replaced those stored before
ATTEMPTS = "attempts"  # in the details of a job: how often it was begun since it last came further
REQUEST_ID = "request_id"  # in the details of a job and in the fields of a log line


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


# Imports of one process that read at the same time: a small file does not wait for the end of a large one.
IMPORTS_AT_ONCE: Final = 2


@dataclass(frozen=True, slots=True)
class Task:
    """A unit of background work, named by the id of the row that describes it.

    `is_bulk`: a batch of a large import, which takes turns with those of other calls.
    """

    kind: TaskKind
    id: str
    is_bulk: bool = field(default=False, compare=False)

    @property
    def named_id(self) -> dict[str, str]:
        """Its id under the name that log lines give it."""
        return {"batch_id" if self.kind is TaskKind.INGEST_BATCH else "job_id": self.id}


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
class ArrivalRule:
    """A collection's documents get the label of a classifier's active version in `field` on arrival."""

    field: str
    classifier: str
    version: int | None


@dataclass(frozen=True, slots=True)
class Annotated:
    """Documents with their annotations, and all rules that were followed; None where none are known of."""

    documents: Sequence[EncodedDocument]
    rules: Sequence[ArrivalRule] | None = None


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
class JobStep:
    """How far a long job has come: what is done of all there is, and in its details where to go on from."""

    job_id: str
    done: int
    total: int
    position: Mapping[str, Any]


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
