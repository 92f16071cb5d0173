"""What is made of the environment."""

from __future__ import annotations

import pytest

from cognate.settings import read_settings
from core.errors import StartRefused


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


@pytest.mark.parametrize("keys", [",", " ", " , ,"])
def test_keys_that_are_none_refuse_the_start(keys: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COGNATE_API_KEYS", keys)
    with pytest.raises(StartRefused, match=r"COGNATE_API_KEYS: .* holds no key"):
        read_settings()


def test_keys_are_separated_by_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    for given, used in (("", ()), ("a, b,", ("a", "b"))):
        monkeypatch.setenv("COGNATE_API_KEYS", given)
        assert read_settings().keys == used
