"""Composes ingestion, for every kind of process that accepts tasks or works on them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol

from cognate import __version__
from cognate.classifying import make_classifiers
from cognate.settings import Settings
from core.backup import BackupService
from core.backup_types import Indexing
from core.classifiers import ClassifierService
from core.documents import DocumentLimits
from core.imports import ImportService
from core.ingest import AtWork, IngestService
from core.job_types import LONG_JOBS, Task, TaskKind
from core.long_jobs import LongJobRunner
from core.metering import ClassifierMeter, IngestMeter
from core.ports.classifiers import EncoderTuner
from core.ports.models import PassageEncoder
from core.ports.work import Notifier, TaskQueue
from indexer.chunking import SentenceChunker
from indexer.imports import FileImportReader
from indexer.spool import Spool
from storage.backups import SqlBackups
from storage.batches import SqlBatchStore
from storage.collections import SqlCollectionStore
from storage.database import Database
from storage.documents import SqlDocumentStore
from storage.jobs import SqlJobStore
from storage.long_jobs import SqlLongJobs
from storage.task_lock import SqlTaskLock
from storage.task_trace import SqlTaskTrace
from storage.uploads import FsspecUploadStore

MAX_WAITING_IMPORT_BATCHES = 64
ORPHANED_AFTER = timedelta(hours=1)  # an upload without an import that nobody has written to


class Background(Protocol):
    """Where accepted tasks go, and how followers hear of changes."""

    @property
    def queue(self) -> TaskQueue: ...

    @property
    def notifier(self) -> Notifier: ...

    def is_stopping(self) -> bool:
        """Whether imports should end before their next transaction."""
        ...

    def gives_batches_back(self) -> bool:
        """Whether batches should be given back before their next slice, to be finished after the stop."""
        ...

    def start(
        self, settings: Settings, database: Database, ingestion: Ingestion, stack: ExitStack
    ) -> None: ...

    def gauges(self) -> dict[str, float]:
        """Name -> value, of what is known at once or within a second."""
        ...


@dataclass(frozen=True, slots=True)
class Ingestion:
    """The use cases behind tasks, for a process that accepts them or works on them."""

    ingest: IngestService
    imports: ImportService
    backups: BackupService
    classifiers: ClassifierService
    trace: SqlTaskTrace

    def run(self, task: Task, at_work: AtWork = nullcontext) -> None:
        """Works on the task; a batch within `at_work`. Whole long jobs are long turns, unlike imports."""
        run: Mapping[TaskKind, Callable[[str], None]] = {
            TaskKind.INGEST_BATCH: lambda batch_id: self.ingest.run_batch(batch_id, at_work),
            TaskKind.IMPORT_FILE: self.imports.run,
            TaskKind.BACKUP: self.backups.run,
            TaskKind.TRAIN: self.classifiers.training.run,
            TaskKind.LABEL: self.classifiers.labelling.run,
        }
        is_long = task.kind in LONG_JOBS.values()
        with self.ingest.turns.long() if is_long else nullcontext():
            run[task.kind](task.id)

    def run_alone(self, task: Task, lock: SqlTaskLock, at_work: AtWork = nullcontext) -> None:
        """As `run`, but a task without a lease is left alone while another process works on it."""
        if task.kind is TaskKind.INGEST_BATCH:
            self.run(task, at_work)  # its lease is in the database
            return
        with lock.hold(task.id) as is_ours:
            if is_ours:
                self.run(task)

    def identify(self, task: Task) -> dict[str, str]:
        """What all log lines of the task name: its batch, its job, and the request that made it."""
        try:
            return self.trace.ids(task)
        except Exception:  # names for a log must not keep the task from running, or from saying what is wrong
            return task.named_id


@dataclass(frozen=True, slots=True)
class Meters:
    """What of the process's work is counted."""

    ingest: IngestMeter
    classifiers: ClassifierMeter


@dataclass(frozen=True, slots=True)
class Stores:
    """Where files are kept: uploads until they are imported, and backups."""

    uploads: FsspecUploadStore
    backups: FsspecUploadStore


def make_ingestion(
    settings: Settings,
    stores: Stores,
    database: Database,
    encoder: PassageEncoder,
    background: Background,
    meters: Meters,
    tuner: EncoderTuner | None = None,
    indexing: Indexing | None = None,
) -> Ingestion:
    """All that works on tasks, on this database and encoder; `indexing`: its indexes, if it has any."""
    jobs, queue, notifier = SqlJobStore(database), background.queue, background.notifier
    long = LongJobRunner(SqlLongJobs(database), jobs, queue, background.is_stopping)
    classifiers = make_classifiers(database, encoder, tuner, long, notifier, meters.classifiers)
    ingest = IngestService(
        SqlDocumentStore(database),
        SqlBatchStore(database),
        jobs,
        encoder,
        SentenceChunker(encoder),
        queue,
        notifier,
        DocumentLimits(max_text_bytes=settings.max_text_bytes),
        settings.max_queued_batches,
        settings.lease_s,
        background.gives_batches_back,
        meter=meters.ingest,
        annotate=classifiers.labelling.annotated,
    )
    imports = ImportService(
        ingest,
        SqlCollectionStore(database),
        FileImportReader(
            Spool(settings.data_dir.resolve(), settings.max_upload_bytes, "COGNATE_MAX_UPLOAD_BYTES")
        ),
        stores.uploads,
        MAX_WAITING_IMPORT_BATCHES,
        background.is_stopping,
    )
    backups = BackupService(
        SqlBackups(database, stores.backups, __version__, indexing=indexing),
        long,
        imports.collections,
        encoder,
        queue,
        notifier,
    )
    return Ingestion(ingest, imports, backups, classifiers, SqlTaskTrace(database))
