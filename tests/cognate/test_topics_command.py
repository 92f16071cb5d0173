"""`cognate topics` against an in-process server."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient
from typer.testing import CliRunner, Result

from cognate import topics_command
from cognate.bootstrap import open_runtime
from cognate.cli import app
from cognate.client import Client
from cognate.server import make_app
from cognate.settings import Settings
from tests.api.test_topics import SIZES, documents
from tests.fakes import FakeEncoder


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Serves the collection `news` of three themes."""
    settings = Settings(data_dir=tmp_path / "data", wait_limit_s=20)
    with (
        open_runtime(settings, FakeEncoder()) as services,
        TestClient(make_app(services, settings), "http://127.0.0.1") as http,
    ):
        http.put("/v1/collections/news", json={})
        http.post("/v1/collections/news/documents?wait=true", json={"documents": documents()})

        class Near(Client):
            def __init__(self, url: str, api_key: str) -> None:
                super().__init__(url, api_key)
                self._http.close()
                self._http: Any = http

        monkeypatch.setattr(topics_command, "Client", Near)
        yield


def run(*arguments: str) -> Result:
    shown = CliRunner().invoke(
        app, ["topics", "-c", "news", *arguments], env={"COLUMNS": "200"}, catch_exceptions=False
    )
    assert shown.exit_code == 0, shown.output
    return shown


@pytest.mark.usefixtures("server")
def test_topics_are_shown_with_their_sizes_words_and_a_document() -> None:
    told = run("--json").stdout
    topics = json.loads(told)["topics"]
    shown = run().stdout
    assert f"{sum(SIZES.values())} documents, 3 topics" in shown
    assert [topic["size"] for topic in topics] == list(SIZES.values())
    for topic in topics:
        (line,) = (line for line in shown.splitlines() if f" {topic['name']} " in line)
        assert f" {topic['size']} " in line
        assert ", ".join(term["text"] for term in topic["terms"]) in line


@pytest.mark.usefixtures("server")
def test_as_many_topics_are_shown_as_asked_for() -> None:
    assert len(json.loads(run("-k", "2", "--json").stdout)["topics"]) == 2
