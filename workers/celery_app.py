"""The Celery app: one definition for API (publishes tasks), worker (runs them) and scheduler (times them)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from celery import Celery
from kombu import Exchange, Queue

from core.job_types import Task, TaskKind

RUN, SWEEP, PURGE, COMPACT = "cognate.run", "cognate.sweep", "cognate.purge", "cognate.compact"
QUEUES = INGEST, BULK, IMPORTS, MAINTENANCE, TRAINING = (
    "ingest",
    "bulk",
    "imports",
    "maintenance",
    "training",
)
# Imports and backups have a queue of their own: a file takes minutes, a batch a second, and a worker may
# be told to leave files alone. So have trainings. Batches of imports have one too: workers take from their
# queues by turns, so that a few documents do not wait for all that a large file has brought.
_QUEUE_OF = {
    TaskKind.INGEST_BATCH: INGEST,
    TaskKind.IMPORT_FILE: IMPORTS,
    TaskKind.BACKUP: IMPORTS,
    TaskKind.TRAIN: TRAINING,
    TaskKind.LABEL: TRAINING,
}


SHORTEST_VISIBILITY_S = 3600.0
PURGE_EVERY_S = 3600.0
COMPACT_EVERY_S = 3600.0
SHORTEST_EXPIRY_S = 60.0
CONNECT_TIMEOUT_S = 1.0
ANSWER_TIMEOUT_S = 2.0
WORKER_ANSWER_TIMEOUT_S = 30.0  # more than Celery waits for the next message


def queue_of(task: Task) -> str:
    """Name of the queue that the task is published to."""
    return BULK if task.is_bulk else _QUEUE_OF[task.kind]


@dataclass(frozen=True, slots=True)
class BrokerSettings:
    """Times in seconds. `limit_s`: the longest that a batch may be worked on."""

    url: str
    limit_s: float
    sweep_every_s: float


def make_app(settings: BrokerSettings, *, is_worker: bool = False) -> Celery:
    """An app that publishes within `ANSWER_TIMEOUT_S` or fails; one of a worker waits for Redis for ever."""
    app = Celery("cognate", broker=settings.url, backend=None)
    app.conf.update(
        accept_content=["json"],
        task_serializer="json",
        task_ignore_result=True,
        task_queues=[_queue(name) for name in QUEUES],
        task_default_queue=INGEST,
        task_default_exchange="",
        task_create_missing_queues=False,
        task_acks_late=True,
        task_reject_on_worker_lost=True,
        task_publish_retry=False,
        worker_prefetch_multiplier=1,
        worker_enable_remote_control=False,
        worker_send_task_events=False,
        worker_cancel_long_running_tasks_on_connection_loss=False,
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
        broker_connection_timeout=CONNECT_TIMEOUT_S,
        broker_connection_retry=is_worker,
        broker_connection_retry_on_startup=is_worker,
        broker_connection_max_retries=None if is_worker else 0,
        broker_transport_options=_transport(settings, is_worker),
        beat_scheduler="celery.beat:Scheduler",  # the schedule is below; nothing to keep in a file
        beat_max_loop_interval=5,
        beat_schedule=_schedule(settings),
        enable_utc=True,
    )
    return app


def _queue(name: str) -> Queue:
    # The nameless exchange routes by the name of the queue alone. A named one keeps its table of queues in
    # Redis, and once Redis was emptied nothing could be published until a worker came to declare it again.
    return Queue(name, Exchange(""), routing_key=name)


def _transport(settings: BrokerSettings, is_worker: bool) -> dict[str, Any]:
    options: dict[str, Any] = {
        # Redis hands a task out again after this time though it may still run: the claim then refuses it.
        "visibility_timeout": max(SHORTEST_VISIBILITY_S, 2 * settings.limit_s),
        "socket_connect_timeout": CONNECT_TIMEOUT_S,
        "socket_timeout": WORKER_ANSWER_TIMEOUT_S if is_worker else ANSWER_TIMEOUT_S,
        "socket_keepalive": True,
        "health_check_interval": 10,
    }
    if not is_worker:
        options |= {"max_retries": 0, "interval_start": 0, "interval_step": 0, "interval_max": 0}
    return options


def _schedule(settings: BrokerSettings) -> dict[str, Any]:
    """Messages expire when the next is due, so that they do not pile up while no worker runs.

    Not earlier than after a minute: a worker whose clock is ahead would take them all for expired.
    """
    every = {SWEEP: settings.sweep_every_s, PURGE: PURGE_EVERY_S, COMPACT: COMPACT_EVERY_S}
    return {
        name: {
            "task": name,
            "schedule": period_s,
            "options": {"queue": MAINTENANCE, "expires": max(period_s, SHORTEST_EXPIRY_S)},
        }
        for name, period_s in every.items()
    }
