"""The main job over HTTP: create, ingest, search, change, delete, classify."""

from __future__ import annotations

import gzip
import json
import threading

import pytest
from starlette.testclient import TestClient

from core import document_pages
from tests.fakes import FakeEncoder

CATS = {
    "id": "cats",
    "title": "Cats",
    "text": "The cat sat on the mat.",
    "metadata": {"year": 2026, "tags": ["a"]},
}
DOGS = {"id": "dogs", "text": "A dog barked at the postman all day."}


def add(client: TestClient, path: str, *documents: object) -> dict[str, object]:
    answer = client.post(f"{path}/documents?wait=true", json={"documents": list(documents)})
    assert answer.status_code == 200, answer.text
    return dict(answer.json()["job"])


def counts(searchable: int) -> dict[str, int]:
    """What the collection says of its documents when all are searchable."""
    by_state = {"searchable": searchable, "pending": 0, "failed": 0}
    return {"total": searchable, **by_state}


def found(client: TestClient, path: str, query: str) -> list[str]:
    answer = client.post(f"{path}/search", json={"query": query})
    assert answer.status_code == 200, answer.text
    return [hit["id"] for hit in answer.json()["hits"]]


def test_a_collection_is_created_once_and_described(client: TestClient) -> None:
    body = {"description": "d", "chunking": {"max_tokens": 128}, "attributes": {"year": "number"}}
    first = client.put("/v1/collections/news", json=body)
    again = client.put("/v1/collections/news", json=body)
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json()["chunking"] == {"max_tokens": 128, "overlap_tokens": 16}
    assert first.json()["documents"] == counts(0)
    assert client.get("/v1/collections").json()["collections"] == [again.json()]
    assert client.put("/v1/collections/news", json={"chunking": {"max_tokens": 64}}).status_code == 409


def test_what_is_added_is_found_with_its_passage(client: TestClient, news: str) -> None:
    job = add(client, news, CATS, DOGS)
    assert (job["state"], job["total"], job["done"], job["failed"]) == ("succeeded", 2, 2, 0)
    hit = client.post(f"{news}/search", json={"query": "cat on a mat"}).json()["hits"][0]
    assert (hit["id"], hit["title"], hit["metadata"]) == ("cats", "Cats", CATS["metadata"])
    assert hit["passage"] == {"text": CATS["text"], "start": 0, "end": len(str(CATS["text"]))}
    assert [hit["passage"]["text"][h["start"] : h["end"]] for h in hit["highlights"]] == ["cat", "mat"]
    assert {name: part["rank"] for name, part in hit["scores"].items()} == {"dense": 1, "lexical": 1}
    overview = client.get(news).json()
    assert overview["documents"] == counts(2)
    assert overview["index"]["applied_seq"] == overview["index"]["seq"] == job["seq"]


def test_the_answer_says_when_only_the_start_of_a_text_counted(client: TestClient, news: str) -> None:
    add(client, news, CATS)
    long = "cat " * 300  # the encoder reads 256 tokens
    for query, expected in (
        ("cat", False),
        (long, True),
        ("\N{CAT FACE}" * 400, True),
        ("c" * 30_000, False),
    ):
        answer = client.post(f"{news}/search", json={"query": query})
        assert (answer.status_code, answer.json()["truncated"]) == (200, expected)
    answer = client.post("/v1/classify", json={"texts": ["cat", long], "labels": ["cat", "dog"]})
    assert [result["truncated"] for result in answer.json()["results"]] == [False, True]


def test_the_same_document_again_is_not_encoded_again(
    client: TestClient, news: str, encoder: FakeEncoder
) -> None:
    add(client, news, CATS)
    encoded = len(encoder.encoded)
    add(client, news, CATS)
    add(client, news, {**CATS, "metadata": {"year": 2027}})
    assert len(encoder.encoded) == encoded
    hit = client.post(f"{news}/search", json={"query": "cat"}).json()["hits"][0]
    assert hit["metadata"] == {"year": 2027}


def test_a_changed_document_is_found_by_its_new_text_only_once(client: TestClient, news: str) -> None:
    add(client, news, CATS, DOGS)
    add(client, news, {"id": "cats", "text": "Quantum physics of the early universe."})
    assert found(client, news, "quantum universe") == ["cats", "dogs"]
    assert client.get(f"{news}/documents/cats").json()["text"].startswith("Quantum")


def test_an_update_that_waits_is_told_of_while_searches_see_the_old_version(
    client: TestClient, news: str, encoder: FakeEncoder
) -> None:
    add(client, news, CATS, DOGS)
    gate = threading.Event()
    encoder.refuse = lambda text: "Quantum" in text and not gate.wait(30)
    try:
        update = {"id": "cats", "text": "Quantum physics.", "metadata": {"year": 2027}}
        job = client.post(f"{news}/documents", json={"documents": [update]}).json()["job"]
        document = client.get(f"{news}/documents/cats").json()
        assert (document["state"], document["update_pending"]) == ("searchable", True)
        assert (document["text"], document["metadata"]) == ("Quantum physics.", {"year": 2027})
        collection = client.get(news).json()
        assert (collection["documents"], collection["updates_pending"]) == (counts(2), 1)
        listed = client.get(f"{news}/documents?update_pending=true").json()["documents"]
        assert [one["id"] for one in listed] == ["cats"]
        hit = client.post(f"{news}/search", json={"query": "cat mat"}).json()["hits"][0]
        assert (hit["passage"]["text"], hit["metadata"]["year"]) == (CATS["text"], 2026)
    finally:
        gate.set()
    with client.stream("GET", f"/v1/jobs/{job['id']}/events") as events:
        assert "succeeded" in "".join(events.iter_text())
    assert client.get(f"{news}/documents/cats").json()["update_pending"] is False
    assert client.get(news).json()["documents"] == counts(2)


def test_a_deleted_document_is_gone_at_once(client: TestClient, news: str) -> None:
    add(client, news, CATS, DOGS)
    assert client.delete(f"{news}/documents/cats").json()["deleted"] == 1
    assert found(client, news, "cat on a mat") == ["dogs"]
    assert client.get(f"{news}/documents/cats").status_code == 404
    assert client.delete(f"{news}/documents/cats").status_code == 404
    assert client.post(f"{news}/documents/delete", json={"ids": ["dogs", "none"]}).json()["deleted"] == 1
    assert client.get(news).json()["documents"]["total"] == 0


def test_ids_may_hold_slashes_and_any_script(client: TestClient, news: str) -> None:
    for document_id in ("a/b/c", "two\nlines", "ключ", "q?x=1#y", "100 %"):
        add(client, news, {"id": document_id, "text": "some text"})
        answer = client.get(f"{news}/documents/{_quoted(document_id)}")
        assert answer.json()["id"] == document_id


def _quoted(text: str) -> str:
    from urllib.parse import quote

    return quote(text, safe="")


def test_documents_are_listed_in_pages(client: TestClient, news: str) -> None:
    add(client, news, *({"id": f"{i:02}", "text": f"text {i}"} for i in range(5)))
    first = client.get(f"{news}/documents?limit=3").json()
    second = client.get(f"{news}/documents?limit=3&after={first['next']}").json()
    assert [d["id"] for page in (first, second) for d in page["documents"]] == ["00", "01", "02", "03", "04"]
    assert second["next"] is None
    assert client.get(f"{news}/documents?state=failed").json()["documents"] == []


def test_a_page_of_large_documents_is_shorter_and_goes_on(
    client: TestClient, news: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(document_pages, "PAGE_CHARACTERS", 1000)
    add(client, news, *({"id": f"{i}", "text": f"text {i} " * 100} for i in range(3)))
    first = client.get(f"{news}/documents").json()
    assert ([d["id"] for d in first["documents"]], first["next"]) == (["0", "1"], "1")
    rest = client.get(f"{news}/documents?after=1").json()
    assert ([d["id"] for d in rest["documents"]], rest["next"]) == (["2"], None)


def test_a_document_that_cannot_be_encoded_fails_alone_with_the_reason(client: TestClient, news: str) -> None:
    documents = [{"id": str(i), "text": f"text {i}"} for i in range(300)]
    documents[150]["text"] = "this is poison"
    job = add(client, news, *documents)
    assert (job["state"], job["done"], job["failed"]) == ("partial", 299, 1)
    assert [error["id"] for error in job["errors"]] == ["150"]  # type: ignore[attr-defined]  # JSON
    failed = client.get(f"{news}/documents?state=failed").json()["documents"]
    assert [(d["id"], "cannot be encoded" in d["reason"]) for d in failed] == [("150", True)]
    assert client.get(news).json()["documents"] == {
        "total": 300,
        "searchable": 299,
        "pending": 0,
        "failed": 1,
    }


def test_a_bad_item_is_listed_and_the_others_are_accepted(client: TestClient, news: str) -> None:
    job = add(client, news, CATS, {"id": "empty", "text": " "})
    assert (job["total"], job["done"], job["failed"]) == (2, 1, 1)
    assert job["errors"] == [
        {"id": "empty", "reason": "'text' is empty or white space; there is nothing to embed."}
    ]


def test_a_batch_of_searches_answers_each_in_order(client: TestClient, news: str) -> None:
    add(client, news, CATS, DOGS)
    searches = [{"query": "dog barked", "k": 1}, {"query": "cat mat", "k": 1}]
    results = client.post(f"{news}/search/batch", json={"searches": searches}).json()["results"]
    assert [[hit["id"] for hit in result["hits"]] for result in results] == [["dogs"], ["cats"]]


def test_min_seq_gives_read_your_writes(client: TestClient, news: str) -> None:
    job = add(client, news, CATS)
    answer = client.post(f"{news}/search", json={"query": "cat", "min_seq": job["seq"]})
    assert answer.json()["seq"] >= job["seq"]


def test_an_uploaded_file_is_imported_with_guessed_fields(client: TestClient, news: str) -> None:
    rows = "".join(
        json.dumps({"_id": str(i), "title": f"T{i}", "body": f"body {i}", "n": i}) + "\n" for i in range(1500)
    )
    answer = client.post(f"{news}/import", files={"file": ("rows.jsonl.gz", gzip.compress(rows.encode()))})
    assert answer.status_code == 202, answer.text
    job = answer.json()["job"]
    assert job["fields"]["id_field"] == "_id"
    assert set(job["fields"]["guessed"]) >= {"id_field", "text_field"}
    while not job["finished_at"]:
        job = client.get(f"/v1/jobs/{job['id']}").json()
    assert (job["state"], job["total"], job["done"]) == ("succeeded", 1500, 1500)
    assert client.get(f"{news}/documents/7").json()["metadata"] == {"n": 7}
    assert [listed["id"] for listed in client.get("/v1/jobs").json()["jobs"]] == [job["id"]]


def test_texts_are_classified_by_label_words_and_examples(client: TestClient) -> None:
    labels = ["cat", {"name": "canine", "description": "a dog", "examples": ["the dog barked"]}]
    results = client.post("/v1/classify", json={"texts": ["my dog barked", "cat"], "labels": labels}).json()[
        "results"
    ]
    assert [result["label"] for result in results] == ["canine", "cat"]
    assert abs(sum(results[0]["scores"].values()) - 1) < 1e-5
    assert results[0]["score"] == max(results[0]["scores"].values())


def test_a_collection_deleted_is_gone_and_its_name_is_free(client: TestClient, news: str) -> None:
    add(client, news, CATS)
    assert client.delete(news).status_code == 204
    assert client.post(f"{news}/search", json={"query": "cat"}).status_code == 404
    assert client.put(news, json={}).status_code == 201
    assert found(client, news, "cat") == []


def test_operations_routes_tell_how_the_service_is(client: TestClient) -> None:
    assert client.get("/health/live").json() == {"status": "alive"}
    assert client.get("/health/ready").json() == {"status": "ready", "checks": {}, "warnings": {}}
    assert client.get("/version").json()["encoder"]["id"] == "fake"
    metrics = client.get("/metrics").text
    assert 'cognate_http_requests_total{method="GET",route="/version",status="200"} 1.0' in metrics
    assert "cognate_queued_batches 0.0" in metrics
    assert client.get("/docs").status_code == 200
