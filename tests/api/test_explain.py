"""Explanations over HTTP."""

from __future__ import annotations

import pytest
from starlette.testclient import TestClient

TEXT = "The cat sat on the mat. A dog barked."


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
        ({"query": "x", "text": "t", "metrics": 1}, 422),
    ],
)
def test_bad_explanations_are_refused(client: TestClient, filled: str, body: object, status: int) -> None:
    answer = client.post("/v1/explain", json=body)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"


def test_explaining_too_many_hits_is_refused(client: TestClient, filled: str) -> None:
    answer = client.post(f"{filled}/search", json={"query": "x", "k": 101, "explain": True})
    assert answer.status_code == 422
    assert "1 to 100" in answer.json()["detail"]
