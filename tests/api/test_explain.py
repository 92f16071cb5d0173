"""Explanations over HTTP."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from cognate.bootstrap import open_runtime
from cognate.server import make_app
from cognate.settings import Precision, Settings
from core.reasons import source_of
from encoder.config import Pooling
from tests.api import classifying
from tests.encoder.fakes import tiny_config
from tests.encoder.training.tiny import save_tiny_model
from tests.fakes import FakeGenerator

TEXT = "The cat sat on the mat. A dog barked."
TOLD = "The cat sat on the mat."
QUERY = "a cat sat"
WRITTEN = "The passage says that the cat sat on the mat."


@pytest.fixture
def generator() -> FakeGenerator:
    return FakeGenerator({source_of(QUERY, TOLD): ["Felix sat near Bob.", WRITTEN]})


@pytest.fixture
def filled(client: TestClient, news: str) -> str:
    documents = [{"id": "a", "title": "Pets", "text": TEXT}, {"id": "b", "text": "Nothing of the kind."}]
    assert client.post(f"{news}/documents?wait=true", json={"documents": documents}).status_code == 200
    return news


def test_a_search_explains_its_hits_so_that_they_add_up(client: TestClient, filled: str) -> None:
    hits = client.post(f"{filled}/search", json={"query": "a cat sat", "explain": True}).json()["hits"]
    assert hits
    for hit in hits:
        for level in ("tokens", "words", "sentences", "query_tokens"):
            total = sum(c["contribution"] for c in hit["explanation"][level])
            assert total == pytest.approx(hit["scores"]["dense"]["score"], abs=1e-4)
    words = [hits[0]["passage"]["text"][h["start"] : h["end"]] for h in hits[0]["highlights"]]
    assert words == ["cat"] or words == ["cat", "sat"]
    assert hits[0]["explanation"]["sentence"]["text"] == "The cat sat on the mat"


def test_a_document_is_explained_by_its_best_passage(client: TestClient, filled: str) -> None:
    answer = client.post(
        "/v1/explain", json={"query": "cat", "collection": "news", "id": "a", "matrix": True}
    )
    body = answer.json()
    hit = client.post(f"{filled}/search", json={"query": "cat", "mode": "dense"}).json()["hits"][0]
    assert body["score"] == pytest.approx(hit["score"], abs=1e-3)
    assert body["passage"] == {"text": TEXT, "start": 0, "end": len(TEXT)}
    assert sum(sum(row) for row in body["matrix"]) == pytest.approx(body["score"], abs=1e-4)


def test_two_texts_are_explained_without_a_collection(client: TestClient) -> None:
    body = client.post("/v1/explain", json={"query": "cat", "text": TEXT}).json()
    best = max(body["words"], key=lambda word: word["contribution"])
    assert (best["text"], best["start"], best["end"]) == ("cat", 4, 7)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"query": "x"}, 422),
        ({"query": "x", "text": "t", "id": "a"}, 422),
        ({"query": "x", "collection": "news"}, 422),
        ({"query": "x", "collection": "news", "id": "none"}, 404),
        ({"query": "x", "collection": "none", "id": "a"}, 404),
        ({"query": " ", "text": "t"}, 422),
        ({"query": "x", "text": ""}, 422),
        ({"query": "x\x00", "text": "t"}, 422),
        ({"query": "x", "text": "t", "title": "t" * 4097}, 422),
        ({"query": "x" * 32_769, "collection": "news", "id": "a"}, 422),
        ({"query": "x", "text": "t", "metrics": 1}, 422),
        ({"text": "t"}, 422),
        ({"query": "x", "text": "t", "labels": ["a", "b"]}, 422),
        ({"text": "t", "labels": ["a"]}, 422),
        ({"text": "t", "labels": ["a", "b"], "label": "c"}, 422),
        ({"text": "t", "labels": ["a", "b"], "classifier": "c"}, 422),
        ({"text": "t", "labels": ["a", "b"], "matrix": True}, 422),
        ({"text": "", "labels": ["a", "b"]}, 422),
        ({"text": "t", "classifier": "none"}, 404),
        ({"query": "x", "collection": "news", "id": "a", "title": "T"}, 422),
    ],
)
def test_bad_explanations_are_refused(client: TestClient, filled: str, body: object, status: int) -> None:
    answer = client.post("/v1/explain", json=body)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"


def test_a_text_longer_than_the_encoder_reads_is_said_to_be_cut(client: TestClient) -> None:
    answers = [
        client.post("/v1/explain", json={"query": "cat", "text": text}) for text in ("a cat", "cat " * 300)
    ]
    assert [answer.json()["truncated"] for answer in answers] == [False, True]


def test_an_encoder_that_takes_the_state_of_cls_has_no_exact_contributions_and_says_so(
    tmp_path: Path,
) -> None:
    folder = save_tiny_model(tmp_path / "cls", tiny_config(pooling=Pooling.CLS))
    settings = Settings(data_dir=tmp_path / "data", encoder_path=folder, precision=Precision.F32, threads=1)
    app_of = open_runtime(settings)
    with app_of as services, TestClient(make_app(services, settings), "http://127.0.0.1") as client:
        client.put("/v1/collections/news", json={"chunking": {"max_tokens": 16, "overlap_tokens": 2}})
        documents = {"documents": [{"id": "a", "text": "w1 w2 w3"}]}
        client.post("/v1/collections/news/documents?wait=true", json=documents)
        search = "/v1/collections/news/search"
        assert client.post(search, json={"query": "w2"}).json()["hits"][0]["id"] == "a"
        for path, body in (
            ("/v1/explain", {"query": "w2", "text": "w1 w2"}),
            ("/v1/explain", {"query": "w2", "collection": "news", "id": "a"}),
            (search, {"query": "w2", "explain": True}),
        ):
            answer = client.post(path, json=body)
            assert answer.status_code == 422
            assert "exact contributions are not available" in answer.json()["detail"]
        assert client.get("/info").json()["model_type"] == {"embedding": {"pooling": "cls"}}


def test_explaining_too_many_hits_is_refused(client: TestClient, filled: str) -> None:
    answer = client.post(f"{filled}/search", json={"query": "x", "k": 101, "explain": True})
    assert answer.status_code == 422
    assert "1 to 100" in answer.json()["detail"]


def explained(client: TestClient, **body: Any) -> Any:
    answer = client.post("/v1/explain", json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_the_sentence_is_extracted_unless_it_is_to_be_generated(client: TestClient, filled: str) -> None:
    for target in ({"collection": "news", "id": "a"}, {"text": TEXT}):
        why = explained(client, query=QUERY, **target)["why"]
        assert why == {
            "text": TOLD, "kind": "extracted", "verification": "extractive",
            "span": {"start": 0, "end": len(TOLD)},
        }  # fmt: skip
        why = explained(client, query=QUERY, **target, generate=True)["why"]
        assert (why["text"], why["kind"], why["verification"]) == (WRITTEN, "generated", "passed")
        assert why["similarity"] >= 0.5


def test_a_sentence_that_fails_is_not_shown(client: TestClient, generator: FakeGenerator) -> None:
    generator.written = {source_of(QUERY, TOLD): ["The cat sat on the mat of Bob."]}
    why = explained(client, query=QUERY, text=TEXT, generate=True)["why"]
    assert (why["text"], why["kind"], why["verification"]) == (TOLD, "extracted", "name")
    assert why["refused"] == "it has the name 'Bob', which the texts have not"


def test_a_hit_tells_its_scores_in_the_search(client: TestClient, filled: str) -> None:
    scores = explained(client, query=QUERY, collection="news", id="a")["scores"]
    hit = client.post(f"{filled}/search", json={"query": QUERY}).json()["hits"][0]
    assert scores == {"score": hit["score"], "rank": 1, **hit["scores"]}
    assert "scores" not in explained(client, query=QUERY, text=TEXT)


def test_a_label_without_training_is_explained_by_its_words(client: TestClient) -> None:
    body = explained(client, text=TEXT, labels=["cat", {"name": "stocks"}])
    assert body["label"] == "cat"
    assert sum(token["contribution"] for token in body["tokens"]) == pytest.approx(body["score"], abs=1e-4)
    best = max(body["tokens"], key=lambda token: token["contribution"])
    assert (best["text"], body["why"]["text"], body["why"]["kind"]) == ("cat", TOLD, "extracted")
    other = explained(client, text=TEXT, labels=["cat", "stocks"], label="stocks")
    assert other["label"] == "stocks"
    assert other["probability"] < body["probability"]


def test_a_classifier_whose_head_adds_nothing_up_says_so(client: TestClient) -> None:
    classifying.train(client, options={"head": "neighbours"})
    body = explained(client, text="The cat and the dog ran.", classifier="topics")
    assert (body["label"], body["tokens"], body["bias"]) == ("animals", [], None)
    assert "not available" in body["note"]
    assert body["why"]["text"] == "The cat and the dog ran."


def test_a_label_of_a_classifier_is_explained_by_what_its_head_adds_up(
    client: TestClient, generator: FakeGenerator
) -> None:
    classifying.train(client)
    text = "The cat and the dog ran. Then there was rain."
    body = explained(client, text=text, classifier="topics")
    assert body["label"] == "animals"
    total = sum(token["contribution"] for token in body["tokens"]) + body["bias"]
    assert total == pytest.approx(body["score"], abs=1e-3)
    assert "note" not in body
    assert body["why"]["text"] == "The cat and the dog ran."
    told = source_of("The text is about animals.", "The cat and the dog ran.")
    generator.written = {told: ["The passage says that the cat and the dog ran."]}
    why = explained(client, text=text, classifier="topics", generate=True)["why"]
    assert (why["kind"], why["text"]) == ("generated", "The passage says that the cat and the dog ran.")
