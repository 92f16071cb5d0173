"""Bodies with far too many items are refused by their number, before the items are read."""

from __future__ import annotations

from typing import Any

import pytest
from starlette.testclient import TestClient

BAD = 1.5  # no item may be this; it stands behind the last one that a call may have
QUERY = {"query": "q", "relevant": ["a"]}
EXAMPLE = {"text": "a", "label": "b"}


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "reason"),
    [
        (
            "PUT",
            "/v1/collections/news/judgements",
            {"judgements": [QUERY] * 10_000 + [BAD]},
            413,
            "10,001 judged",
        ),
        (
            "PUT",
            "/v1/collections/news/judgements",
            {"judgements": [{"query": "q", "relevant": [BAD] * 100_001}]},
            413,
            "100,001 judgements were sent",
        ),
        (
            "POST",
            "/v1/collections/news/search",
            {"queries": [{"text": "q"}] * 16 + [BAD]},
            422,
            "has 17 items",
        ),
        ("POST", "/v1/embeddings", {"model": "m", "input": ["a"] * 2048 + [BAD]}, 400, "2,049 inputs"),
        ("POST", "/v1/embeddings", {"model": "m", "input": [[1]] * 2048 + [BAD]}, 400, "2,049 inputs"),
        ("POST", "/embed", {"inputs": [[1]] * 2048 + [BAD]}, 422, "2,049 inputs"),
        ("POST", "/predict", {"inputs": [["a"]] * 2048 + [BAD]}, 422, "inputs has 2,049 items"),
        (
            "POST",
            "/v1/classify",
            {"inputs": ["a"], "examples": [EXAMPLE] * 10_000 + [BAD]},
            400,
            "has 10,001 items",
        ),
    ],
)
def test_too_many_items_are_counted_first(
    client: TestClient, news: str, method: str, path: str, body: Any, status: int, reason: str
) -> None:
    answer = client.request(method, path, json=body)
    assert (answer.status_code, reason in answer.text) == (status, True), answer.text[:500]
