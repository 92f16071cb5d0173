"""The one composition root: settings in, running services out."""

from __future__ import annotations

import fcntl
import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Protocol

from classifier.zero_shot import ZeroShotScorer
from cognate.settings import Settings
from core.classify import ClassifyLimits, ClassifyService
from core.collections import CollectionService, check_encoder
from core.documents import DocumentLimits
from core.embed import EmbedLimits, EmbedService
from core.errors import CognateError, StartRefused
from core.explain import ExplainService
from core.imports import ImportService
from core.ingest import IngestService
from core.memory import bound_heaps, return_freed_memory
from core.ports import Encoder, PartsEncoder, TokenEncoder
from core.search import SearchLimits, SearchService
from core.services import Services
from core.types import Task, TaskKind
from encoder.engine import EngineStats
from encoder.service import EncoderService, load_encoder
from indexer.chunking import SentenceChunker, sentence_starts
from indexer.factory import check_index_kind
from indexer.follower import IndexFollower
from indexer.imports import FileImportReader
from migrations.upgrade import check, upgrade
from storage.batches import SqlBatchStore
from storage.change_log import SqlChangeLog
from storage.collections import SqlCollectionStore
from storage.database import Database
from storage.documents import SqlDocumentStore
from storage.jobs import SqlJobStore
from storage.retention import SqlRetention
from storage.uploads import FsspecUploadStore, local_uploads, open_uploads
from workers.embedded import EmbeddedQueue
from workers.notifier import LocalNotifier

log = logging.getLogger(__name__)

SWEEP_EVERY_S = 30.0
PURGE_EVERY_S = 3600.0
MAX_WAITING_IMPORT_BATCHES = 64
ORPHANED_AFTER = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Layout:
    """Where things are in the data folder."""

    root: Path

    @property
    def lock(self) -> Path:
        return self.root / "lock"

    @property
    def database(self) -> Path:
        return self.root / "cognate.db"

    @property
    def snapshots(self) -> Path:
        return self.root / "snapshots"

    @property
    def uploads(self) -> Path:
        return self.root / "uploads"


def database_url(settings: Settings) -> str:
    """The configured URL, or SQLite in the data folder."""
    return settings.database_url or f"sqlite:///{Layout(settings.data_dir.resolve()).database}"


def open_upload_store(settings: Settings) -> FsspecUploadStore:
    """Where the settings keep uploads. Raises StartRefused."""
    if settings.upload_url:
        return open_uploads(settings.upload_url)
    return local_uploads(Layout(settings.data_dir.resolve()).uploads)


class RunningEncoder(Encoder, TokenEncoder, PartsEncoder, Protocol):
    """An encoder with counters, to be closed at the end."""

    def stats(self) -> EngineStats: ...

    def close(self) -> None: ...


def upgrade_schema(settings: Settings) -> None:
    """Brings the database to this version's schema. Raises SchemaMismatch or StartRefused."""
    layout = Layout(settings.data_dir.resolve())
    _make_folders(layout)
    with _exclusive(layout):
        upgrade(database_url(settings))


@contextmanager
def open_runtime(settings: Settings, encoder: RunningEncoder | None = None) -> Iterator[Services]:
    """Running services on the data folder; stopped in order at the end.

    Raises StartRefused, SchemaMismatch or EncoderMismatch, each saying what to do. A given `encoder`
    stays the caller's to close.
    """
    layout = Layout(settings.data_dir.resolve())
    with ExitStack() as stack:
        bound_heaps()
        _make_folders(layout)
        stack.enter_context(_exclusive(layout))
        _prepare_schema(settings)
        database = Database(database_url(settings))
        stack.callback(database.close)
        if encoder is None:
            encoder = _load_encoder(settings)
            stack.callback(encoder.close)
        yield _assemble(settings, layout, database, encoder, stack)


def _assemble(
    settings: Settings, layout: Layout, database: Database, encoder: RunningEncoder, stack: ExitStack
) -> Services:
    collections, documents = SqlCollectionStore(database), SqlDocumentStore(database)
    jobs, notifier, queue = SqlJobStore(database), LocalNotifier(), EmbeddedQueue(settings.ingest_workers)
    _refuse_other_encoders(collections, encoder)
    indexes = IndexFollower(SqlChangeLog(database), collections, notifier, layout.snapshots)
    ingest = IngestService(
        documents,
        SqlBatchStore(database),
        jobs,
        encoder,
        SentenceChunker(encoder),
        queue,
        notifier,
        DocumentLimits(max_text_bytes=settings.max_text_bytes),
        settings.max_queued_batches,
    )
    uploads = open_upload_store(settings)
    imports = ImportService(
        ingest,
        collections,
        FileImportReader(),
        uploads,
        MAX_WAITING_IMPORT_BATCHES,
        lambda: queue.is_stopping,
    )
    explain = ExplainService(encoder, documents, sentence_starts)
    indexes.start()
    stack.callback(indexes.stop)
    if not settings.database_url:  # the lock on the data folder says that nobody else holds a lease
        ingest.batches.release_all()
        if not settings.upload_url:  # … or writes to its uploads
            imports.remove_orphans(timedelta())
    ingest.requeue_unfinished()
    queue.start(_handler(ingest, imports))
    stack.callback(queue.stop)
    stack.enter_context(_sweeping(imports, SqlRetention(database), timedelta(days=settings.retention_days)))
    collection_service = CollectionService(collections, indexes, encoder, check_index_kind)
    return Services(
        collections=collection_service,
        ingest=ingest,
        imports=imports,
        search=SearchService(collection_service, encoder, indexes, documents, explain, SearchLimits()),
        classify=ClassifyService(ZeroShotScorer(encoder, settings.zero_shot_temperature), ClassifyLimits()),
        embed=EmbedService(encoder, EmbedLimits()),
        explain=explain,
        documents=documents,
        jobs=jobs,
        indexes=indexes,
        encoder=encoder,
        uploads=uploads,
        checks=lambda: _checks(collections, encoder),
        gauges=lambda: _gauges(queue, indexes, encoder),
    )


def _prepare_schema(settings: Settings) -> None:
    """Upgrades a database of our own; a shared one is upgraded on purpose, by `cognate db upgrade`."""
    if settings.database_url:
        check(settings.database_url)
    else:
        upgrade(database_url(settings))


def _load_encoder(settings: Settings) -> EncoderService:
    return load_encoder(
        settings.encoder_path,
        backend=settings.backend.value,
        precision=settings.precision.value,
        threads=settings.threads,
    )


def _handler(ingest: IngestService, imports: ImportService) -> Callable[[Task], None]:
    run: Mapping[TaskKind, Callable[[str], None]] = {
        TaskKind.INGEST_BATCH: ingest.run_batch,
        TaskKind.IMPORT_FILE: imports.run,
    }
    return lambda task: run[task.kind](task.id)


def _refuse_other_encoders(collections: SqlCollectionStore, encoder: Encoder) -> None:
    for collection in collections.list():
        check_encoder(collection, encoder)


def _make_folders(layout: Layout) -> None:
    try:
        for folder in (layout.root, layout.snapshots):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise StartRefused(
            f"The data folder {layout.root} cannot be used: {error.strerror}."
            " Name another with COGNATE_DATA_DIR."
        ) from None


@contextmanager
def _exclusive(layout: Layout) -> Iterator[None]:
    """Holds the data folder: two embedded servers on one folder would both own its leases and snapshots."""
    with layout.lock.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise StartRefused(
                f"Another Cognate process uses the data folder {layout.root}; stop it, or name another folder"
                " with --data-dir or COGNATE_DATA_DIR."
            ) from None
        yield


@contextmanager
def _sweeping(imports: ImportService, retention: SqlRetention, keep: timedelta) -> Iterator[None]:
    """Now and then queues tasks that nobody holds, and purges what was deleted or done long ago."""
    stop = threading.Event()

    def sweep() -> None:
        purged_at = time.monotonic() - PURGE_EVERY_S
        while not stop.wait(SWEEP_EVERY_S):
            try:
                imports.ingest.requeue_unfinished()
                return_freed_memory()
                if time.monotonic() - purged_at >= PURGE_EVERY_S:
                    purged_at = time.monotonic()
                    log.info("purged", extra=asdict(retention.purge(datetime.now(UTC) - keep)))
                    imports.remove_orphans(ORPHANED_AFTER)
            except Exception:  # the thread's outer edge: the next sweep tries again
                log.exception("sweep failed")

    thread = threading.Thread(target=sweep, name="sweep", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def _checks(collections: SqlCollectionStore, encoder: Encoder) -> dict[str, str]:
    """What is not ready, and why."""
    problems = {}
    try:
        collections.list()
    except Exception as error:  # whatever the driver raises, readiness reports it
        problems["database"] = f"cannot be read: {type(error).__name__}"
    try:
        encoder.encode_queries(["ready?"])
    except CognateError as error:
        problems["encoder"] = str(error)
    return problems


def _gauges(queue: EmbeddedQueue, indexes: IndexFollower, encoder: RunningEncoder) -> dict[str, float]:
    stats = encoder.stats()
    return {
        "queued_batches": queue.depth(),
        "encoder_tokens_useful": stats.tokens_useful,
        "encoder_tokens_computed": stats.tokens_computed,
        "encoder_failed_batches": stats.failed_batches,
        "encoder_waiting_tokens_interactive": stats.interactive.waiting_tokens,
        "encoder_waiting_tokens_bulk": stats.bulk.waiting_tokens,
        "encoder_wait_seconds_interactive": stats.interactive.wait_sum_s,
        "encoder_wait_seconds_bulk": stats.bulk.wait_sum_s,
        "index_lag": sum(indexes.lag().values()),
    }
