"""A fresh, migrated database for every test, on SQLite and on Postgres."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from migrations.upgrade import upgrade
from storage.backups import SqlBackups
from storage.database import Database
from storage.uploads import BACKUPS, FsspecUploadStore, local_uploads
from tests.postgres import PostgresServer
from tests.storage.backup_desk import Desk, opened_desk
from tests.storage.world import World


@pytest.fixture(scope="session")
def migrated_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("migrated") / "cognate.db"
    upgrade(f"sqlite:///{path}")
    return path


@pytest.fixture(params=["sqlite", "postgres"])
def kind(request: pytest.FixtureRequest) -> str:
    """Every test that uses a database runs once on each kind."""
    return str(request.param)


@pytest.fixture
def database_url(kind: str, request: pytest.FixtureRequest) -> str:
    """URL of an empty database with the newest schema."""
    return str(request.getfixturevalue(f"{kind}_url"))


@pytest.fixture
def empty_url(kind: str, request: pytest.FixtureRequest) -> str:
    """URL of a database without any table."""
    return str(request.getfixturevalue(f"empty_{kind}_url"))


@pytest.fixture
def sqlite_url(migrated_sqlite: Path, tmp_path: Path) -> str:
    return f"sqlite:///{shutil.copy(migrated_sqlite, tmp_path / 'cognate.db')}"


@pytest.fixture
def postgres_url(postgres: PostgresServer) -> Iterator[str]:
    with dropped_later(postgres, postgres.create_migrated_database()) as url:
        yield url


@pytest.fixture
def empty_sqlite_url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'with space & % é.db'}"


@pytest.fixture
def empty_postgres_url(postgres: PostgresServer) -> Iterator[str]:
    with dropped_later(postgres, postgres.create_database()) as url:
        yield url


@contextmanager
def dropped_later(postgres: PostgresServer, database: str) -> Iterator[str]:
    yield postgres.url(database)
    postgres.drop_database(database)


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    database = Database(database_url)
    yield database
    database.close()


@pytest.fixture
def world(database: Database) -> World:
    return World(database)


@pytest.fixture
def files(tmp_path: Path) -> FsspecUploadStore:
    """Where backups are."""
    return local_uploads(tmp_path / "backups", BACKUPS)


@pytest.fixture
def backups(world: World, files: FsspecUploadStore) -> SqlBackups:
    return SqlBackups(world.database, files, "test", world.clock)


@pytest.fixture
def desk(world: World, tmp_path: Path) -> Desk:
    return opened_desk(world, tmp_path)
