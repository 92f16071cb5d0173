"""A real Postgres and a real Redis for all of these tests; each gets a database and an empty Redis."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.postgres import PostgresServer, running_postgres
from tests.production.processes import Deployment, RedisServer


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    with running_postgres() as server:
        yield server


@pytest.fixture
def redis_server(tmp_path: Path) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path)
    server.start()
    yield server
    server.stop()


@pytest.fixture
def database_url(postgres: PostgresServer) -> Iterator[str]:
    name = postgres.create_migrated_database()
    yield postgres.url(name)
    postgres.drop_database(name)


@pytest.fixture
def deployment(tmp_path: Path, database_url: str, redis_server: RedisServer) -> Iterator[Deployment]:
    deployment = Deployment(tmp_path, database_url, redis_server.url)
    yield deployment
    deployment.close()
