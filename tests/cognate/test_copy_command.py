"""`cognate copy` between two servers whose encoders differ."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient
from typer.testing import CliRunner, Result

from cognate import copy_command
from cognate.bootstrap import open_runtime
from cognate.cli import app
from cognate.copy_client import CopyClient
from cognate.server import make_app
from cognate.settings import Settings
from tests.api.classifying import finished, train
from tests.fakes import FAKE_INFO, FakeEncoder

OLD, NEW = "http://old", "http://new"
OTHER = replace(FAKE_INFO, fingerprint="e" * 64)


@pytest.fixture
def old(tmp_path: Path) -> Iterator[TestClient]:
    with _serving(tmp_path / "old", FakeEncoder()) as http:
        yield http


@pytest.fixture
def encoder() -> FakeEncoder:
    """That of the new server."""
    return FakeEncoder(info=OTHER)


@pytest.fixture
def new(
    tmp_path: Path, old: TestClient, encoder: FakeEncoder, monkeypatch: pytest.MonkeyPatch
) -> Iterator[TestClient]:
    with _serving(tmp_path / "new", encoder) as http:
        servers = {OLD: old, NEW: http}

        class Near(CopyClient):
            def __init__(self, url: str, api_key: str) -> None:
                super().__init__(url, api_key)
                self._http.close()
                self._http: Any = servers[url]

        monkeypatch.setattr(copy_command, "CopyClient", Near)
        yield http


@contextmanager
def _serving(folder: Path, encoder: FakeEncoder) -> Iterator[TestClient]:
    settings = Settings(data_dir=folder)
    with (
        open_runtime(settings, encoder) as services,
        TestClient(make_app(services, settings), "http://127.0.0.1") as http,
    ):
        yield http


def copy(*options: str) -> Result:
    arguments = ["copy", OLD, "--url", NEW, *options]
    return CliRunner().invoke(app, arguments, env={"COLUMNS": "160"}, catch_exceptions=False)


def put(http: TestClient, *documents: dict[str, Any], collection: str = "news") -> None:
    path = f"/v1/collections/{collection}/documents"
    assert http.post(path, params={"wait": True}, json={"documents": documents}).status_code == 200


def make_news(http: TestClient) -> None:
    body = {
        "description": "of the day",
        "language": "de",
        "chunking": {"max_tokens": 64, "overlap_tokens": 8},
        "attributes": {"year": "number"},
    }
    http.put("/v1/collections/news", json=body).raise_for_status()
    http.patch("/v1/collections/news", json={"search": {"mode": "lexical"}}).raise_for_status()
    put(
        http,
        {"id": "a", "title": "One", "text": "cat dog horse", "metadata": {"year": "2026", "tags": ["x", 1]}},
        {"id": "b", "text": "bank stock loan"},
        {"id": "c/ü", "text": "toast soup rice"},
    )


def shown(http: TestClient, collection: str = "news") -> dict[str, tuple[str, str, Any]]:
    """Title, text and metadata by id, without the confidences, which encoders do not share."""
    documents = http.get(f"/v1/collections/{collection}/documents").json()["documents"]
    for one in documents:
        one["metadata"].pop("topic_confidence", None)
    return {one["id"]: (one["title"], one["text"], one["metadata"]) for one in documents}


def test_a_copy_has_settings_documents_and_judgements_under_the_encoder_of_the_target(
    old: TestClient, new: TestClient
) -> None:
    make_news(old)
    judgements = {"judgements": [{"query": "pets", "relevant": [{"id": "a", "relevance": 3}, "gone"]}]}
    old.put("/v1/collections/news/judgements", json=judgements).raise_for_status()
    result = copy()
    assert result.exit_code == 0, result.output
    assert "news: 3 documents; the target has 3 searchable, 0 pending, 0 failed." in result.output
    before, after = (http.get("/v1/collections/news").json() for http in (old, new))
    for field in ("description", "language", "chunking", "attributes", "search", "documents"):
        assert after[field] == before[field]
    assert after["encoder"]["fingerprint"] == OTHER.fingerprint != before["encoder"]["fingerprint"]
    assert shown(new) == shown(old)
    items = [http.get("/v1/collections/news/judgements").json()["items"] for http in (old, new)]
    assert items[0] == items[1]


def test_a_second_copy_encodes_what_changed_alone_and_a_mirror_deletes_what_is_gone(
    old: TestClient, new: TestClient, encoder: FakeEncoder
) -> None:
    make_news(old)
    assert copy().exit_code == 0
    encoder.encoded.clear()
    put(old, {"id": "b", "text": "cash price"}, {"id": "d", "text": "salt spoon"})
    old.delete("/v1/collections/news/documents/c%2F%C3%BC").raise_for_status()
    assert copy().exit_code == 0
    assert sorted(encoder.encoded) == ["cash price", "salt spoon"]
    assert shown(new).keys() == {"a", "b", "c/ü", "d"}
    assert "1 deleted" in copy("--mirror").output
    assert shown(new) == shown(old)


def test_classifiers_are_trained_anew_once_and_label_what_they_labelled(
    old: TestClient, new: TestClient
) -> None:
    make_news(old)
    train(old, options={"target_precision": 0.8})
    rule = {"classifier": "topics", "write_to": "topic", "on_arrival": True}
    finished(old, old.post("/v1/collections/news/classify", json=rule))
    assert "classifier topics: succeeded." in copy().output
    there = new.get("/v1/classifiers/topics").json()
    assert (there["examples"], there["options"]["target_precision"]) == (36, 0.8)
    assert new.get("/v1/collections/news/classify").json() == old.get("/v1/collections/news/classify").json()
    assert shown(new) == shown(old)
    assert shown(new)["a"][2] == {"year": "2026", "tags": ["x", 1], "topic": "animals"}
    result = copy()
    assert (result.exit_code, "classifier topics: as it is there." in result.output) == (0, True)
    assert len(new.get("/v1/classifiers/topics/versions").json()["versions"]) == 1


def test_named_collections_come_alone_with_their_labels_as_metadata(old: TestClient, new: TestClient) -> None:
    make_news(old)
    old.put("/v1/collections/other", json={}).raise_for_status()
    train(old)
    rule = {"classifier": "topics", "write_to": "topic", "on_arrival": True}
    finished(old, old.post("/v1/collections/news/classify", json=rule))
    assert copy("-c", "news").exit_code == 0
    assert [one["name"] for one in new.get("/v1/collections").json()["collections"]] == ["news"]
    assert new.get("/v1/classifiers").json()["classifiers"] == []
    assert shown(new) == shown(old)


def test_a_document_that_the_target_refuses_is_told_and_ends_with_status_2(
    old: TestClient, new: TestClient, encoder: FakeEncoder
) -> None:
    make_news(old)
    encoder.refuse = lambda text: "bank" in text
    result = copy()
    assert result.exit_code == 2
    assert "the target has 2 searchable, 0 pending, 1 failed." in result.output
    assert "b: could not be embedded: ValueError: this text cannot be encoded" in result.output


def test_a_server_is_not_copied_onto_itself(new: TestClient) -> None:
    result = CliRunner().invoke(app, ["copy", f"{NEW}/", "--url", NEW])
    assert result.exit_code == 1
    assert "both the source and the target" in str(result.exception)
