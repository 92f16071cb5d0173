"""What stores raise when Postgres ends a transaction, and that nothing is left of it."""

from __future__ import annotations

import ast
import sqlite3
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import Connection, event, text
from sqlalchemy.exc import DBAPIError

import storage
import storage.database
from core.errors import NotFound, Overloaded, StartRefused, Unavailable
from migrations.upgrade import upgrade
from storage.collections import lock_collection
from storage.database import Database
from storage.faults import MAX_RUNS, LostRace, repeated, translated
from tests.storage.world import World, encode, new


@contextmanager
def opened(url: str, busy_timeout_s: float = 30.0) -> Iterator[Database]:
    database = Database(url, busy_timeout_s)
    try:
        yield database
    finally:
        database.close()


def pid_of(connection: Connection) -> int:
    return int(connection.execute(text("SELECT pg_backend_pid()")).scalar_one())


def end_connection(database: Database, pid: int) -> None:
    """As an operator or a failing network would; back when the server has ended it."""
    with database.read() as connection:
        assert connection.execute(text("SELECT pg_terminate_backend(:pid, 10000)"), {"pid": pid}).scalar_one()


@contextmanager
def cut_at(database: Database, elsewhere: Database, beginning: str) -> Iterator[None]:
    """Ends the connection once, just before a statement that begins so."""
    waiting = [beginning]

    def cut(connection: psycopg.Connection[Any], statement: str) -> None:
        if waiting and statement.startswith(waiting[0]):
            waiting.clear()
            end_connection(elsewhere, connection.info.backend_pid)

    def before_execute(connection: Connection, _cursor: Any, statement: str, *_rest: Any) -> None:
        cut(connection.connection.dbapi_connection, statement)  # type: ignore[arg-type]  # psycopg's

    copy = psycopg.Cursor.copy

    def before_copy(cursor: psycopg.Cursor[Any], statement: str) -> Any:
        cut(cursor.connection, statement)
        return copy(cursor, statement)

    event.listen(database._engine, "before_cursor_execute", before_execute)
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(psycopg.Cursor, "copy", before_copy)
            yield
    finally:
        event.remove(database._engine, "before_cursor_execute", before_execute)
    assert not waiting, f"no statement began with {beginning}"


@pytest.mark.parametrize(
    "beginning",
    ["SELECT collections.name", "DELETE FROM passages", "COPY passages", "COPY embeddings"],
)
def test_a_batch_whose_connection_is_lost_halfway_leaves_no_trace(postgres_url: str, beginning: str) -> None:
    with opened(postgres_url) as database, opened(postgres_url) as elsewhere:
        world = World(database)
        accepted = world.send(new("a"), new("b"))
        batch = world.claim(accepted.batch_ids[0])
        with (
            cut_at(database, elsewhere, beginning),
            pytest.raises(Unavailable, match="the database is away or restarting; retry"),
        ):
            world.batches.complete(batch, encode(batch.items), [])
        assert (world.counts(), world.seq, world.read_log()) == ((0, 2, 0), 0, [])
        assert world.batches.complete(batch, encode(batch.items), []) == 1
        assert world.progress(accepted.job_id) == ("succeeded", 2, 2, 0)
        assert world.found().keys() == {"a", "b"}


@pytest.mark.parametrize("beginning", ["COPY documents", "INSERT INTO revision_jobs", "UPDATE jobs"])
def test_a_request_whose_connection_is_lost_halfway_leaves_no_trace(
    postgres_url: str, beginning: str
) -> None:
    with opened(postgres_url) as database, opened(postgres_url) as elsewhere:
        world = World(database)
        with cut_at(database, elsewhere, beginning), pytest.raises(Unavailable):
            world.documents.submit(world.id, [new("a"), new("b")], [])
        assert (world.counts(), world.jobs.list(10), world.batches.unfinished()) == ((0, 0, 0), [], [])


def test_pooled_connections_that_died_meanwhile_are_replaced_unseen(postgres_url: str) -> None:
    with opened(postgres_url) as database, opened(postgres_url) as elsewhere:
        world = World(database)
        with database.read() as connection:
            pid = pid_of(connection)
        end_connection(elsewhere, pid)
        world.add(new("a"))
        with database.read() as connection:
            assert pid_of(connection) != pid


def test_a_writer_without_its_lock_gives_up_in_time_and_says_so(postgres_url: str) -> None:
    with opened(postgres_url) as patient, opened(postgres_url, 0.1) as impatient:
        world = World(patient)
        with patient.write() as connection:
            lock_collection(connection, world.id)
            with pytest.raises(Overloaded, match=r"busy with other writes for 0\.1 s; retry"):
                World(impatient, "other").documents.submit(world.id, [new("a")], [])


def test_when_all_connections_are_in_use_the_caller_is_told(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = {**storage.database._POSTGRES_POOL, "pool_size": 1, "max_overflow": 0, "pool_timeout": 0.05}
    monkeypatch.setattr(storage.database, "_POSTGRES_POOL", small)
    with opened(postgres_url) as database:
        for transaction in (database.read, database.write):
            with (
                database.read(),
                pytest.raises(Overloaded, match="connections to the database are in use"),
                transaction(),
            ):
                pass
        World(database).add(new("a"))


def test_of_two_transactions_in_a_deadlock_both_arrive(postgres_url: str) -> None:
    """Each locks one collection, waits for the other, then wants the other's: the server must end one."""
    url = f"{postgres_url}&options=-c deadlock_timeout%3D20"
    with opened(url) as database, ThreadPoolExecutor(2) as pool:
        one, two = World(database), World(database, "other")
        meeting, runs = threading.Barrier(2, timeout=30), []

        @repeated
        def lock_both(first: World, second: World) -> None:
            with database.write() as connection:
                assert lock_collection(connection, first.id)
                if first.id not in runs:
                    runs.append(first.id)
                    meeting.wait()
                else:
                    runs.append(first.id)
                assert lock_collection(connection, second.id)

        calls = [pool.submit(lock_both, one, two), pool.submit(lock_both, two, one)]
        for call in calls:
            call.result(timeout=60)
        assert len(runs) == 3, "one of them ran twice"


def test_a_transaction_that_keeps_losing_is_told_to_the_caller_in_the_end() -> None:
    runs = []

    @repeated
    def lose() -> None:
        runs.append(1)
        raise LostRace("the database ended this request; retry")

    with pytest.raises(Overloaded, match="retry"):
        lose()
    assert len(runs) == MAX_RUNS


@pytest.mark.parametrize(
    "code",
    [sqlite3.SQLITE_IOERR_WRITE, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_CORRUPT],
)
def test_files_that_sqlite_cannot_use_are_an_outage(code: int) -> None:
    found = sqlite3.OperationalError("disk I/O error")
    found.sqlite_errorcode = code
    outage = pytest.raises(Unavailable, match="cannot read or write its files: disk I/O error; see its disk")
    with outage, translated(1.0):
        raise DBAPIError("INSERT", None, found)


@pytest.mark.parametrize("found", [psycopg.errors.IoError, psycopg.errors.DataCorrupted])
def test_files_that_postgres_cannot_use_are_an_outage(found: type[psycopg.Error]) -> None:
    outage = pytest.raises(Unavailable, match="cannot read or write its files: could not fsync; see its disk")
    with outage, translated(1.0):
        raise DBAPIError("INSERT", None, found("could not fsync\nCONTEXT: more"))


def test_every_transaction_that_writes_is_repeated() -> None:
    """Read from the source, so that a method that is added is not forgotten."""
    found = []
    for path in sorted(Path(storage.__file__).parent.glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef) and ".write()" in ast.unparse(node):
                assert "repeated" in map(ast.unparse, node.decorator_list), f"{path.name}: {node.name}"
                found.append(node.name)
    assert {
        "submit",
        "accept",
        "claim",
        "complete",
        "release",
        "delete",
        "delete_unchanged",
        "cancel",
    } <= set(found)


def test_limits_on_waits_are_set_and_options_of_the_url_are_kept(postgres_url: str) -> None:
    url = f"{postgres_url}&options=-c statement_timeout%3D12s"
    with opened(url, 7) as database, database.read() as connection:
        shown = {
            name: connection.execute(text(f"SHOW {name}")).scalar_one()
            for name in ("lock_timeout", "idle_in_transaction_session_timeout", "statement_timeout")
        }
    assert shown == {
        "lock_timeout": "7s",
        "idle_in_transaction_session_timeout": "1min",
        "statement_timeout": "12s",
    }


def test_a_statement_that_takes_too_long_is_told_as_such(postgres_url: str) -> None:
    url = f"{postgres_url}&options=-c statement_timeout%3D50"
    with (
        opened(url) as database,
        pytest.raises(Overloaded, match="stopped a statement that took too long"),
        database.read() as connection,
    ):
        connection.execute(text("SELECT pg_sleep(30)"))


def test_readers_cannot_write(postgres_url: str) -> None:
    with opened(postgres_url) as database:
        with pytest.raises(Unavailable, match="takes no writes"), database.read() as connection:
            connection.execute(text("DELETE FROM collections"))
        World(database).add(new("a"))


@pytest.mark.parametrize("impossible", ["\ud800", "a\0"])
def test_names_that_no_database_takes_do_not_exist(world: World, impossible: str) -> None:
    calls: list[Callable[[str], object]] = [
        world.collections.get,
        world.collections.delete,
        world.jobs.get,
        world.jobs.cancel,
    ]
    for call in calls:
        with pytest.raises(NotFound, match="does not exist"):
            call(impossible)


def test_pages_after_an_id_with_a_nul_go_on_after_its_beginning(world: World) -> None:
    world.add(new("a"), new("a\x01"), new("b"))
    after = [d.external_id for d in world.documents.list(world.id, None, 10, "a\0z")]
    assert after == ["a\x01", "b"]


@pytest.mark.parametrize("opener", [Database, upgrade])
@pytest.mark.parametrize(
    "url", ["me:secret@127.0.0.1:1/x", "127.0.0.1:1/x?user=me&password=secret&sslmode=allow"]
)
def test_a_server_that_is_not_there_refuses_the_start_without_telling_the_password(
    opener: Callable[[str], object], url: str
) -> None:
    with pytest.raises(StartRefused, match="cannot be opened") as refused:
        opener(f"postgresql+psycopg://{url}")
    assert "127.0.0.1:1/x" in str(refused.value)
    assert "secret" not in str(refused.value)
