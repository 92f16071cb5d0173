"""What is made of the environment."""

from __future__ import annotations

import pytest

from cognate.settings import read_settings


@pytest.mark.parametrize(
    ("given", "used"),
    [
        ("postgres://me:p%40ss@host:1/db?sslmode=require", "postgresql+psycopg://me:p%40ss@host:1/db?sslmode=require"),
        ("postgresql:///db?host=/run", "postgresql+psycopg:///db?host=/run"),
        ("postgresql+psycopg://host/db", "postgresql+psycopg://host/db"),
        ("sqlite:////data/postgres.db", "sqlite:////data/postgres.db"),
        ("", ""),
    ],
)  # fmt: skip
def test_postgres_urls_may_leave_out_the_driver(
    given: str, used: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COGNATE_DATABASE_URL", given)
    assert read_settings().database_url == used


@pytest.mark.parametrize("name", ["encoder_path", "reranker_path", "alive_file"])
def test_an_empty_path_is_none(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"COGNATE_{name.upper()}", "")
    assert getattr(read_settings(), name) is None
