"""A real Postgres and a real Redis for all of these tests; each module or test gets its own data on them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.postgres import PostgresServer
from tests.production.processes import Deployment, RedisServer


@contextmanager
def running_deployment(postgres: PostgresServer, folder: Path) -> Iterator[Deployment]:
    """An empty database and an empty Redis of its own; its processes are ended at the end."""
    redis_server, database = RedisServer(folder), postgres.create_migrated_database()
    redis_server.start()
    deployment = Deployment(folder, postgres.url(database), redis_server)
    try:
        yield deployment
    finally:
        deployment.close()
        redis_server.stop()
        postgres.drop_database(database)


@pytest.fixture
def deployment(postgres: PostgresServer, tmp_path: Path) -> Iterator[Deployment]:
    with running_deployment(postgres, tmp_path) as deployment:
        yield deployment


@pytest.fixture(scope="module")
def standing(postgres: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """One for all tests of a module that leave it as it is."""
    with running_deployment(postgres, tmp_path_factory.mktemp("standing")) as deployment:
        yield deployment
