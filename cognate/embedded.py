"""The embedded background: queue, notification and upkeep in the serving process itself."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from datetime import UTC, datetime, timedelta

from cognate.ingestion import ORPHANED_AFTER, Ingestion
from cognate.settings import Settings
from core.memory import return_freed_memory
from storage.database import Database
from storage.retention import SqlRetention
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
        if not settings.database_url:  # the lock on the data folder says that nobody else holds a lease
            ingest.batches.release_all()
            if not settings.upload_url:  # … or writes to its uploads
                ingestion.imports.remove_orphans(timedelta())
        ingest.requeue_unfinished()
        self.queue.start(ingestion.run, ingestion.identify)
        stack.callback(self.queue.stop)
        stack.enter_context(_sweeping(ingestion, retention, timedelta(days=settings.retention_days)))

    def gauges(self) -> dict[str, float]:
        return {}


@contextmanager
def _sweeping(ingestion: Ingestion, retention: SqlRetention, keep: timedelta) -> Iterator[None]:
    """Now and then queues tasks that nobody holds, and purges what was deleted or done long ago."""
    stop = threading.Event()

    def sweep() -> None:
        purged_at = time.monotonic() - PURGE_EVERY_S
        while not stop.wait(SWEEP_EVERY_S):
            try:
                ingestion.ingest.requeue_unfinished()
                return_freed_memory()
                if time.monotonic() - purged_at >= PURGE_EVERY_S:
                    purged_at = time.monotonic()
                    log.info("purged", extra=asdict(retention.purge(datetime.now(UTC) - keep)))
                    ingestion.imports.remove_orphans(ORPHANED_AFTER)
            except Exception:  # the thread's outer edge: the next sweep tries again
                log.exception("sweep failed")

    thread = threading.Thread(target=sweep, name="sweep", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
