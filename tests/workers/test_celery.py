"""Queue and worker on a real Redis that comes and goes; no encoder, no database."""

from __future__ import annotations

import shutil
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from cognate.production import RedisBackground
from cognate.settings import Settings
from core.ingest import AtWork
from core.job_types import Task, TaskKind
from tests.production.processes import Process, RedisServer
from tests.waiting import wait_until
from workers.celery_app import BrokerSettings, make_app
from workers.celery_queue import CeleryQueue
from workers.celery_worker import STUCK_EXIT_STATUS, Work, _run_long, _Running
from workers.redis_notifier import RedisNotifier

pytestmark = pytest.mark.integration

LONGEST_S = 10.0
ROOT = Path(__file__).parents[2]


@pytest.fixture
def redis_server(tmp_path: Path) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path)
    server.start()
    yield server
    server.stop()


@pytest.fixture
def queue(redis_server: RedisServer) -> Iterator[CeleryQueue]:
    queue = CeleryQueue(make_app(BrokerSettings(redis_server.url, 2.0, 10.0)), redis_server.url, lambda: 7)
    yield queue
    queue.close()


class Echo:
    """The worker process and what its tasks told."""

    def __init__(self, folder: Path, url: str) -> None:
        self._told, self.alive = folder / "told", folder / "health" / "alive"
        command = [sys.executable, "-m", "tests.workers.echo_worker", url, str(self._told), str(self.alive)]
        self.process = Process(
            "echo", command, {"PYTHONPATH": str(ROOT)}, folder / "echo.log", "worker ready"
        )

    def release(self) -> None:
        """Tasks that are held end."""
        self._told.with_name("released").touch()

    def told(self) -> list[str]:
        return self._told.read_text().split("\n")[:-1] if self._told.exists() else []


@pytest.fixture
def echo(tmp_path: Path, redis_server: RedisServer) -> Iterator[Echo]:
    echo = Echo(tmp_path, redis_server.url)
    echo.alive.parent.mkdir()
    echo.process.start()
    yield echo
    echo.process.kill()


def batch(name: str) -> Task:
    return Task(TaskKind.INGEST_BATCH, name)


def test_a_worker_goes_on_after_redis_hung_was_emptied_and_restarted(
    echo: Echo, queue: CeleryQueue, redis_server: RedisServer
) -> None:
    queue.enqueue([batch("first"), Task(TaskKind.IMPORT_FILE, "file"), batch("bad")])
    wait_until(lambda: {"first", "file"} <= set(echo.told()), "both kinds run, one that fails ends nothing")
    assert echo.alive.exists()
    redis_server.pause()
    assert seconds_to_enqueue(queue) < LONGEST_S
    assert not queue.is_reachable
    redis_server.resume()
    redis_server.stop()
    wait_until(lambda: queue.is_reachable, "the pause is over")
    assert seconds_to_enqueue(queue) < LONGEST_S
    assert queue.depth() == 7
    redis_server.start()
    wait_until(lambda: queue.is_reachable, "the pause is over")
    queue.enqueue([batch("second")])
    wait_until(lambda: "second" in echo.told(), "the worker is connected again")
    with redis_server.client() as redis:
        redis.flushall()
    queue.enqueue([batch("third")])
    wait_until(lambda: "third" in echo.told(), "an emptied Redis takes and gives tasks")


def test_the_gauge_of_redis_tells_at_every_scrape_whether_it_answers_though_no_task_is_sent(
    redis_server: RedisServer,
) -> None:
    settings = Settings(redis_url=redis_server.url, database_url="postgresql://nobody@nowhere/x")
    with ExitStack() as stack:
        database = cast(Any, SimpleNamespace(now=None))  # nothing is asked of it
        gauges = RedisBackground(settings, database, stack).gauges
        assert gauges() == {"queue_reachable": True}
        redis_server.pause()
        assert gauges() == {"queue_reachable": False}
        redis_server.resume()
        assert gauges() == {"queue_reachable": True}
        redis_server.stop()
        assert gauges() == {"queue_reachable": False}
        redis_server.start()
        assert gauges() == {"queue_reachable": True}


def test_a_worker_whose_alive_file_cannot_be_written_ends_at_once(
    tmp_path: Path, redis_server: RedisServer
) -> None:
    process = Echo(tmp_path, redis_server.url).process
    process.launch()
    try:
        wait_until(lambda: process.exit_status() is not None, "the worker ends")
        assert process.exit_status() == 1
        assert "No such file or directory" in process.output()
        assert "worker ready" not in process.output()
    finally:
        process.kill()


def test_a_worker_whose_alive_file_is_refused_later_goes_on(
    echo: Echo, queue: CeleryQueue, redis_server: RedisServer
) -> None:
    shutil.rmtree(echo.alive.parent)
    redis_server.stop()
    redis_server.start()
    wait_until(lambda: "alive file not touched" in echo.process.output(), "the worker is connected again")
    wait_until(lambda: queue.is_reachable, "the queue is there")
    queue.enqueue([batch("later")])
    wait_until(lambda: "later" in echo.told(), "the worker takes tasks")


def test_periodic_messages_outlive_the_clock_of_a_worker_that_is_half_a_minute_ahead() -> None:
    schedule = make_app(BrokerSettings("redis://localhost", 2.0, sweep_every_s=1.0)).conf.beat_schedule
    assert {name: entry["options"]["expires"] for name, entry in schedule.items()} == {
        "cognate.sweep": 60.0,
        "cognate.purge": 3600.0,
        "cognate.compact": 3600.0,
    }


@pytest.mark.parametrize("is_hung", [True, False], ids=["it hung, then died", "it died"])
def test_a_worker_goes_on_when_redis_was_away_while_all_its_tasks_ended(
    echo: Echo, queue: CeleryQueue, redis_server: RedisServer, is_hung: bool
) -> None:
    queue.enqueue([batch("held1"), batch("held2")])
    wait_until(lambda: {"begun held1", "begun held2"} <= set(echo.told()), "both threads have a task")
    (redis_server.pause if is_hung else redis_server.stop)()
    echo.release()
    wait_until(lambda: {"held1", "held2"} <= set(echo.told()), "both have ended")
    redis_server.stop()
    wait_until(lambda: "Cannot connect to" in echo.process.output(), "the worker sees that Redis is gone")
    redis_server.start()
    wait_until(lambda: queue.is_reachable, "the queue is connected again")
    queue.enqueue([batch("next")])
    wait_until(lambda: "next" in echo.told(), "the worker takes tasks again", 30.0)


def seconds_to_enqueue(queue: CeleryQueue) -> float:
    started_s = time.monotonic()
    queue.enqueue([batch("lost")])
    return time.monotonic() - started_s


def test_a_worker_told_to_end_finishes_what_runs_and_leaves_the_rest(
    echo: Echo, queue: CeleryQueue, redis_server: RedisServer
) -> None:
    queue.enqueue([batch(f"slow{number}") for number in range(8)])
    wait_until(lambda: "begun slow1" in echo.told(), "tasks run")
    assert echo.process.stop() == 0
    told = echo.told()
    begun = {line.removeprefix("begun ") for line in told if line.startswith("begun ")}
    assert begun <= set(told), "what was begun was finished"
    with redis_server.client() as redis:
        assert redis.llen("ingest") == 8 - len(begun)


def test_a_worker_with_a_task_that_hangs_ends_itself(echo: Echo, queue: CeleryQueue) -> None:
    queue.enqueue([batch("stuck")])
    wait_until(lambda: not echo.process.is_running, "it ends at the limit")
    assert echo.process.stop() == STUCK_EXIT_STATUS


def test_the_wait_of_a_batch_for_its_turn_does_not_count_as_hanging(echo: Echo, queue: CeleryQueue) -> None:
    queue.enqueue([batch("waiting")])
    wait_until(lambda: "waiting" in echo.told(), "it waits longer than the limit, then works")
    assert echo.process.is_running


def test_long_tasks_leave_a_thread_to_batches(
    echo: Echo, queue: CeleryQueue, redis_server: RedisServer
) -> None:
    queue.enqueue([Task(TaskKind.IMPORT_FILE, "held file")])
    wait_until(lambda: "begun held file" in echo.told(), "a long task runs on one of two threads")
    queue.enqueue([Task(TaskKind.TRAIN, "slow training")])
    queue.enqueue([batch("short")])
    wait_until(lambda: "short" in echo.told(), "a batch runs on the other thread")
    with redis_server.client() as redis:
        wait_until(
            lambda: redis.llen("training") == 0 and redis.zcard("unacked_index") == 1,
            "all but the long task are done with",
        )
    assert "begun slow training" not in echo.told(), "it is left to the sweep"
    echo.release()
    wait_until(lambda: "held file" in echo.told(), "the long task ends")


@pytest.mark.parametrize(("threads", "begun"), [(4, ["large", "small", "training"]), (3, ["large", "small"])])
def test_two_imports_run_at_once_and_one_thread_is_left(threads: int, begun: list[str]) -> None:
    running, told, release = _Running(threading.Semaphore(threads - 1)), list[str](), threading.Event()

    def handle(task: Task, at_work: AtWork) -> None:
        told.append(task.id)
        assert release.wait(10)

    def has_its_turn(task: Task, run: threading.Thread) -> bool:
        return told[-1:] == [task.id] or not run.is_alive()

    def nothing() -> None:
        pass

    work = Work(handle, nothing, nothing, nothing, nothing, nothing)
    tasks = [Task(TaskKind.IMPORT_FILE, name) for name in ("large", "small", "third")]
    runs = []
    for task in [*tasks, Task(TaskKind.TRAIN, "training")]:
        turns = (running.long[task.kind], running.long_tasks)
        run = threading.Thread(target=_run_long, args=(task, work, turns))
        run.start()
        wait_until(partial(has_its_turn, task, run), "it begins, or finds no place")
        runs.append(run)
    release.set()
    for run in runs:
        run.join(10)
    assert told == begun


def test_as_many_tasks_are_published_as_redis_lacks_the_oldest_first(
    queue: CeleryQueue, redis_server: RedisServer
) -> None:
    tasks = [batch(str(number)) for number in range(5)]
    with redis_server.client() as redis:
        queue.enqueue_missing(tasks)
        assert redis.llen("ingest") == 5
        queue.enqueue_missing(tasks)
        assert redis.llen("ingest") == 5
        redis.ltrim("ingest", 2, -1)
        queue.enqueue_missing([*tasks, Task(TaskKind.IMPORT_FILE, "file")])
        assert (redis.llen("ingest"), redis.llen("imports")) == (5, 1)


def test_batches_of_imports_do_not_stand_in_the_queue_of_others(
    echo: Echo, queue: CeleryQueue, redis_server: RedisServer
) -> None:
    queue.enqueue([batch("held one"), batch("held other")])
    wait_until(lambda: {"begun held one", "begun held other"} <= set(echo.told()), "both threads are taken")
    imported = [Task(TaskKind.INGEST_BATCH, f"import {number}", is_bulk=True) for number in range(50)]
    queue.enqueue(imported)
    queue.enqueue([batch("call")])
    with redis_server.client() as redis:
        assert (redis.llen("bulk"), redis.llen("ingest")) == (50, 1)
        queue.enqueue_missing([*imported, batch("call")])
        assert (redis.llen("bulk"), redis.llen("ingest")) == (50, 1)
    echo.release()
    wait_until(lambda: len(echo.told()) == 55, "all have run")
    assert [line for line in echo.told() if "held" not in line].index("call") <= 4


def test_a_request_for_compaction_is_heard_by_other_processes(redis_server: RedisServer) -> None:
    here, there = RedisNotifier(redis_server.url), RedisNotifier(redis_server.url)
    heard: list[str] = []
    there.subscribe_compaction(lambda: heard.append("compact"))

    def is_heard() -> bool:
        here.request_compaction()  # again: what is said while nobody listens is lost
        return bool(heard)

    wait_until(is_heard, "the request is heard")
    here.close()
    there.close()


def test_a_change_is_heard_by_other_processes_also_after_redis_was_away(redis_server: RedisServer) -> None:
    here, there = RedisNotifier(redis_server.url), RedisNotifier(redis_server.url)
    heard: list[tuple[int, int]] = []
    there.subscribe(lambda collection_id, seq: heard.append((collection_id, seq)))
    for seq in (1, 2):

        def is_heard(seq: int = seq) -> bool:
            here.publish(3, seq)  # again: what is said while nobody listens is lost
            return (3, seq) in heard

        wait_until(is_heard, "the change is heard")
        redis_server.stop()
        here.publish(3, 99)  # raises nothing
        redis_server.start()
    here.close()
    there.close()
