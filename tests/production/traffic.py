"""What the tests send and ask over HTTP; the collection is always `c`."""

from __future__ import annotations

from typing import Any

import httpx


def some_documents(number: int, size: int) -> list[dict[str, str]]:
    return [
        {"id": f"{number}-{i}", "text": f"Document {number}-{i} tells of topic {i}."} for i in range(size)
    ]


def post(http: httpx.Client, documents: list[dict[str, str]]) -> dict[str, Any]:
    """The job of an accepted request."""
    answer = http.post("/v1/collections/c/documents", json={"documents": documents})
    assert answer.status_code == 202, answer.text
    job: dict[str, Any] = answer.json()["job"]
    return job


def job_of(http: httpx.Client, job_id: str) -> dict[str, Any]:
    job: dict[str, Any] = http.get(f"/v1/jobs/{job_id}").raise_for_status().json()
    return job


def count(http: httpx.Client) -> dict[str, int]:
    documents: dict[str, int] = http.get("/v1/collections/c").raise_for_status().json()["documents"]
    return documents


def search(http: httpx.Client, query: str, **more: Any) -> list[str]:
    """Ids of the hits."""
    answer = http.post("/v1/collections/c/search", json={"query": query, "k": 20, **more})
    return [hit["id"] for hit in answer.raise_for_status().json()["hits"]]


def all_documents(http: httpx.Client) -> dict[str, str]:
    """Text of every document by id."""
    found: dict[str, str] = {}
    after: str | None = ""
    while after is not None:
        page = http.get("/v1/collections/c/documents", params={"limit": 1000, "after": after}).json()
        found |= {document["id"]: document["text"] for document in page["documents"]}
        after = page["next"]
    return found


def check_searchable(http: httpx.Client, documents: list[dict[str, str]]) -> None:
    """Each of a few of them is found once by its own text."""
    for document in documents[:: max(1, len(documents) // 10)]:
        assert search(http, document["text"]).count(document["id"]) == 1
