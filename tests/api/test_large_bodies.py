"""Bodies with far too many items are refused by their number, before the items are read."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from starlette.testclient import TestClient

from api.bodies import JudgedQueryBody
from api.json_body import PIECE_BYTES, parse
from core.filters import parse_filter

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
        ("POST", "/rerank", {"query": "q", "texts": ["a"] * 10_000 + [BAD]}, 422, "10,001 texts"),
        ("POST", "/v2/rerank", {"query": "q", "documents": ["a"] * 10_000 + [BAD]}, 400, "10,001 documents"),
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


@pytest.mark.parametrize("before", [0, PIECE_BYTES - 10, PIECE_BYTES - 1, 3 * PIECE_BYTES - 19])
def test_an_integer_beyond_64_bits_is_found_wherever_it_stands(before: int) -> None:
    """Also where two of the pieces meet in which a large body is looked at."""
    start = b'{"a":"'
    body = start + b"x" * (before - len(start)) + b'","n":%d,"z":0}' % 2**64
    assert parse(body)["n"] == 2**64


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "documents/delete", {"filter": {"field": "year", "in": [1, 2]}}),
        ("POST", "search", {"query": "q" * 70_000, "filter": {"field": "year", "in": [1, 2]}}),
        ("PUT", "judgements", {"judgements": [QUERY]}),
    ],
)
def test_what_may_have_very_many_items_is_read_off_the_event_loop(
    client: TestClient, news: str, method: str, path: str, body: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    found: list[bool] = []

    def noting(read: Any) -> Any:
        def noted(*given: Any) -> Any:
            found.append(asyncio.events._get_running_loop() is not None)
            return read(*given)

        return noted

    for module in ("api.bodies", "api.routes.documents"):
        monkeypatch.setattr(f"{module}.parse_filter", noting(parse_filter))
    monkeypatch.setattr(JudgedQueryBody, "sent", noting(JudgedQueryBody.sent))
    client.request(method, f"{news}/{path}", json=body)
    assert found == [False]
