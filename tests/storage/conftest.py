"""A fresh, migrated database for every test."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from migrations.upgrade import upgrade
from storage.database import Database
from tests.storage.world import World


@pytest.fixture(scope="session")
def migrated_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("migrated") / "cognate.db"
    upgrade(f"sqlite:///{path}")
    return path


@pytest.fixture(params=["sqlite"])
def database_url(request: pytest.FixtureRequest, migrated_sqlite: Path, tmp_path: Path) -> str:
    """URL of an empty database with the newest schema; another database is one more parameter."""
    assert request.param == "sqlite"
    return f"sqlite:///{shutil.copy(migrated_sqlite, tmp_path / 'cognate.db')}"


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    database = Database(database_url)
    yield database
    database.close()


@pytest.fixture
def world(database: Database) -> World:
    return World(database)
