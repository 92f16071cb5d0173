"""What all tests share: a calm hypothesis profile, no settings from outside, one Postgres."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.postgres import PostgresServer, running_postgres

settings.register_profile(
    "cognate", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("cognate")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests with processes first: run side by side, the many short ones then fill the gaps."""
    items.sort(key=lambda item: item.get_closest_marker("integration") is None)


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Neither the caller's COGNATE_* variables nor a .env file reach a test."""
    for name in [name for name in os.environ if name.startswith("COGNATE_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """One server for all tests that ask for it; they get databases of their own on it."""
    if sys.version_info >= (3, 13):
        pytest.skip("the wheel pgserver, which brings Postgres, is not published for this Python")
    with running_postgres() as server:
        yield server
