"""Postgres stops, crashes and comes back while threads write and search."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeVar

import psycopg
import pytest
from sqlalchemy import Connection, func, make_url, select

from core.errors import Overloaded, Unavailable
from storage.schema import Embeddings, Passages
from storage.task_lock import SqlTaskLock
from tests.postgres import PostgresServer
from tests.storage.world import World, encode, new, opened
from tests.waiting import wait_until

T = TypeVar("T")
TIMEOUT_S = 60.0
WRITERS, READERS = 3, 2


class Traffic:
    """Threads that go on through outages; anything but a clear, retryable error ends them with it."""

    def __init__(self, worlds: list[World]) -> None:
        self.worlds = worlds
        self.stopping = threading.Event()
        self.written: list[int] = [0] * WRITERS  # turns that were confirmed
        self.reads = Counter[int]()
        self.refused = Counter[str]()

    def write(self, writer: int) -> None:
        """Each turn sends documents of its own and shared ones, then encodes what it was given."""
        world = self.worlds[writer % len(self.worlds)]
        while not self.stopping.is_set():
            turn = self.written[writer]
            own = [new(f"own-{writer}-{turn}-{i}", f"text {i}") for i in range(4)]
            shared = [new(f"shared-{i}", f"by {writer} in {turn}") for i in range(3)]
            accepted = self.patiently("write", lambda d=own + shared: world.documents.submit(world.id, d, []))  # type: ignore[misc]
            for batch_id in accepted.batch_ids:
                self.patiently("write", lambda id_=batch_id: finish(world, id_))  # type: ignore[misc]
            self.written[writer] += 1

    def read(self, reader: int) -> None:
        """What a search and a follower read."""
        world = self.worlds[reader % len(self.worlds)]
        while not self.stopping.is_set():
            self.patiently("read", world.counts)
            page = self.patiently("read", lambda: world.log.read(world.id, (0, 0), 20))
            ids = [id_ for entry in page.entries for id_ in entry.passage_ids.tolist()]
            self.patiently("read", lambda ids=ids: world.documents.passages(world.id, ids))  # type: ignore[misc]
            self.reads[reader] += 1

    def patiently(self, what: str, call: Callable[[], T]) -> T:
        """As a caller that obeys Retry-After."""
        ends = time.monotonic() + TIMEOUT_S
        while True:
            try:
                return call()
            except (Unavailable, Overloaded) as error:
                told = str(error)
            assert told.endswith("; retry")
            assert time.monotonic() < ends, f"still refused: {told}"
            self.refused[what] += 1
            time.sleep(0.02)


def finish(world: World, batch_id: str) -> None:
    """Does a batch unless it is done or held: a claim whose answer was lost is held by nobody."""
    batch = world.batches.claim(batch_id, 60)
    if batch is not None:
        world.batches.complete(batch, encode(batch.items), [])


@pytest.mark.parametrize("mode", ["fast", "immediate"])
def test_writers_and_readers_go_on_after_a_restart_and_the_counts_add_up(
    postgres: PostgresServer, postgres_url: str, mode: str
) -> None:
    """`fast` is an operator's restart, `immediate` a crash. Two pools stand for two processes."""
    with opened(postgres_url) as database, opened(postgres_url) as elsewhere:
        world = World(database)
        traffic = Traffic([world, World(elsewhere, clock=world.clock)])
        with ThreadPoolExecutor(WRITERS + READERS) as pool:
            threads = [pool.submit(traffic.write, number) for number in range(WRITERS)]
            threads += [pool.submit(traffic.read, number) for number in range(READERS)]
            try:
                for _ in range(2):
                    await_progress(traffic)
                    restart(postgres, traffic, mode)
                await_progress(traffic)
            finally:
                traffic.stopping.set()
                for thread in threads:
                    thread.result(timeout=2 * TIMEOUT_S)
        finish_what_is_left(world)
        check(world, traffic)


def await_progress(traffic: Traffic) -> None:
    """Until every thread has done something that it had not done before."""
    written, reads = list(traffic.written), Counter(traffic.reads)
    wait_until(
        lambda: all(now > was for now, was in zip(traffic.written, written, strict=True)),
        "writers",
        TIMEOUT_S,
    )
    wait_until(lambda: all(traffic.reads[n] > reads[n] for n in range(READERS)), "readers", TIMEOUT_S)


def restart(postgres: PostgresServer, traffic: Traffic, mode: str) -> None:
    refused = Counter(traffic.refused)
    postgres.stop(mode)
    try:
        for what in ("write", "read"):
            is_refused = partial(_is_more, traffic.refused, what, refused[what])
            wait_until(is_refused, f"a refused {what}", TIMEOUT_S)
    finally:
        postgres.start()


def _is_more(counts: Counter[str], what: str, was: int) -> bool:
    return counts[what] > was


def finish_what_is_left(world: World) -> None:
    """What the sweep does: leases of claims that nobody heard of run out."""
    world.clock.advance(61)
    for task in world.batches.unfinished():
        finish(world, task.id)


def check(world: World, traffic: Traffic) -> None:
    own = {
        f"own-{writer}-{turn}-{i}": f"text {i}"
        for writer, turns in enumerate(traffic.written)
        for turn in range(turns)
        for i in range(4)
    }
    found = world.found()
    assert own == {id_: text for id_, text in found.items() if id_.startswith("own-")}
    assert {f"shared-{i}" for i in range(3)} == {id_ for id_ in found if id_.startswith("shared-")}
    assert world.counts() == (len(own) + 3, 0, 0)
    assert world.batches.unfinished() == []
    for job in world.jobs.list(10_000):
        assert (job.state, job.done, job.failed) == ("succeeded", job.total, 0)
    with world.database.read() as connection:
        passages, vectors = (
            connection.execute(select(func.count()).select_from(table)).scalar_one()
            for table in (Passages, Embeddings)
        )
    assert passages == vectors == 2 * len(found) == world.collections.counts(world.id).passages


def end_connection(url: str, pid: int) -> None:
    """The server ends the connection of this process id; returns when it is gone."""

    def is_gone() -> bool:
        with opened(url) as other, other.session() as connection:
            connection.exec_driver_sql(f"SELECT pg_terminate_backend({pid})")
            count = connection.exec_driver_sql(f"SELECT count(*) FROM pg_stat_activity WHERE pid = {pid}")
            return bool(count.scalar_one() == 0)

    wait_until(is_gone, "the end of a connection", TIMEOUT_S)


def backend(connection: Connection) -> int:
    return int(connection.exec_driver_sql("SELECT pg_backend_pid()").scalar_one())


def test_a_connection_that_died_while_it_rested_is_made_anew(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("storage.database._PING_AFTER_S", 0.0)
    with opened(postgres_url) as database:
        for way in (database.read, database.glance, database.write):
            with way() as connection:
                dead = backend(connection)
            end_connection(postgres_url, dead)
            with way() as connection:
                assert backend(connection) != dead


def test_a_connection_that_died_right_after_its_use_is_told_once(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("storage.database._PING_AFTER_S", 1000.0)
    with opened(postgres_url) as database:
        with database.glance() as connection:
            dead = backend(connection)
        end_connection(postgres_url, dead)
        with pytest.raises(Unavailable), database.glance() as connection:
            backend(connection)
        with database.glance() as connection:
            assert backend(connection) != dead


def test_a_task_that_cannot_be_locked_is_given_back_until_the_database_is_there(
    postgres: PostgresServer, postgres_url: str
) -> None:
    with opened(postgres_url) as database:
        lock = SqlTaskLock(database)
        postgres.stop()
        try:
            with pytest.raises(Unavailable, match="away or restarting"), lock.hold("t"):
                raise AssertionError("it was begun")
        finally:
            postgres.start()
        with lock.hold("t") as is_ours, lock.hold("t") as is_ours_again:
            assert (is_ours, is_ours_again) == (True, False)


def test_a_server_that_ends_idle_sessions_leaves_those_that_hold_a_lock(postgres_url: str) -> None:
    plain = make_url(postgres_url).set(drivername="postgresql").render_as_string(hide_password=False)
    with opened(postgres_url) as database, database.session() as connection:
        name = connection.exec_driver_sql("SELECT current_database()").scalar_one()
        connection.exec_driver_sql(f"ALTER DATABASE {name} SET idle_session_timeout = '100ms'")
    with opened(postgres_url) as database, SqlTaskLock(database).hold("t") as is_ours:
        idle = psycopg.connect(plain, autocommit=True)  # for longer than it may be, as the lock is
        with pytest.raises(psycopg.OperationalError):
            list(idle.notifies(timeout=TIMEOUT_S))
        with SqlTaskLock(database).hold("t") as is_ours_again:
            assert (is_ours, is_ours_again) == (True, False)


def test_a_task_whose_lock_is_lost_while_it_runs_ends_as_it_would(
    postgres: PostgresServer, postgres_url: str
) -> None:
    with opened(postgres_url) as database:
        with SqlTaskLock(database).hold("t") as is_ours:
            postgres.stop()
            postgres.start()
        assert is_ours
        with pytest.raises(ValueError, match="of the task"), SqlTaskLock(database).hold("t"):
            raise ValueError("of the task")
