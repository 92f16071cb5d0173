"""Tasks to Celery on Redis. A lost message costs a sweep, never a document: the database has the truth."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence

from celery import Celery
from kombu.exceptions import KombuError, OperationalError
from redis import Redis, RedisError

from core.job_types import Task
from workers.celery_app import ANSWER_TIMEOUT_S, CONNECT_TIMEOUT_S, QUEUES, RUN, queue_of

log = logging.getLogger(__name__)

PAUSE_S = 2.0


class CeleryQueue:
    """Implements core.ports.TaskQueue; `waiting` counts the batches that wait, in the database.

    Never raises when Redis is away: callers have committed, and the sweep publishes what is missing. After
    a failure it does not try again for `PAUSE_S`, so that few requests wait for the time limits of Redis.
    """

    def __init__(self, app: Celery, url: str, waiting: Callable[[], int]) -> None:
        self._app = app
        self._redis = Redis.from_url(
            url, socket_connect_timeout=CONNECT_TIMEOUT_S, socket_timeout=ANSWER_TIMEOUT_S
        )
        self._waiting = waiting
        self._away_until_s = 0.0

    @property
    def is_reachable(self) -> bool:
        """False for a while after Redis did not answer."""
        return time.monotonic() >= self._away_until_s

    def depth(self) -> int:
        """Batches waiting, asked of the database: Redis may be away, or hold a task twice."""
        return self._waiting()

    def enqueue(self, tasks: Sequence[Task]) -> None:
        """Publishes tasks, or leaves them to the sweep."""
        self._guarded(tasks, lambda: self._publish(tasks))

    def enqueue_missing(self, tasks: Sequence[Task]) -> None:
        """Publishes as many of the unfinished `tasks`, oldest first, as Redis has too few messages for.

        Which ones it lost cannot be seen without reading the queue. But a queue is worked off in order: the
        task that was lost is soon the oldest unfinished one, and what is published twice does nothing.
        """
        self._guarded(tasks, lambda: self._publish(self._missing(tasks)))

    def close(self) -> None:
        """Closes the connections."""
        self._app.close()
        self._redis.close()

    def _missing(self, tasks: Sequence[Task]) -> list[Task]:
        missing: list[Task] = []
        for queue in QUEUES:
            of_queue = [task for task in tasks if queue_of(task) == queue]
            if not of_queue:
                continue
            held = int(str(self._redis.llen(queue)))
            missing += of_queue[: max(0, len(of_queue) - held)]
        return missing

    def _publish(self, tasks: Sequence[Task]) -> None:
        with self._app.producer_or_acquire() as producer:
            for task in tasks:
                self._app.send_task(
                    RUN, args=(task.kind.value, task.id), queue=queue_of(task), producer=producer
                )

    def _guarded(self, tasks: Sequence[Task], work: Callable[[], None]) -> None:
        if not tasks:
            return
        if not self.is_reachable:
            log.info("tasks left to the sweep", extra={"tasks": len(tasks)})
            return
        try:
            work()
        except (RedisError, KombuError, OperationalError, OSError) as error:
            self._away_until_s = time.monotonic() + PAUSE_S
            log.warning(
                "Redis does not answer; tasks left to the sweep",
                extra={"tasks": len(tasks), "error": f"{type(error).__name__}: {error}"},
            )
