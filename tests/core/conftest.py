"""A migrated SQLite database for the use cases that are tested on real stores."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from migrations.upgrade import upgrade
from storage.database import Database


@pytest.fixture(scope="session")
def migrated_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("migrated") / "cognate.db"
    upgrade(f"sqlite:///{path}")
    return path


@pytest.fixture
def database(migrated_sqlite: Path, tmp_path: Path) -> Iterator[Database]:
    database = Database(f"sqlite:///{shutil.copy(migrated_sqlite, tmp_path / 'cognate.db')}")
    yield database
    database.close()
