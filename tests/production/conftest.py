"""A real Postgres and a real Redis for all of these tests; each module or test gets its own data on them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.postgres import PostgresServer
from tests.production.processes import Api, Deployment, Process, RedisServer


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


@dataclass(frozen=True, slots=True)
class Standing:
    """Two APIs, two workers and a scheduler; the import folder is the first API's."""

    deployment: Deployment
    first: Api
    second: Api
    others: tuple[Process, ...]


@pytest.fixture(scope="package")
def standing(postgres: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Standing]:
    """One for all tests that leave its processes running; each works on collections of its own."""
    with running_deployment(postgres, tmp_path_factory.mktemp("standing")) as deployment:
        apis = deployment.api("api"), deployment.api("api-2")
        others = deployment.worker("worker-1"), deployment.worker("worker-2"), deployment.scheduler()
        deployment.start(*apis, *others)
        yield Standing(deployment, *apis, others)


@dataclass(frozen=True, slots=True)
class Bare:
    """An API alone: tests bring workers, and take them away again."""

    deployment: Deployment
    api: Api


@pytest.fixture(scope="package")
def bare(postgres: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bare]:
    """One for all tests that leave it without workers and without tasks."""
    with running_deployment(postgres, tmp_path_factory.mktemp("bare")) as deployment:
        api = deployment.api()
        deployment.start(api)
        yield Bare(deployment, api)
