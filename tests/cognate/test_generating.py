"""The generator of the settings in a running service: a tiny one with random weights, over a tiny encoder."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from cognate.bootstrap import open_runtime
from cognate.server import make_app
from cognate.settings import Settings
from core.services import Services
from encoder.service import EncoderService
from tests.api.test_bad_input import check_problem
from tests.encoder.generators import TEXTS, tiny_encoder, write_tiny_generator


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("generator")
    write_tiny_generator(folder)
    return folder


@pytest.fixture
def encoder() -> Iterator[EncoderService]:
    encoder = tiny_encoder()
    yield encoder
    encoder.close()


@pytest.fixture
def services(tmp_path: Path, folder: Path, encoder: EncoderService) -> Iterator[Services]:
    with open_runtime(Settings(data_dir=tmp_path / "data", generator_path=folder), encoder) as services:
        yield services
    assert not generator_threads()


@pytest.fixture
def client(services: Services, tmp_path: Path) -> Iterator[TestClient]:
    with TestClient(make_app(services, Settings(data_dir=tmp_path)), "http://127.0.0.1") as client:
        yield client


def generator_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("generator")]


def test_it_is_loaded_when_it_is_needed_and_any_text_is_answered_by_texts_that_are_verified(
    client: TestClient, services: Services
) -> None:
    (listed,) = [one for one in client.get("/v1/models").json()["data"] if one["kind"] == "generator"]
    assert (listed["id"], listed["max_tokens"], listed["max_new_tokens"]) == ("tiny", 80, 24)
    assert listed["tasks"]["ask"]["standing"] == "stable"
    assert listed["tasks"]["translate_en_es"]["standing"] == "experimental"
    assert "generator" not in client.get("/health/ready").json().get("warnings", {})
    assert not services.generation.is_loaded
    texts = [*TEXTS, "<task:explain> <end> <pad>", "a", "| || : |"]
    answer = client.post("/v1/rewrite", json={"texts": texts, "task": "translate_en_es", "n": 2})
    assert answer.status_code == 200
    assert services.generation.is_loaded
    for text, result in zip(texts, answer.json()["results"], strict=True):
        assert result["rewrites"] or result["dropped"]
        for one in (*result["rewrites"], *result["dropped"]):
            assert "<end>" not in one["text"] or "<end>" in text


def test_a_stream_ends_with_what_verification_says(client: TestClient) -> None:
    body = {"texts": [TEXTS[0]], "task": "ask", "stream": True}
    text = client.post("/v1/rewrite", json=body).text
    assert text.count("event: rewrite") == 1
    assert text.rstrip().rpartition("\n\n")[2].startswith("event: rewrite")
    assert generator_threads()  # which the fixture sees end


def test_what_the_model_does_not_do_is_refused_with_what_it_does(client: TestClient) -> None:
    refused = client.post("/v1/rewrite", json={"texts": ["w1"], "task": "split"})
    check_problem(refused, 422)
    assert "translate_en_es" in refused.json()["detail"]
    long = client.post("/v1/rewrite", json={"texts": ["w1 w2 " * 200], "task": "ask"})
    check_problem(long, 422)
    assert "the limit of ask is 80" in long.json()["detail"]


def test_a_generator_of_another_encoder_is_told_and_explanations_go_on(tmp_path: Path, folder: Path) -> None:
    other = tiny_encoder("f" * 64)
    settings = Settings(data_dir=tmp_path / "other", generator_path=folder)
    with (
        open_runtime(settings, other) as services,
        TestClient(make_app(services, settings), "http://127.0.0.1") as client,
    ):
        refused = client.post("/v1/rewrite", json={"texts": ["w1"], "task": "ask"})
        check_problem(refused, 503)
        assert "another encoder" in refused.json()["detail"]
        assert "generator" in client.get("/health/ready").json()["warnings"]
        assert not [one for one in client.get("/v1/models").json()["data"] if one["kind"] == "generator"]
    other.close()
