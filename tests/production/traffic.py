"""What the tests send and ask over HTTP; the collection is called `c` unless another is named."""

from __future__ import annotations

from typing import Any

import httpx


def some_documents(number: int, size: int) -> list[dict[str, str]]:
    return [
        {"id": f"{number}-{i}", "text": f"Document {number}-{i} tells of topic {i}."} for i in range(size)
    ]


def create(http: httpx.Client, collection: str = "c") -> None:
    http.put(f"/v1/collections/{collection}", json={}).raise_for_status()


def post(http: httpx.Client, documents: list[dict[str, str]], collection: str = "c") -> dict[str, Any]:
    """The job of an accepted request."""
    answer = http.post(f"/v1/collections/{collection}/documents", json={"documents": documents})
    assert answer.status_code == 202, answer.text
    job: dict[str, Any] = answer.json()["job"]
    return job


def job_of(http: httpx.Client, job_id: str) -> dict[str, Any]:
    job: dict[str, Any] = http.get(f"/v1/jobs/{job_id}").raise_for_status().json()
    return job


def count(http: httpx.Client, collection: str = "c") -> dict[str, int]:
    documents: dict[str, int] = (
        http.get(f"/v1/collections/{collection}").raise_for_status().json()["documents"]
    )
    return documents


def search(http: httpx.Client, query: str, collection: str = "c", **more: Any) -> list[str]:
    """Ids of the hits."""
    answer = http.post(f"/v1/collections/{collection}/search", json={"query": query, "k": 20, **more})
    return [hit["id"] for hit in answer.raise_for_status().json()["hits"]]


def all_documents(http: httpx.Client, collection: str = "c") -> dict[str, str]:
    """Text of every document by id."""
    found: dict[str, str] = {}
    after: str | None = ""
    while after is not None:
        page = http.get(
            f"/v1/collections/{collection}/documents", params={"limit": 1000, "after": after}
        ).json()
        found |= {document["id"]: document["text"] for document in page["documents"]}
        after = page["next"]
    return found


def index_of(http: httpx.Client, collection: str = "c") -> dict[str, Any]:
    index: dict[str, Any] = http.get(f"/v1/collections/{collection}").raise_for_status().json()["index"]
    return index


def is_applied(http: httpx.Client, collection: str = "c") -> bool:
    """Whether the index of this API serves all that is committed."""
    index = index_of(http, collection)
    return bool(index["applied_seq"] == index["seq"])


def check_searchable(http: httpx.Client, documents: list[dict[str, str]], collection: str = "c") -> None:
    """Each of a few of them is found once by its own text."""
    for document in documents[:: max(1, len(documents) // 10)]:
        assert search(http, document["text"], collection).count(document["id"]) == 1
