"""The migrations make the schema of the code, and other schemas are refused with advice."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, create_engine, inspect, text
from sqlalchemy.pool import NullPool

from core.errors import SchemaMismatch
from migrations.upgrade import alembic_config, check, upgrade
from storage.database import Database
from storage.schema import Base
from tests.storage.world import World, new


@pytest.fixture
def connection(database_url: str) -> Iterator[Connection]:
    with create_engine(database_url, poolclass=NullPool).begin() as connection:
        yield connection


def test_the_migrations_make_exactly_the_schema_of_the_code(connection: Connection) -> None:
    context = MigrationContext.configure(connection, opts={"compare_type": True})
    assert compare_metadata(context, Base.metadata) == []


def test_passage_document_and_collection_ids_are_never_reused_by_sqlite(empty_sqlite_url: str) -> None:
    upgrade(empty_sqlite_url)
    with create_engine(empty_sqlite_url, poolclass=NullPool).connect() as connection:
        tables = connection.execute(text("SELECT name FROM sqlite_master WHERE sql LIKE '%AUTOINCREMENT%'"))
        assert {"passages", "documents", "collections"} <= set(tables.scalars())


def test_a_fresh_database_is_created_and_upgrading_again_changes_nothing(empty_url: str) -> None:
    with pytest.raises(SchemaMismatch, match=r"no tables of Cognate yet.*Run `cognate db upgrade`"):
        check(empty_url)
    upgrade(empty_url)
    check(empty_url)
    database = Database(empty_url)
    World(database).add(new("a"))
    upgrade(empty_url)
    check(empty_url)
    assert World(database).counts() == (1, 0, 0)
    database.close()


def test_processes_that_upgrade_at_once_wait_for_each_other(empty_url: str) -> None:
    program = "import sys; from migrations.upgrade import upgrade; upgrade(sys.argv[1])"
    processes = [subprocess.Popen([sys.executable, "-c", program, empty_url]) for _ in range(2)]
    assert [process.wait(timeout=60) for process in processes] == [0, 0]
    check(empty_url)


def test_a_database_of_a_newer_version_is_refused(database_url: str) -> None:
    with create_engine(database_url, poolclass=NullPool).begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    for call in (check, upgrade):
        with pytest.raises(SchemaMismatch, match=r"revision '9999', which this version does not know.*newer"):
            call(database_url)


def test_downgrading_removes_all_tables(database_url: str, connection: Connection) -> None:
    command.downgrade(alembic_config(connection), "base")
    assert inspect(connection).get_table_names() == ["alembic_version"]
