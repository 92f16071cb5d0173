"""Composes the worker: no API, no index; tasks and one encoder."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict
from datetime import UTC, datetime, timedelta

from prometheus_client import CollectorRegistry

from cognate.bootstrap import (
    Layout,
    load_encoder_of,
    make_folders,
    open_stores,
    prepare_schema,
    refuse_other_encoders,
)
from cognate.broker import broker_settings
from cognate.classifying import open_tuner
from cognate.collectors import EncoderCollector, GaugesCollector
from cognate.ingestion import ORPHANED_AFTER, Meters, make_ingestion
from cognate.metrics import ClassifierMetrics, IngestMetrics, new_registry, served_metrics
from cognate.production import RedisBackground
from cognate.settings import Settings
from core.errors import StartRefused
from core.ingest import HARMLESS, AtWork
from core.job_types import Task
from core.memory import bound_heaps, return_freed_memory
from storage.collections import SqlCollectionStore
from storage.database import Database
from storage.retention import SqlRetention
from storage.task_lock import SqlTaskLock
from workers.celery_app import QUEUES, make_app
from workers.celery_worker import Work, WorkerOptions, run_worker

log = logging.getLogger(__name__)


def work_forever(settings: Settings, queues: Sequence[str]) -> int:
    """Runs tasks of these queues (none = all) until SIGTERM; the exit status.

    Raises StartRefused, SchemaMismatch or EncoderMismatch, each saying what to do.
    """
    broker = broker_settings(settings)
    options = WorkerOptions(
        settings.worker_threads, _known(queues) or QUEUES, settings.batch_limit_s, settings.alive_file
    )
    registry = new_registry()
    with ExitStack() as stack:
        stack.enter_context(served_metrics(settings, registry))
        work = _open_work(settings, stack, registry)
        return run_worker(make_app(broker, is_worker=True), work, options)


def _open_work(settings: Settings, stack: ExitStack, registry: CollectorRegistry) -> Work:
    """One encoder for all task threads: while it computes for one, others tokenize or write."""
    layout = Layout(settings.data_dir.resolve())
    bound_heaps()
    make_folders(layout)
    prepare_schema(settings)
    database = Database(settings.database_url)
    stack.callback(database.close)
    encoder = load_encoder_of(settings)
    stack.callback(encoder.close)
    refuse_other_encoders(SqlCollectionStore(database), encoder)
    encoder.encode_passages([HARMLESS])  # compiles now what else the first batch would wait for
    background = RedisBackground(settings, database, stack)
    registry.register(EncoderCollector(encoder.stats))
    registry.register(GaugesCollector(background.gauges))
    meters = Meters(IngestMetrics(registry), ClassifierMetrics(registry))
    tuner, stores = open_tuner(settings, encoder, stack), open_stores(settings)
    ingestion = make_ingestion(settings, stores, database, encoder, background, meters, tuner)
    lock, retention = SqlTaskLock(database), SqlRetention(database)

    def handle(task: Task, at_work: AtWork) -> None:
        ingestion.run_alone(task, lock, at_work)

    def sweep() -> None:
        background.queue.enqueue_missing(ingestion.ingest.batches.unfinished())
        ingestion.classifiers.training.catch_up_all()
        return_freed_memory()

    def purge() -> None:
        keep = timedelta(days=settings.retention_days)
        log.info("purged", extra=asdict(retention.purge(datetime.now(UTC) - keep)))
        ingestion.imports.remove_orphans(ORPHANED_AFTER)
        ingestion.backups.remove_abandoned()

    stop, compact = background.stopping.set, background.notifier.request_compaction
    return Work(handle, sweep, purge, compact, stop, encoder.close, ingestion.identify)


def _known(queues: Sequence[str]) -> tuple[str, ...]:
    unknown = sorted(set(queues) - set(QUEUES))
    if unknown:
        raise StartRefused(f"There is no queue {unknown[0]!r}; known are {', '.join(QUEUES)}.")
    return tuple(queues)
