"""What only SQLite needs: pragmas, turns of writers, a file."""

from __future__ import annotations

import pytest
from sqlalchemy import update

from core.errors import Overloaded, StartRefused, Unavailable
from storage.database import Database
from storage.schema import Collections
from tests.storage.world import World, new


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


def test_a_full_disk_is_told_and_leaves_no_trace(sqlite_url: str) -> None:
    database = Database(sqlite_url)
    world = World(database)

    def fill() -> None:
        with database.write() as connection:
            pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
            connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")  # of this connection alone
            connection.execute(update(Collections).values(description="x" * 100_000))

    with pytest.raises(Unavailable, match="disk of the database is full; free some space"):
        fill()
    assert world.collections.get("news").description == ""
    database.close()
