"""What only SQLite needs: pragmas, turns of writers, a file."""

from __future__ import annotations

import pytest
from sqlalchemy import Connection, insert
from sqlalchemy.exc import IntegrityError

from core.errors import Overloaded, StartRefused, Unavailable
from core.job_types import BatchStanding
from storage.database import Database
from storage.schema import Collections
from tests.storage.world import World, encode, new


def test_a_writer_without_a_turn_gives_up_in_time_and_says_so(sqlite_url: str) -> None:
    impatient, elsewhere = Database(sqlite_url, 0.1), Database(sqlite_url, 0.1)
    with impatient.write():
        for database in (impatient, elsewhere):  # the same process, another process
            with pytest.raises(Overloaded, match=r"busy with other writes for 0\.1 s"), database.write():
                pass
    for database in (impatient, elsewhere):
        World(database).add(new("a"))
        database.close()


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:"])
def test_a_database_in_memory_is_refused(url: str) -> None:
    with pytest.raises(StartRefused, match="names no file"):
        Database(url)


def test_every_commit_is_forced_to_disk_and_keys_are_enforced(sqlite_url: str) -> None:
    database = Database(sqlite_url)
    with database.read() as connection:
        pragmas = [
            connection.exec_driver_sql(f"PRAGMA {name}").scalar_one()
            for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        ]
    assert pragmas == ["wal", 2, 1, 30_000]
    database.close()


def test_a_full_disk_is_an_outage_that_blames_no_document(sqlite_url: str) -> None:
    database = Database(sqlite_url)
    world = World(database)
    batch = world.claim(world.send(*(new(str(i), "long " * 1000) for i in range(100))).batch_ids[0])
    with database.write() as connection:  # pooled: the next writer has the same connection
        _limit_pages(connection, "page_count")
    with pytest.raises(Unavailable, match="disk of the database is full; free some space"):
        world.batches.complete(batch, encode(batch.items), [])
    with database.write() as connection:
        _limit_pages(connection, "2147483646")
    assert world.counts() == (0, 100, 0), "no half of the batch is there"
    world.batches.release(batch)
    assert world.batches.standing(batch.id) is BatchStanding.FRESH
    again = world.claim(batch.id)
    assert world.batches.complete(again, encode(again.items), []) == 1
    database.close()


def test_a_file_that_cannot_be_written_is_an_outage_that_blames_no_document(sqlite_url: str) -> None:
    database = Database(sqlite_url)
    world = World(database)
    batch = world.claim(world.send(new("a")).batch_ids[0])
    with database.session() as connection:  # pooled: the next writer has the same connection
        connection.exec_driver_sql("PRAGMA query_only = ON")
    with pytest.raises(
        Unavailable, match="cannot read or write its files: attempt to write a readonly database"
    ):
        world.batches.complete(batch, encode(batch.items), [])
    with database.session() as connection:
        connection.exec_driver_sql("PRAGMA query_only = OFF")
    world.batches.release(batch)
    assert world.batches.standing(batch.id) is BatchStanding.FRESH
    database.close()


def _limit_pages(connection: Connection, limit: str) -> None:
    if not limit.isdigit():
        limit = str(connection.exec_driver_sql(f"PRAGMA {limit}").scalar_one())
    connection.exec_driver_sql(f"PRAGMA max_page_count = {limit}")


def test_a_statement_that_the_data_break_is_no_outage(sqlite_url: str) -> None:
    database = Database(sqlite_url)
    World(database)
    with database.read() as connection:
        row = dict(connection.execute(Collections.__table__.select()).one()._mapping)
    with pytest.raises(IntegrityError), database.write() as connection:
        connection.execute(insert(Collections).values(row))
    database.close()
