"""The embedded background: queue, notification and upkeep in the serving process itself."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict
from datetime import UTC, datetime, timedelta

from cognate.ingestion import ORPHANED_AFTER, Ingestion
from cognate.periodic import repeated_every
from cognate.settings import Settings
from core.memory import return_freed_memory
from storage.database import Database
from storage.retention import SqlRetention
from storage.task_lock import SqlTaskLock
from storage.urls import sqlite_file
from workers.embedded import EmbeddedQueue
from workers.notifier import LocalNotifier

log = logging.getLogger(__name__)

SWEEP_EVERY_S = 30.0
PURGE_EVERY_S = 3600.0


class EmbeddedBackground:
    """Everything in this process."""

    def __init__(self, threads: int) -> None:
        self.queue = EmbeddedQueue(threads)
        self.notifier = LocalNotifier()

    def is_stopping(self) -> bool:
        return self.queue.is_stopping

    def gives_batches_back(self) -> bool:
        return self.queue.is_stopping

    def start(self, settings: Settings, database: Database, ingestion: Ingestion, stack: ExitStack) -> None:
        """Queues what an earlier process left, works on tasks, and tidies up now and then."""
        ingest, retention = ingestion.ingest, SqlRetention(database)
        is_alone = not settings.database_url or sqlite_file(settings.database_url) is not None
        if is_alone:  # the locks on data folder and file say that nobody else holds a lease
            ingest.batches.release_all()
            if not settings.upload_url:  # … or writes to its uploads
                ingestion.imports.remove_orphans(timedelta())
        ingest.requeue_unfinished()
        lock = SqlTaskLock(database)  # a Postgres may serve other processes, too
        self.queue.start(lambda task: ingestion.run_alone(task, lock), ingestion.identify)
        stack.callback(self.queue.stop)
        keep = timedelta(days=settings.retention_days)
        sweep = _Sweep(ingestion, retention, keep, self.notifier.request_compaction)
        stack.enter_context(repeated_every(SWEEP_EVERY_S, "sweep", sweep))

    def gauges(self) -> dict[str, float]:
        return {}


class _Sweep:
    """Queues tasks that nobody holds, and has feedback learned that was left over.

    Now and then purges what is long over, and has indexes tidied up.
    """

    def __init__(
        self, ingestion: Ingestion, retention: SqlRetention, keep: timedelta, compact: Callable[[], None]
    ) -> None:
        self._ingestion, self._retention, self._keep, self._compact = ingestion, retention, keep, compact
        self._purged_at = time.monotonic() - PURGE_EVERY_S

    def __call__(self) -> None:
        self._ingestion.ingest.requeue_unfinished()
        self._ingestion.classifiers.training.catch_up_all()
        return_freed_memory()
        if time.monotonic() - self._purged_at >= PURGE_EVERY_S:
            self._purged_at = time.monotonic()
            purged = self._retention.purge(datetime.now(UTC) - self._keep)
            log.info("purged", extra=asdict(purged))
            self._compact()
            self._ingestion.imports.remove_orphans(ORPHANED_AFTER)
            self._ingestion.backups.remove_abandoned()
