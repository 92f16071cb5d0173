"""The migrations make the schema of the code, and other schemas are refused with advice."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime, timedelta

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, DateTime, column, create_engine, insert, inspect, text
from sqlalchemy import table as sql_table
from sqlalchemy.pool import NullPool

from core.errors import SchemaMismatch
from core.job_types import BatchStanding
from core.types import CollectionSettings
from migrations.upgrade import alembic_config, check, upgrade
from storage.database import Database
from storage.schema import Base
from tests.storage.world import DIM, ENCODER, World, encode, new

NOW = datetime(2029, 12, 31, tzinfo=UTC)
TIMES = ("created_at", "updated_at", "started_at", "lease_until")


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


def test_a_database_of_the_first_version_is_upgraded_with_what_is_in_it(empty_url: str) -> None:
    with create_engine(empty_url, poolclass=NullPool).begin() as connection:
        command.upgrade(alembic_config(connection), "0001")
        _fill_0001(connection)
    with pytest.raises(SchemaMismatch, match=r"revision '0001', but this version needs"):
        check(empty_url)
    upgrade(empty_url)
    database = Database(empty_url)
    world = World(database, "news")
    assert (world.counts(), world.progress("job")) == ((0, 1, 0), ("running", 1, 0, 0))
    world.clock.now = NOW
    assert world.batches.standing("batch") is None, "its lease still runs"
    world.clock.advance(61)
    assert world.batches.standing("batch") is BatchStanding.FRESH
    batch = world.claim("batch")
    assert (batch.attempt, [item.text for item in batch.items]) == (3, ["some text"])
    world.batches.complete(batch, encode(batch.items), [])
    assert (world.counts(), world.progress("job")) == ((1, 0, 0), ("succeeded", 1, 1, 0))
    database.close()


def _fill_0001(connection: Connection) -> None:
    """A document in a batch that a worker holds, in the columns of the first version."""
    encoder = {"encoder_id": ENCODER.id, "encoder_fingerprint": ENCODER.fingerprint, "encoder_dim": DIM}
    settings = json.dumps(asdict(CollectionSettings()))
    rows: dict[str, dict[str, object]] = {
        "collections": {
            "id": 1, "uid": "u", "name": "news", "description": "", **encoder,
            "encoder_max_tokens": ENCODER.max_tokens, "settings": settings, "seq": 0, "purged_seq": 0,
            "created_at": NOW,
        },
        "documents": {
            "id": 1, "collection_id": 1, "external_id": "a", "state": "pending", "seq": 0,
            "passage_count": 0, "content_hash": "c", "metadata_hash": "m", "job_id": "job",
            "created_at": NOW, "updated_at": NOW, "title": "", "metadata": "{}", "text": "some text",
        },
        "jobs": {
            "id": "job", "kind": "documents", "collection_id": 1, "collection_name": "news",
            "state": "running", "total": 1, "done": 0, "failed": 0, "seq": 0, "is_complete": True,
            "created_at": NOW, "started_at": NOW, "details": "{}",
        },
        "batches": {
            "id": "batch", "job_id": "job", "collection_id": 1, "state": "running", "attempt": 2,
            "lease_until": NOW + timedelta(seconds=60), "created_at": NOW,
        },
        "revisions": {"document_id": 1, "batch_id": "batch"},
        "revision_jobs": {"document_id": 1, "job_id": "job", "items": 1},
    }  # fmt: skip
    for table, row in rows.items():
        columns = [column(name, DateTime(timezone=True)) if name in TIMES else column(name) for name in row]
        connection.execute(insert(sql_table(table, *columns)).values(row))


def test_downgrading_removes_all_tables(database_url: str, connection: Connection) -> None:
    command.downgrade(alembic_config(connection), "base")
    assert inspect(connection).get_table_names() == ["alembic_version"]
