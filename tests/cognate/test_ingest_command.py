"""`cognate ingest` and `cognate jobs` against an in-process server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient
from typer.testing import CliRunner

from cognate import cli
from cognate.client import Client, RequestFailed
from core.errors import InvalidInput
from tests.cognate.near import bring_near, serving


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient]:
    """What the commands talk to."""
    with serving(tmp_path) as http:
        bring_near(monkeypatch, http, Client, cli)
        yield http


def told(*arguments: str, status: int = 0) -> str:
    result = CliRunner().invoke(cli.app, arguments, catch_exceptions=False)
    assert result.exit_code == status, result.output
    return result.output


def test_names_in_brackets_are_shown_as_they_are(server: TestClient, tmp_path: Path) -> None:
    path = tmp_path / "rates [per h].csv"
    path.write_text("id,text,rate [/h],speed [m/s]\n1,cat,2,3\n")
    shown = told("ingest", str(path), "-c", "rates")
    assert '["rate [/h]", "speed [m/s]"]' in shown
    assert "1 documents are searchable, 0 failed." in shown


@pytest.mark.parametrize(
    ("name", "content", "options", "words"),
    [
        ("notes.txt", "a cat", (), "no known format"),
        ("empty.csv", "", (), "is empty"),
        ("rows.jsonl", '{"id": "1", "text": "cat"}\n', ("--text-field", "body"), "'body'"),
        ("rows.csv", "id,text\n1,cat\n", ("--metadata-fields", "year"), "'year'"),
    ],
)
def test_a_file_that_is_refused_leaves_no_collection_behind(
    server: TestClient, tmp_path: Path, name: str, content: str, options: tuple[str, ...], words: str
) -> None:
    path = tmp_path / name
    path.write_text(content)
    with pytest.raises(InvalidInput, match=words):
        told("ingest", str(path), "-c", "news", *options)
    assert server.get("/v1/collections").json()["collections"] == []


def test_a_refusal_is_in_the_words_of_the_server(server: TestClient, tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("id,text\n1,cat\n")
    with pytest.raises(InvalidInput) as refused:
        told("ingest", str(path), "-c", "news", "--text-field", "body")
    server.put("/v1/collections/news", json={})
    with pytest.raises(RequestFailed) as refused_by_server:
        told("ingest", str(path), "-c", "news", "--text-field", "body")
    assert str(refused.value) == str(refused_by_server.value)


def test_metadata_columns_may_be_named_with_spaces_between(server: TestClient, tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("id,text,year,by\n1,cat,2001,me\n")
    told("ingest", str(path), "-c", "news", "--metadata-fields", "year, by")
    assert server.get("/v1/collections/news/documents/1").json()["metadata"] == {"year": "2001", "by": "me"}


def test_a_job_tells_what_was_done_in_its_own_words(server: TestClient) -> None:
    examples = [{"text": "cat", "label": "cats"}, {"text": "dog", "label": "dogs"}]
    job = server.put("/v1/classifiers/pets?wait=true", json={"examples": examples}).json()["job"]
    shown = told("jobs", job["id"], "--follow")
    assert "2 done, 0 failed." in shown
    assert "searchable" not in shown


def test_a_job_that_did_not_succeed_ends_with_status_2(server: TestClient, tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"id": "1", "text": "cat"}\n{"id": "2", "text": ""}\n')
    assert "1 documents are searchable, 1 failed." in told("ingest", str(path), "-c", "rows", status=2)
    (job,) = server.get("/v1/jobs").json()["jobs"]
    told("jobs", job["id"], "--follow", status=2)
    told("jobs", job["id"])


def test_an_import_that_was_cancelled_did_not_succeed_though_no_document_failed(
    server: TestClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = {"kind": "import", "state": "cancelled", "done": 3, "failed": 0, "errors": []}
    monkeypatch.setattr(Client, "follow", lambda self, job_ids, on_progress: [ended])
    path = tmp_path / "rows.csv"
    path.write_text("id,text\n1,cat\n")
    assert "3 documents are searchable, 0 failed." in told("ingest", str(path), "-c", "rows", status=2)
