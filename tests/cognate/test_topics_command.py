"""`cognate topics` against an in-process server."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from cognate import topics_command
from cognate.cli import app
from cognate.client import Client
from tests.api.test_topics import SIZES, documents
from tests.cognate.near import bring_near, serving


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Serves the collection `news` of three themes."""
    with serving(tmp_path, wait_limit_s=20) as http:
        http.put("/v1/collections/news", json={})
        http.post("/v1/collections/news/documents?wait=true", json={"documents": documents()})
        bring_near(monkeypatch, http, Client, topics_command)
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
