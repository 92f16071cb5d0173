"""`cognate search` against an in-process server."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient
from typer.testing import CliRunner

from cognate import search_command
from cognate.bootstrap import open_runtime
from cognate.cli import app
from cognate.client import Client
from cognate.server import make_app
from cognate.settings import Settings
from tests.fakes import FakeEncoder

DOCUMENTS = [
    {"id": "a", "title": "Pets", "text": "the cat sat", "metadata": {"year": 2020}},
    {"id": "b", "title": "Dogs", "text": "a dog barked at the cat", "metadata": {"year": 2021}},
    {"id": "c", "title": "Food", "text": "soup and bread", "metadata": {"year": 2021}},
]


@pytest.fixture(autouse=True)
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient]:
    settings = Settings(data_dir=tmp_path / "data")
    with (
        open_runtime(settings, FakeEncoder()) as services,
        TestClient(make_app(services, settings), "http://127.0.0.1") as http,
    ):

        class Near(Client):
            def __init__(self, url: str, api_key: str) -> None:
                super().__init__(url, api_key)
                self._http.close()
                self._http: Any = http

        monkeypatch.setattr(search_command, "Client", Near)
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
