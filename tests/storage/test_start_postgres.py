"""Postgres databases and users that cannot serve are refused with what was found and what to do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from sqlalchemy import Connection, create_engine, make_url
from sqlalchemy.pool import NullPool

from core.errors import StartRefused
from migrations.upgrade import check, upgrade
from storage.database import Database
from tests.postgres import PostgresServer
from tests.storage.world import World, new

GUEST = "guest_without_rights"


@pytest.fixture
def admin(postgres: PostgresServer) -> Iterator[Connection]:
    engine = create_engine(postgres.url("postgres"), poolclass=NullPool, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        yield connection


@contextmanager
def a_database_of(admin: Connection, postgres: PostgresServer, encoding: str) -> Iterator[str]:
    name = f"of_{encoding.lower()}"
    options = f"ENCODING '{encoding}' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0"
    admin.exec_driver_sql(f"CREATE DATABASE {name} {options}")
    try:
        yield postgres.url(name)
    finally:
        postgres.drop_database(name)


@pytest.fixture
def guest_url(admin: Connection, empty_postgres_url: str) -> Iterator[str]:
    """An empty database of another user, who granted nothing."""
    admin.exec_driver_sql(f"CREATE ROLE {GUEST} LOGIN")
    yield make_url(empty_postgres_url).set(username=GUEST).render_as_string(hide_password=False)
    admin.exec_driver_sql(f"DROP ROLE {GUEST}")


@pytest.mark.parametrize("encoding", ["SQL_ASCII", "LATIN1"])
@pytest.mark.parametrize("opener", [upgrade, check])
def test_a_database_that_cannot_hold_every_text_is_refused(
    admin: Connection, postgres: PostgresServer, encoding: str, opener: object
) -> None:
    refused = pytest.raises(StartRefused, match=rf"of encoding {encoding}.*ENCODING 'UTF8'")
    with a_database_of(admin, postgres, encoding) as url, refused:
        opener(url)  # type: ignore[operator]


def test_texts_are_utf_8_whatever_the_environment_says(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGCLIENTENCODING", "LATIN1")
    upgrade(postgres_url)
    database = Database(postgres_url)
    world = World(database)
    world.add(new("文", "中文"))
    assert world.found() == {"文": "中文"}
    database.close()


def test_a_user_who_may_make_no_tables_is_told_so(guest_url: str) -> None:
    with pytest.raises(
        StartRefused, match=r"permission denied for schema public; .*GRANT ALL ON SCHEMA"
    ) as told:
        upgrade(guest_url)
    assert GUEST not in str(told.value)


def test_a_user_who_may_not_read_the_tables_is_told_so(guest_url: str, empty_postgres_url: str) -> None:
    upgrade(empty_postgres_url)
    with pytest.raises(StartRefused, match=r"permission denied for table alembic_version; "):
        check(guest_url)
