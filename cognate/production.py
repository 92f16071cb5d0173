"""The production background: tasks go to Celery on Redis, changes are told by Redis publish/subscribe."""

from __future__ import annotations

import logging
import threading
from contextlib import ExitStack

from cognate.broker import broker_settings
from cognate.ingestion import Ingestion
from cognate.periodic import repeated_every
from cognate.settings import Settings
from core.memory import return_freed_memory
from storage.batches import SqlBatchStore
from storage.database import Database
from workers.celery_app import make_app
from workers.celery_queue import CeleryQueue
from workers.redis_notifier import RedisNotifier

log = logging.getLogger(__name__)

TRIM_EVERY_S = 30.0


class RedisBackground:
    """Publishes tasks to workers and tells all processes of changes; setting `stopping` ends imports."""

    def __init__(self, settings: Settings, database: Database, stack: ExitStack) -> None:
        broker = broker_settings(settings)
        waiting = SqlBatchStore(database).waiting
        self.queue = CeleryQueue(make_app(broker), broker.url, waiting)
        stack.callback(self.queue.close)
        self.notifier = RedisNotifier(broker.url)
        stack.callback(self.notifier.close)
        self.stopping = threading.Event()

    def is_stopping(self) -> bool:
        return self.stopping.is_set()

    def gives_batches_back(self) -> bool:
        """Never: Celery forgets the message of a task that fails, so batches end in their own time."""
        return False

    def start(self, settings: Settings, database: Database, ingestion: Ingestion, stack: ExitStack) -> None:
        """For an API: publishes what Redis has lost; now and then gives freed memory back."""
        self.queue.enqueue_missing(ingestion.ingest.batches.unfinished())
        stack.enter_context(repeated_every(TRIM_EVERY_S, "trim", return_freed_memory))

    def gauges(self) -> dict[str, float]:
        return {"queue_reachable": self.queue.is_reachable and self.notifier.is_answered()}
