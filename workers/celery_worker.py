"""A Celery worker in this process: task threads around what the composition root hands in."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path

from celery import Celery, bootsteps, signals
from structlog.contextvars import bound_contextvars

from core.errors import Overloaded, Unavailable
from core.ingest import AtWork
from core.job_types import IMPORTS_AT_ONCE, Task, TaskKind
from workers import redis_qos
from workers.celery_app import COMPACT, PURGE, RUN, SWEEP

log = logging.getLogger(__name__)

BEAT_S = 5.0
GRACE_S = 20.0
STUCK_EXIT_STATUS = 70


@dataclass(frozen=True, slots=True)
class Work:
    """What tasks do. `stop` is called once at SIGTERM, `give_up` if tasks still run `GRACE_S` later.

    `handle` enters what it is handed while it works on a batch: only that time counts against the limit.
    `identify` tells the fields of all log lines of a task, and raises nothing.
    """

    handle: Callable[[Task, AtWork], None]
    sweep: Callable[[], None]
    purge: Callable[[], None]
    compact: Callable[[], None]
    stop: Callable[[], None]
    give_up: Callable[[], None]
    identify: Callable[[Task], Mapping[str, str]] = lambda task: task.named_id


@dataclass(frozen=True, slots=True)
class WorkerOptions:
    """`threads` run tasks of `queues`; a batch that takes `limit_s` ends the process."""

    threads: int
    queues: Sequence[str]
    limit_s: float
    alive_file: Path | None


@dataclass(slots=True)
class _Running:
    """Since when batches run. Of each kind of long task one may, of imports two; never on all threads."""

    long_tasks: threading.Semaphore
    lock: threading.Lock = field(default_factory=threading.Lock)
    long: Mapping[TaskKind, threading.Semaphore] = field(
        default_factory=lambda: {
            kind: threading.Semaphore(IMPORTS_AT_ONCE if kind is TaskKind.IMPORT_FILE else 1)
            for kind in TaskKind
            if kind is not TaskKind.INGEST_BATCH
        }
    )
    since_s: dict[int, float] = field(default_factory=dict)

    @contextmanager
    def batch(self) -> Iterator[None]:
        me = threading.get_ident()
        with self.lock:
            self.since_s[me] = time.monotonic()
        try:
            yield
        finally:
            with self.lock:
                del self.since_s[me]

    def longest_s(self) -> float:
        with self.lock:
            return time.monotonic() - min(self.since_s.values(), default=time.monotonic())


def run_worker(app: Celery, work: Work, options: WorkerOptions) -> int:
    """Works until SIGTERM or SIGINT, then lets running tasks finish; the exit status.

    Raises OSError when `alive_file` cannot be written.
    """
    redis_qos.install()
    running = _Running(threading.Semaphore(max(1, options.threads - 1)))
    _add_tasks(app, work, running)
    if options.alive_file is not None:
        options.alive_file.touch()  # what cannot be written ends it here; Celery would try without a pause
        _add_heartbeat(app, options.alive_file)
    ended = threading.Event()
    signals.setup_logging.connect(_keep_logging, weak=False)
    signals.worker_shutting_down.connect(lambda **_: _end_soon(work, ended), weak=False)
    signals.worker_ready.connect(lambda **_: log.info("worker ready"), weak=False)
    watch = threading.Thread(target=_watch, args=(running, options.limit_s, ended), name="watch", daemon=True)
    watch.start()
    worker = app.Worker(
        pool="threads",
        concurrency=options.threads,
        queues=list(options.queues),
        without_gossip=True,
        without_mingle=True,
        without_heartbeat=True,
        quiet=True,
    )
    try:
        worker.start()
    finally:
        ended.set()
    log.info("worker ended")
    return int(worker.exitcode or 0)


def _add_tasks(app: Celery, work: Work, running: _Running) -> None:
    def run(kind: str, task_id: str) -> None:
        task = Task(TaskKind(kind), task_id)
        if task.kind in running.long:
            _run_long(task, work, (running.long[task.kind], running.long_tasks))
            return
        _handle(task, work, running.batch)

    def sweep() -> None:
        _guarded(work.sweep, SWEEP)

    def purge() -> None:
        _guarded(work.purge, PURGE)

    def compact() -> None:
        _guarded(work.compact, COMPACT)

    for name, function in ((RUN, run), (SWEEP, sweep), (PURGE, purge), (COMPACT, compact)):
        app.task(function, name=name)


def _run_long(task: Task, work: Work, turns: Sequence[threading.Semaphore]) -> None:
    with ExitStack() as stack:
        for turn in turns:
            if not turn.acquire(blocking=False):
                return  # the sweep brings it again, perhaps to another worker
            stack.callback(turn.release)
        _handle(task, work, nullcontext)


def _handle(task: Task, work: Work, at_work: AtWork) -> None:
    with bound_contextvars(**work.identify(task)):
        _guarded(lambda: work.handle(task, at_work), task.kind.value, task.id)


def _guarded(work: Callable[[], None], kind: str, task_id: str = "") -> None:
    """The outer edge of a task. Nothing is tried again here: the sweep finds what is not done."""
    try:
        work()
    except (Unavailable, Overloaded) as error:
        log.warning("task given back", extra={"task": kind, "id": task_id, "reason": str(error)})
    except Exception:
        log.exception("task failed; the sweep brings it again", extra={"task": kind, "id": task_id})


def _end_soon(work: Work, ended: threading.Event) -> None:
    """Called in a signal handler: what takes time happens on a thread."""

    def give_up() -> None:
        if not ended.wait(GRACE_S):
            log.warning("tasks did not finish in time; they are given back")
            work.give_up()

    work.stop()
    threading.Thread(target=give_up, name="give-up", daemon=True).start()


def _watch(running: _Running, limit_s: float, ended: threading.Event) -> None:
    """Ends the process when a batch hangs: a thread cannot be ended, and its lease has run out long ago."""
    while not ended.wait(min(BEAT_S, limit_s / 4)):
        if running.longest_s() > limit_s:
            log.critical("a batch hangs; this worker ends, to be started again", extra={"limit_s": limit_s})
            os._exit(STUCK_EXIT_STATUS)


def _add_heartbeat(app: Celery, path: Path) -> None:
    """Touches `path` for as long as the worker is connected to Redis."""

    class Heartbeat(bootsteps.StartStopStep):  # type: ignore[misc]  # Celery publishes no types
        timer = None

        def start(self, consumer: object) -> None:
            _touch(path)
            self.timer = consumer.timer.call_repeatedly(BEAT_S, _touch, (path,))  # type: ignore[attr-defined]  # as above

        def stop(self, consumer: object) -> None:
            if self.timer is not None:
                self.timer.cancel()

    app.steps["consumer"].add(Heartbeat)


def _touch(path: Path) -> None:
    try:
        path.touch()
    except OSError as error:
        log.warning("alive file not touched", extra={"reason": str(error)})


def _keep_logging(**_: object) -> None:
    """That somebody listens keeps Celery from setting up logging of its own."""
