"""The embedded queue: tasks run in threads of this process; the database remembers them across restarts."""

from __future__ import annotations

import heapq
import logging
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count

from structlog.contextvars import bound_contextvars

from core.errors import Overloaded, Unavailable
from core.job_types import IMPORTS_AT_ONCE, Task, TaskKind

log = logging.getLogger(__name__)

Identify = Callable[[Task], Mapping[str, str]]

RETRY_AFTER_S = 2.0
LONGEST_RETRY_S = 60.0
MAX_DOUBLINGS = 10


def retry_delay_s(failures: int) -> float:
    """How long a task waits after failing so many times in a row: 2, 4, 8, … 60 s."""
    return min(LONGEST_RETRY_S, RETRY_AFTER_S * 2.0 ** min(failures - 1, MAX_DOUBLINGS))


@dataclass(slots=True)
class _Lane:
    """Tasks of one kind: those to run next, in order, and those to try again at a time.

    Tasks that are `bulk` and the others take turns, so that neither waits for all of the other.
    """

    changed: threading.Condition
    ready: deque[Task] = field(default_factory=deque)
    bulk: deque[Task] = field(default_factory=deque)
    delayed: list[tuple[float, int, Task]] = field(default_factory=list)
    is_turn_of_bulk: bool = False

    def add(self, task: Task) -> None:
        (self.bulk if task.is_bulk else self.ready).append(task)

    def pop(self, now: float) -> Task | None:
        while self.delayed and self.delayed[0][0] <= now:
            self.add(heapq.heappop(self.delayed)[2])
        first, second = (self.bulk, self.ready) if self.is_turn_of_bulk else (self.ready, self.bulk)
        if not first and not second:
            return None
        task = (first or second).popleft()
        self.is_turn_of_bulk = not task.is_bulk
        return task

    def waiting(self) -> int:
        return len(self.ready) + len(self.bulk) + len(self.delayed)

    def clear(self) -> None:
        self.ready.clear()
        self.bulk.clear()
        self.delayed.clear()

    def due_in(self, now: float) -> float | None:
        """Seconds until the next task is due; None when no time is known."""
        return max(0.0, self.delayed[0][0] - now) if self.delayed else None


class EmbeddedQueue:
    """core.ports.TaskQueue: threads for batches (`workers`), imports (two) and each other kind of task (one).

    A task that raises is tried again, each time after a longer pause. A task that waits, runs or is to be
    tried again is not queued a second time.
    """

    def __init__(self, workers: int = 2) -> None:
        self._lock = threading.Lock()
        self._lanes = {kind: _Lane(threading.Condition(self._lock)) for kind in TaskKind}
        several = {TaskKind.INGEST_BATCH: workers, TaskKind.IMPORT_FILE: IMPORTS_AT_ONCE}
        self._threads_of = dict.fromkeys(TaskKind, 1) | several
        self._known: set[Task] = set()
        self._failures: Counter[Task] = Counter()
        self._order = count()
        self._stopping = threading.Event()
        self._threads: list[threading.Thread] = []

    @property
    def is_stopping(self) -> bool:
        return self._stopping.is_set()

    def enqueue(self, tasks: Sequence[Task]) -> None:
        """Takes tasks; after `stop` they are left to the database, which remembers them."""
        with self._lock:
            for task in tasks:
                if task in self._known or self.is_stopping:
                    continue
                self._known.add(task)
                lane = self._lanes[task.kind]
                lane.add(task)
                lane.changed.notify()

    def depth(self) -> int:
        """Batches waiting, also those to be tried again; running ones are not counted."""
        lane = self._lanes[TaskKind.INGEST_BATCH]
        with self._lock:
            return lane.waiting()

    def start(self, handle: Callable[[Task], None], identify: Identify = lambda task: task.named_id) -> None:
        """Starts the threads; `handle` runs one task and may raise.

        `identify` tells the fields of all log lines of a task, and raises nothing.
        """
        for kind, threads in self._threads_of.items():
            for number in range(threads):
                thread = threading.Thread(
                    target=self._work,
                    args=(self._lanes[kind], handle, identify),
                    name=f"{kind}-{number}",
                    daemon=True,
                )
                thread.start()
                self._threads.append(thread)

    def stop(self, timeout_s: float = 30.0) -> None:
        """Lets running tasks finish, drops waiting ones (the database has them), joins the threads."""
        with self._lock:
            self._stopping.set()
            for lane in self._lanes.values():
                lane.clear()
                lane.changed.notify_all()
        for thread in self._threads:
            thread.join(timeout_s)

    def _work(self, lane: _Lane, handle: Callable[[Task], None], identify: Identify) -> None:
        while (task := self._next(lane)) is not None:
            with bound_contextvars(**identify(task)):
                self._attempt(lane, handle, task)

    def _attempt(self, lane: _Lane, handle: Callable[[Task], None], task: Task) -> None:
        try:
            handle(task)
        except (Unavailable, Overloaded) as error:
            if self.is_stopping:
                return
            extra = {"task": task.kind, "id": task.id, "delay_s": self._retry_later(lane, task)}
            log.warning("task given back; it will be tried again", extra=extra | {"reason": str(error)})
        except BaseException:  # the outer edge of a task; a panic of a library in Rust is no Exception
            if self.is_stopping:
                return
            delay_s = self._retry_later(lane, task)
            extra = {"task": task.kind, "id": task.id, "delay_s": delay_s}
            log.exception("task failed; it will be tried again", extra=extra)
        else:
            self._forget(task)

    def _next(self, lane: _Lane) -> Task | None:
        """Waits for a task; None when the queue stops."""
        with self._lock:
            while not self.is_stopping:
                now = time.monotonic()
                task = lane.pop(now)
                if task is not None:
                    return task
                lane.changed.wait(lane.due_in(now))
        return None

    def _forget(self, task: Task) -> None:
        with self._lock:
            self._known.discard(task)
            self._failures.pop(task, None)

    def _retry_later(self, lane: _Lane, task: Task) -> float:
        with self._lock:
            self._failures[task] += 1
            delay_s = retry_delay_s(self._failures[task])
            if not self.is_stopping:
                heapq.heappush(lane.delayed, (time.monotonic() + delay_s, next(self._order), task))
                lane.changed.notify()
        return delay_s
