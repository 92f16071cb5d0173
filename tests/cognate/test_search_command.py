"""`cognate search` against an in-process server."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient
from typer.testing import CliRunner

from cognate import search_command
from cognate.cli import app
from cognate.client import Client
from tests.cognate.near import bring_near, serving

DOCUMENTS = [
    {"id": "a", "title": "Pets", "text": "the cat sat", "metadata": {"year": 2020}},
    {"id": "b", "title": "Dogs", "text": "a dog barked at the cat", "metadata": {"year": 2021}},
    {"id": "c", "title": "Food", "text": "soup and bread", "metadata": {"year": 2021}},
]


@pytest.fixture(autouse=True)
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient]:
    with serving(tmp_path) as http:
        bring_near(monkeypatch, http, Client, search_command)
        http.put("/v1/collections/news", json={})
        added = http.post("/v1/collections/news/documents?wait=true", json={"documents": DOCUMENTS})
        assert added.status_code == 200
        yield http


def told(*arguments: str) -> str:
    result = CliRunner().invoke(app, ["search", "cat", "-c", "news", *arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def ids(*arguments: str) -> list[str]:
    return [hit["id"] for hit in json.loads(told("--json", *arguments))["hits"]]


def test_pages_continue_one_another() -> None:
    assert ids("-k", "1") + ids("-k", "2", "--offset", "1") == ids()
    assert len(ids()) == 3


def test_facets_are_counted_over_what_the_filter_keeps() -> None:
    shown = told("--facet", "year", "--filter", '{"field": "year", "eq": 2021}')
    assert "year: 2021 (2)" in shown
    assert "Pets" not in shown


def test_an_explanation_names_the_words() -> None:
    assert "similar by: cat +" in told("--explain", "-k", "1")


def test_what_is_no_json_is_refused() -> None:
    result = CliRunner().invoke(app, ["search", "cat", "-c", "news", "--filter", "year = 2020"])
    assert result.exit_code == 2
    assert "--filter takes" in result.output
