"""`cognate rewrite` and `cognate explain` against an in-process server."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient
from typer.testing import CliRunner

from cognate import explain_command, rewrite_command
from cognate.cli import app
from cognate.client import RequestFailed
from cognate.generation_client import GenerationClient
from core.reasons import source_of
from tests.cognate.near import bring_near, serving
from tests.fakes import FakeGenerator, FakeGeneratorSource

SOURCE = "The 3 cats of Ann sat on the old mat."
GOOD = "Ann's three cats sat on the old mat."
BAD = "The cats of Ann sat on the old mat."
WRITTEN = "The passage says that the 3 cats of Ann sat on the old mat."
GENERATOR = FakeGenerator({SOURCE: [GOOD, BAD], source_of("a cat sat", SOURCE): [WRITTEN], BAD: [SOURCE]})


@pytest.fixture(autouse=True)
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient]:
    with serving(tmp_path, FakeGeneratorSource(GENERATOR)) as http:
        bring_near(monkeypatch, http, GenerationClient, rewrite_command, explain_command)
        yield http


def told(*arguments: str) -> str:
    result = CliRunner().invoke(app, [*arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_rewrites_are_shown_with_their_similarity_and_dropped_ones_with_the_reason() -> None:
    shown = told("rewrite", SOURCE, "-n", "2")
    assert f"  {GOOD}" in shown
    assert f"dropped: {BAD} (it lost the number 3)" in shown
    results = json.loads(told("rewrite", SOURCE, "--json", "--task", "simplify"))["results"]
    assert results[0]["rewrites"][0]["text"] == GOOD


def test_a_stream_is_shown_as_it_comes_and_warned_of_when_it_fails() -> None:
    assert told("rewrite", SOURCE, "--stream").strip() == GOOD
    assert "It must not be used: it has the number 3" in told("rewrite", BAD, "--stream")
    with pytest.raises(RequestFailed, match="task is 'sing'"):
        told("rewrite", SOURCE, "--stream", "-t", "sing")
    refused = CliRunner().invoke(app, ["rewrite", "a", "b", "--stream"])
    assert refused.exit_code == 2


def test_an_explanation_shows_words_and_the_sentence_and_its_kind() -> None:
    shown = told("explain", "a cat sat", "--text", SOURCE)
    assert f"why (extracted): {SOURCE}" in shown
    assert "sat +" in shown
    assert f"why (generated): {WRITTEN}" in told("explain", "a cat sat", "--text", SOURCE, "--generate")


def test_a_document_shows_its_scores_in_the_search(server: TestClient) -> None:
    server.put("/v1/collections/news", json={})
    documents = {"documents": [{"id": "a", "text": SOURCE}]}
    server.post("/v1/collections/news/documents?wait=true", json=documents)
    shown = told("explain", "cat", "-c", "news", "--id", "a")
    assert "in the search: rank 1 with" in shown
    assert "dense" in shown


@pytest.mark.parametrize("option", ["--text", "--collection", "--id"])
def test_what_goes_with_a_query_is_not_passed_over_beside_labels(option: str) -> None:
    refused = CliRunner().invoke(app, ["explain", SOURCE, "-l", "mat", "-l", "finance", option, "x"])
    assert refused.exit_code == 2
    assert "go with a query" in refused.output


def test_a_label_is_explained() -> None:
    assert "mat (" in told("explain", SOURCE, "-l", "mat", "-l", "finance")
