"""Machines whose clocks differ agree by the clock of the database's server."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import create_engine, make_url, select
from sqlalchemy.pool import NullPool

from storage.batches import SqlBatchStore
from storage.clock import ServerClock, utc_now
from storage.database import Database
from storage.schema import Batches
from tests.storage.world import World, new, opened

AHEAD = timedelta(days=30)
NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)


@pytest.fixture
def server_ahead(postgres_url: str) -> Iterator[Database]:
    """A server whose clock is 30 days ahead of this machine's."""
    engine = create_engine(postgres_url, poolclass=NullPool, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.exec_driver_sql("CREATE SCHEMA ahead")
        connection.exec_driver_sql(
            "CREATE FUNCTION ahead.clock_timestamp() RETURNS timestamptz LANGUAGE sql VOLATILE"
            " AS $$ SELECT pg_catalog.clock_timestamp() + interval '30 days' $$"
        )
    url = make_url(postgres_url).update_query_dict({"options": "-c search_path=ahead,pg_catalog,public"})
    with opened(url.render_as_string(hide_password=False)) as database:
        yield database


def test_leases_end_by_the_clock_of_the_server(server_ahead: Database) -> None:
    world = World(server_ahead)
    (batch_id,) = world.send(new("a")).batch_ids
    batches = SqlBatchStore(server_ahead)
    before = utc_now()
    assert batches.claim(batch_id, 60.0) is not None
    with server_ahead.read() as connection:
        lease_until = connection.execute(select(Batches.lease_until)).scalar_one()
    assert lease_until is not None
    assert before + AHEAD < lease_until - timedelta(seconds=59) < utc_now() + AHEAD + timedelta(seconds=2)
    assert batches.claim(batch_id, 60.0) is None


def test_time_goes_on_between_readings() -> None:
    clock = ServerClock()
    asked_s = time.monotonic() - 100
    clock.note(NOON, asked_s, asked_s)
    assert timedelta(seconds=100) <= clock() - NOON < timedelta(seconds=160)


def test_a_slow_answer_does_not_replace_a_more_exact_one() -> None:
    clock = ServerClock()
    now_s = time.monotonic()
    clock.note(NOON, now_s, now_s + 0.001)
    clock.note(NOON + timedelta(days=1), now_s + 1, now_s + 11)
    assert clock() - NOON < timedelta(hours=1)


def test_after_a_while_a_reading_is_replaced_by_one_that_is_no_worse() -> None:
    clock = ServerClock()
    now_s = time.monotonic()
    clock.note(NOON, now_s - 100, now_s - 99.999)
    clock.note(NOON + timedelta(days=1), now_s - 0.01, now_s)  # the first may be off by 10 ms by now
    assert clock() - NOON > timedelta(hours=23)
