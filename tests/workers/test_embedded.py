"""The embedded queue: every task runs, a failing one again, a waiting one once."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter

import pytest
from structlog.contextvars import get_contextvars

from core.job_types import Task, TaskKind
from workers import embedded
from workers.embedded import EmbeddedQueue, retry_delay_s
from workers.notifier import LocalNotifier

BATCH = TaskKind.INGEST_BATCH


def test_every_task_runs_once() -> None:
    queue, ran, done = EmbeddedQueue(workers=3), Counter[str](), threading.Semaphore(0)

    def handle(task: Task) -> None:
        ran[task.id] += 1
        done.release()

    queue.start(handle)
    queue.enqueue([Task(BATCH, str(i)) for i in range(200)])
    assert all(done.acquire(timeout=10) for _ in range(200))
    queue.stop()
    assert ran == Counter(str(i) for i in range(200))


def test_a_task_that_waits_is_not_queued_twice() -> None:
    queue = EmbeddedQueue()
    queue.enqueue([Task(BATCH, "a"), Task(BATCH, "a")])
    queue.enqueue([Task(BATCH, "a"), Task(BATCH, "b")])
    assert queue.depth() == 2


def test_a_task_that_fails_is_tried_again_and_ends_no_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded, "RETRY_AFTER_S", 0.01)
    queue, ran, done = EmbeddedQueue(workers=1), Counter[str](), threading.Event()

    def handle(task: Task) -> None:
        ran[task.id] += 1
        if task.id == "bad" and ran["bad"] < 3:
            raise RuntimeError("not yet")
        if ran["bad"] == 3 and ran["good"]:
            done.set()

    queue.start(handle)
    queue.enqueue([Task(BATCH, "bad"), Task(BATCH, "good")])
    assert done.wait(10)
    queue.stop()
    assert ran == {"bad": 3, "good": 1}


def test_an_import_does_not_keep_batches_waiting() -> None:
    queue, release, batch_ran = EmbeddedQueue(workers=1), threading.Event(), threading.Event()

    def handle(task: Task) -> None:
        if task.kind is TaskKind.IMPORT_FILE:
            release.wait(10)
        else:
            batch_ran.set()

    queue.start(handle)
    queue.enqueue([Task(TaskKind.IMPORT_FILE, "i"), Task(BATCH, "b")])
    assert batch_ran.wait(10)
    release.set()
    queue.stop()


def test_batches_of_imports_and_of_other_calls_take_turns() -> None:
    queue, ran, done = EmbeddedQueue(workers=1), list[str](), threading.Event()

    def handle(task: Task) -> None:
        ran.append(task.id)
        if len(ran) == 6:
            done.set()

    queue.enqueue([Task(BATCH, f"import {i}", is_bulk=True) for i in range(4)])
    queue.enqueue([Task(BATCH, f"call {i}") for i in range(2)])
    assert queue.depth() == 6
    queue.start(handle)
    assert done.wait(10)
    queue.stop()
    assert ran == ["call 0", "import 0", "call 1", "import 1", "import 2", "import 3"]


class Panic(BaseException):
    """As a library written in Rust raises: no Exception."""


def test_a_task_that_panics_ends_no_thread_and_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded, "RETRY_AFTER_S", 0.01)
    queue, ran, done = EmbeddedQueue(workers=1), Counter[str](), threading.Event()

    def handle(task: Task) -> None:
        ran[task.id] += 1
        if ran[task.id] == 1:
            raise Panic("byte index 7 is not a char boundary")
        done.set()

    queue.start(handle)
    queue.enqueue([Task(BATCH, "panics")])
    assert done.wait(10)
    queue.stop()
    assert ran == {"panics": 2}


def test_a_small_import_does_not_wait_for_the_end_of_a_large_one() -> None:
    queue, release, small_ran = EmbeddedQueue(workers=1), threading.Event(), threading.Event()

    def handle(task: Task) -> None:
        if task.id == "large":
            release.wait(10)
        else:
            small_ran.set()

    queue.start(handle)
    queue.enqueue([Task(TaskKind.IMPORT_FILE, "large"), Task(TaskKind.IMPORT_FILE, "small")])
    assert small_ran.wait(10)
    release.set()
    queue.stop()


def test_stopping_lets_the_running_task_finish_and_leaves_the_rest() -> None:
    queue, started, release, ran = EmbeddedQueue(workers=1), threading.Event(), threading.Event(), []

    def handle(task: Task) -> None:
        started.set()
        release.wait(10)
        ran.append(task.id)

    queue.start(handle)
    queue.enqueue([Task(BATCH, "running"), Task(BATCH, "waiting")])
    assert started.wait(10)
    stopper = threading.Thread(target=queue.stop)
    stopper.start()
    while not queue.is_stopping:
        pass
    release.set()
    stopper.join(10)
    assert ran == ["running"]
    assert queue.depth() == 0
    queue.enqueue([Task(BATCH, "late")])
    assert queue.depth() == 0


def test_a_task_that_runs_is_not_queued_again_until_it_is_done() -> None:
    queue, ran, started = EmbeddedQueue(workers=2), Counter[str](), threading.Semaphore(0)
    release, imported = threading.Event(), Task(TaskKind.IMPORT_FILE, "i")

    def handle(task: Task) -> None:
        ran[task.id] += 1
        started.release()
        assert release.wait(10)

    queue.start(handle)
    queue.enqueue([imported, Task(BATCH, "b")])
    assert all(started.acquire(timeout=10) for _ in range(2))
    queue.enqueue([imported, Task(BATCH, "b")])
    assert queue.depth() == 0
    release.set()
    queue.enqueue([Task(BATCH, "after")])
    assert started.acquire(timeout=10)
    while queue._known:
        time.sleep(0.001)
    assert ran == {"i": 1, "b": 1, "after": 1}
    queue.enqueue([imported])
    assert started.acquire(timeout=10)
    queue.stop()
    assert ran["i"] == 2


def test_a_task_that_is_to_be_tried_again_waits_its_time_though_it_is_queued_again() -> None:
    queue, ran, done = EmbeddedQueue(workers=1), Counter[str](), threading.Event()

    def handle(task: Task) -> None:
        ran[task.id] += 1
        if task.id == "bad":
            raise RuntimeError("not yet")
        done.set()

    queue.start(handle)
    queue.enqueue([Task(BATCH, "bad")])
    while not ran["bad"] or not queue.depth():
        time.sleep(0.001)
    queue.enqueue([Task(BATCH, "bad"), Task(BATCH, "good")])
    assert done.wait(10)
    queue.stop()
    assert ran["bad"] == 1


def test_pauses_double_up_to_a_minute() -> None:
    assert [retry_delay_s(failures) for failures in (1, 2, 3, 4, 5, 6, 7, 5000)] == [
        2, 4, 8, 16, 32, 60, 60, 60
    ]  # fmt: skip


def test_a_published_change_reaches_every_listener() -> None:
    notifier, heard = LocalNotifier(), []
    notifier.subscribe(lambda collection_id, seq: heard.append(("first", collection_id, seq)))
    notifier.subscribe(lambda collection_id, seq: heard.append(("second", collection_id, seq)))
    notifier.publish(3, 7)
    assert heard == [("first", 3, 7), ("second", 3, 7)]


def test_a_request_for_compaction_reaches_every_listener() -> None:
    notifier, heard = LocalNotifier(), []
    notifier.subscribe_compaction(lambda: heard.append("first"))
    notifier.subscribe_compaction(lambda: heard.append("second"))
    notifier.request_compaction()
    assert heard == ["first", "second"]


def test_all_log_lines_of_a_task_carry_its_ids_and_no_other_has_them() -> None:
    queue, done, seen = EmbeddedQueue(workers=1), threading.Event(), dict[str, dict[str, object]]()

    class Remember(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:  # called where the line is written
            seen[record.getMessage()] = dict(get_contextvars())

    def handle(task: Task) -> None:
        logging.getLogger("of.a.task").warning(task.id)
        if task.id == "bad":
            raise RuntimeError("not today")
        done.set()

    remember = Remember()
    logging.getLogger().addHandler(remember)
    try:
        queue.start(handle, lambda task: {"request_id": f"of {task.id}"} if task.id != "plain" else {})
        queue.enqueue([Task(BATCH, "bad"), Task(BATCH, "plain")])
        assert done.wait(10)
    finally:
        queue.stop()
        logging.getLogger().removeHandler(remember)
    assert seen["bad"] == seen["task failed; it will be tried again"] == {"request_id": "of bad"}
    assert seen["plain"] == {}
