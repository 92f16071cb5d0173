"""Reranking over HTTP: Cohere's clients unmodified on a real socket, Jina's and TEI's JSON, bad input."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cohere
import httpx
import pytest
from cohere.core.api_error import ApiError
from starlette.testclient import TestClient

from cognate.bootstrap import open_runtime
from cognate.server import ServerThread, bind, make_app, url_of
from cognate.settings import Settings
from core.errors import CheckpointError
from core.services import Services
from tests.api.serving import served
from tests.fakes import FakeEncoder

DOCUMENTS = ["stock prices fell", "a cat on a mat", "the dog and the cat", "nothing at all"]
LONG = "word " * 5000
MODEL = "fake-rerank"


@pytest.fixture
def url(services: Services, settings: Settings) -> Iterator[str]:
    """A server on a real socket."""
    listener = bind(Settings(port=0))
    server = ServerThread(make_app(services, settings), listener)
    server.start()
    yield url_of(listener)
    server.stop()


@pytest.fixture
def v1(url: str) -> Iterator[cohere.Client]:
    with cohere.Client("none", base_url=url, timeout=60) as client:
        yield client


@pytest.fixture
def v2(url: str) -> Iterator[cohere.ClientV2]:
    with httpx.Client(timeout=60) as connections:
        yield cohere.ClientV2("none", base_url=url, httpx_client=connections)


def test_the_official_client_of_version_1_reranks(v1: cohere.Client) -> None:
    answer = v1.rerank(query="the cat", documents=DOCUMENTS, top_n=2, return_documents=True)
    assert [item.index for item in answer.results] == [2, 1]
    assert [item.document.text for item in answer.results if item.document] == [DOCUMENTS[2], DOCUMENTS[1]]
    scores = [item.relevance_score for item in answer.results]
    assert 1 >= scores[0] > scores[1] >= 0
    assert answer.id
    assert answer.meta is not None
    assert answer.meta.api_version is not None
    assert answer.meta.api_version.version == "1"
    assert answer.meta.billed_units is not None
    assert answer.meta.billed_units.search_units == 1
    assert answer.meta.warnings is None


def test_the_official_client_of_version_2_reranks(v2: cohere.ClientV2) -> None:
    answer = v2.rerank(model=MODEL, query="the cat", documents=DOCUMENTS)
    assert sorted(item.index for item in answer.results) == [0, 1, 2, 3]
    assert answer.results[0].index == 2
    assert answer.meta is not None
    assert answer.meta.api_version is not None
    assert answer.meta.api_version.version == "2"


def test_documents_may_be_objects_of_which_fields_are_read(v1: cohere.Client) -> None:
    documents: list[dict[str, str]] = [
        {"title": "animals", "text": "a cat", "year": "2020"},
        {"title": "the cat", "text": "stock prices", "year": "2021"},
    ]
    by_text = v1.rerank(query="cat", documents=documents, return_documents=True)
    assert [item.index for item in by_text.results] == [0, 1]
    assert by_text.results[0].document is not None
    assert by_text.results[0].document.model_dump() == documents[0]
    by_title = v1.rerank(query="cat", documents=documents, rank_fields=["title"])
    assert [item.index for item in by_title.results] == [1, 0]
    with pytest.raises(
        cohere.BadRequestError, match=r"documents.0. needs a string in 'text'; it has 'title'"
    ):
        v1.rerank(query="cat", documents=[{"title": "x"}])


def test_long_documents_count_by_their_best_chunk_and_say_what_was_not_read(
    v1: cohere.Client, v2: cohere.ClientV2
) -> None:
    hidden = "word " * 1000 + "the cat sat here " * 30
    answer = v2.rerank(model=MODEL, query="the cat", documents=["a dog", hidden])
    assert answer.results[0].index == 1
    short = v2.rerank(model=MODEL, query="the cat", documents=["a dog", hidden], max_tokens_per_doc=100)
    assert short.meta is not None
    assert short.meta.warnings == ["Only the start was read of 1 documents: 1."]
    one_chunk = v1.rerank(query="the cat", documents=["a dog", hidden], max_chunks_per_doc=1)
    assert one_chunk.meta is not None
    assert one_chunk.meta.warnings is not None


def test_unicode_of_all_kinds_is_ranked(v2: cohere.ClientV2) -> None:
    documents = ["👩‍🚀 in space", "日本語の文書", "", "مرحبا", "\u200b", "e\u0301" * 2000]
    answer = v2.rerank(model=MODEL, query="👩‍🚀", documents=documents)
    assert sorted(item.index for item in answer.results) == list(range(6))


def test_top_n_beyond_the_documents_gives_them_all(v1: cohere.Client) -> None:
    assert len(v1.rerank(query="cat", documents=DOCUMENTS, top_n=100).results) == len(DOCUMENTS)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"query": ""}, "'query' is empty"),
        ({"query": "a\x00"}, "NUL"),
        ({"query": "q" * 40_000}, "the limit is 32,768"),
        ({"documents": []}, "0 documents were sent; 1 to 10,000 fit"),
        ({"documents": ["x"] * 10_001}, "10,001 documents were sent; 1 to 10,000 fit"),
        ({"documents": ["x", 5]}, "documents.1"),
        ({"documents": [None]}, "documents.0"),
        ({"documents": "x"}, "documents"),
        ({"top_n": 0}, "top_n is 0; it must be 1 or more"),
        ({"top_n": -1}, "top_n is -1"),
        ({"max_chunks_per_doc": 0}, "max_chunks_per_doc is 0"),
        ({"rank_fields": [], "documents": [{"text": "x"}]}, "needs a string in rank_fields"),
        ({"rank_fields": ["year"], "documents": [{"year": 5}]}, "needs a string in 'year'; it has none"),
        ({"typo": 1}, "is not a known field"),
    ],
)
def test_bad_requests_are_bad_requests_in_both_shapes(
    client: TestClient, arguments: dict[str, Any], reason: str
) -> None:
    for path in ("/v1/rerank", "/v2/rerank"):
        body = {"query": "cat", "documents": DOCUMENTS} | arguments
        answer = client.post(path, json=body)
        assert answer.status_code == 400
        assert reason in answer.json()["message"]
        assert answer.json()["detail"] == answer.json()["message"]


def test_errors_reach_the_official_client(v1: cohere.Client, v2: cohere.ClientV2) -> None:
    calls: list[tuple[Callable[[], object], int]] = [
        (lambda: v1.rerank(query="", documents=DOCUMENTS), 400),
        (lambda: v1.rerank(query="x", documents=DOCUMENTS, model="rerank-v3.5"), 404),
        (lambda: v2.rerank(query="x", documents=[], model=MODEL), 400),
        (lambda: v2.rerank(query="x", documents=["x"] * 10_001, model=MODEL), 400),
    ]
    for call, status in calls:
        with pytest.raises(ApiError) as error:
            call()
        assert error.value.status_code == status
        assert set(error.value.body) == {"message", "detail"}


def test_jinas_shape(client: TestClient) -> None:
    body = {
        "model": MODEL,
        "query": "the cat",
        "documents": [{"text": text} for text in DOCUMENTS],
        "top_n": 1,
        "return_documents": True,
    }
    answer = client.post("/v1/rerank", json=body).json()
    (result,) = answer["results"]
    assert set(result) == {"index", "relevance_score", "document"}
    assert (result["index"], result["document"]) == (2, {"text": DOCUMENTS[2]})
    assert answer["model"] == MODEL
    assert answer["usage"]["total_tokens"] == 2 + sum(len(text.split()) for text in DOCUMENTS)
    without = client.post("/v1/rerank", json=body | {"return_documents": False}).json()
    assert "document" not in without["results"][0]


def test_broken_json_and_a_missing_key_have_the_shape_of_the_dialect(
    services: Services, client: TestClient
) -> None:
    broken = client.post("/v2/rerank", content=b"{", headers={"Content-Type": "application/json"})
    assert (broken.status_code, set(broken.json())) == (400, {"message", "detail"})
    with served(services, api_keys="secret") as closed:
        refused = closed.post("/v1/rerank", json={"query": "x", "documents": ["x"]})
    assert (refused.status_code, set(refused.json())) == (401, {"message", "detail"})


def test_tei_reranks_with_scores_of_both_kinds(client: TestClient) -> None:
    body = {"query": "the cat", "texts": DOCUMENTS}
    results = client.post("/rerank", json=body).json()
    assert [set(result) for result in results] == [{"index", "score"}] * 4
    assert results[0]["index"] == 2
    scores = [result["score"] for result in results]
    assert scores == sorted(scores, reverse=True)
    raw = client.post("/rerank", json=body | {"raw_scores": True, "return_text": True}).json()
    assert [result["text"] for result in raw] == [DOCUMENTS[result["index"]] for result in raw]
    for mapped, cosine in zip(scores, (result["score"] for result in raw), strict=True):
        assert mapped == pytest.approx((1 + cosine) / 2, abs=1e-6)


def test_tei_refuses_long_texts_or_says_which_it_cut(client: TestClient) -> None:
    body = {"query": "cat", "texts": ["a cat", LONG]}
    refused = client.post("/rerank", json=body)
    assert refused.status_code == 413
    assert refused.json()["error_type"] == "Validation"
    assert "Text 1 has 5,000 tokens; beside this query 254 are read" in refused.json()["error"]
    cut = client.post("/rerank", json=body | {"truncate": True})
    assert cut.status_code == 200
    assert (cut.headers["x-truncated-inputs"], cut.headers["x-truncated-count"]) == ("1", "1")


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"query": "x", "texts": []},
        {"query": "", "texts": ["x"]},
        {"query": "x", "texts": [1]},
        {"query": "x", "texts": ["x"], "truncation_direction": "Left"},
        {"query": "x", "texts": ["x"] * 10_001},
    ],
)
def test_bad_tei_requests_are_validation_errors(client: TestClient, body: dict[str, Any]) -> None:
    answer = client.post("/rerank", json=body)
    assert answer.status_code == 422
    assert answer.json()["error_type"] == "Validation"


@pytest.mark.parametrize(
    ("texts", "told"),
    [([], "0 texts were sent"), (["x"] * 10_001, "10,001 texts were sent"), (["x", "a\0"], "text 1 ")],
)
def test_tei_is_told_of_the_texts_it_sent(client: TestClient, texts: list[str], told: str) -> None:
    error = client.post("/rerank", json={"query": "x", "texts": texts}).json()["error"]
    assert told in error
    assert "document" not in error.lower()


def test_the_models_say_that_the_encoder_reranks(client: TestClient) -> None:
    encoder, reranker, *_ = client.get("/v1/models").json()["data"]
    assert encoder["kind"] == "encoder"
    assert (reranker["kind"], reranker["architecture"]) == ("reranker", "bi-encoder")
    assert client.get(f"/v1/models/{MODEL}").json() == reranker


@pytest.mark.integration
def test_a_cross_encoder_of_the_settings_reranks(tmp_path: Path) -> None:
    from tests.encoder.test_cross_encoder import cross_folder  # the reference implementation loads slowly

    folder, _ = cross_folder(tmp_path / "cross", "bert")
    settings = Settings(data_dir=tmp_path / "data", reranker_path=folder, threads=1)
    with open_runtime(settings, FakeEncoder()) as services:
        client = TestClient(make_app(services, settings), "http://127.0.0.1")
        model = client.get("/v1/models").json()["data"][1]
        assert (model["id"], model["architecture"]) == ("cross", "cross-encoder")
        body = {"query": "w1 w2", "texts": ["w3", "w1 w2", "w30 w31"]}
        logits = {
            r["index"]: r["score"] for r in client.post("/rerank", json=body | {"raw_scores": True}).json()
        }
        reranker = services.rerank.reranker
        assert reranker.info.fingerprint == model["fingerprint"]
        scores = client.post("/rerank", json=body).json()
        assert scores[0]["index"] == max(logits, key=logits.__getitem__)
        assert all(0 < result["score"] < 1 for result in scores)


def test_a_reranker_folder_that_is_none_stops_the_start(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path / "data", reranker_path=tmp_path / "nowhere")
    with (
        pytest.raises(CheckpointError, match=r"reranker folder .* does not exist"),
        open_runtime(settings, FakeEncoder()),
    ):
        pass


@pytest.mark.parametrize("version", ["v1", "v2"])
@pytest.mark.parametrize("odd", ['"\\ud800"', "1" + "0" * 26])
def test_a_document_that_cannot_come_back_is_refused(client: TestClient, version: str, odd: str) -> None:
    content = f'{{"query": "a", "return_documents": true, "documents": [{{"text": "a", "x": {odd}}}]}}'
    answer = client.post(f"/{version}/rerank", content=content, headers={"Content-Type": "application/json"})
    assert 400 <= answer.status_code < 500, answer.text
