"""The embedded queue: tasks run in threads of this process; the database remembers them across restarts."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable, Sequence

from core.types import Task, TaskKind

log = logging.getLogger(__name__)

RETRY_AFTER_S = 2.0


class EmbeddedQueue:
    """Implements core.ports.TaskQueue with `workers` threads for batches and one for imports.

    A task that raises is tried again later; a task already waiting is not queued twice.
    """

    def __init__(self, workers: int = 2) -> None:
        self._lanes: dict[TaskKind, queue.SimpleQueue[Task | None]] = {
            kind: queue.SimpleQueue() for kind in TaskKind
        }
        self._threads_of = {TaskKind.INGEST_BATCH: workers, TaskKind.IMPORT_FILE: 1}
        self._waiting: set[Task] = set()
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._threads: list[threading.Thread] = []
        self._timers: set[threading.Timer] = set()

    @property
    def is_stopping(self) -> bool:
        return self._stopping.is_set()

    def enqueue(self, tasks: Sequence[Task]) -> None:
        """Takes tasks; after `stop` they are left to the database, which remembers them."""
        for task in tasks:
            with self._lock:
                if task in self._waiting or self.is_stopping:
                    continue
                self._waiting.add(task)
            self._lanes[task.kind].put(task)

    def depth(self) -> int:
        """Batches waiting; running ones are not counted."""
        return self._lanes[TaskKind.INGEST_BATCH].qsize()

    def start(self, handle: Callable[[Task], None]) -> None:
        """Starts the threads; `handle` runs one task and may raise."""
        for kind, count in self._threads_of.items():
            for number in range(count):
                thread = threading.Thread(
                    target=self._work, args=(self._lanes[kind], handle), name=f"{kind}-{number}", daemon=True
                )
                thread.start()
                self._threads.append(thread)

    def stop(self, timeout_s: float = 30.0) -> None:
        """Lets running tasks finish, drops waiting ones (the database has them), joins the threads."""
        self._stopping.set()
        with self._lock:
            timers = list(self._timers)
        for timer in timers:
            timer.cancel()
        for kind, count in self._threads_of.items():
            for _ in range(count):
                self._lanes[kind].put(None)
        for thread in self._threads:
            thread.join(timeout_s)

    def _work(self, tasks: queue.SimpleQueue[Task | None], handle: Callable[[Task], None]) -> None:
        while (task := tasks.get()) is not None and not self.is_stopping:
            with self._lock:
                self._waiting.discard(task)
            try:
                handle(task)
            except Exception:  # the outer edge of a task: it must not end the thread
                if self.is_stopping:
                    return
                log.exception("task failed; it will be tried again", extra={"task": task.kind, "id": task.id})
                self._retry_later(task)

    def _retry_later(self, task: Task) -> None:
        def again() -> None:
            with self._lock:
                self._timers.discard(timer)
            self.enqueue([task])

        timer = threading.Timer(RETRY_AFTER_S, again)
        timer.daemon = True
        with self._lock:
            self._timers.add(timer)
        timer.start()
