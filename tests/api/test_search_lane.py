"""The short way of a plain search answers as the route behind it does, and refuses nothing itself."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
from contextvars import ContextVar
from typing import Any

import pytest
from starlette.testclient import TestClient

from api import search_lane
from api.json_body import PARSE_IN_THREAD_FROM_BYTES
from api.routes.search import answered
from api.threads import Searchers
from core.errors import Overloaded
from core.services import Services
from tests.api.serving import served
from tests.fakes import FakeEncoder

PLAIN = "application/json"
BY_ROUTE = "application/json; charset=utf-8"  # the short way looks for the plain type alone


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The collections that were searched on the short way."""
    names: list[str] = []

    def noted(services: Any, metrics: Any, name: str, request: Any, started: float) -> bytes:
        names.append(name)
        return answered(services, metrics, name, request, started)

    monkeypatch.setattr(search_lane, "answered", noted)
    return names


@pytest.fixture
def filled(client: TestClient, news: str) -> str:
    documents = [{"id": str(i), "text": f"text {i} of many", "metadata": {"n": i}} for i in range(12)]
    assert client.post(f"{news}/documents?wait=true", json={"documents": documents}).status_code == 200
    return f"{news}/search"


def asked(client: TestClient, path: str, body: bytes, kind: str) -> tuple[int, Any, set[str]]:
    answer = client.post(path, content=body, headers={"Content-Type": kind})
    content = answer.json()
    content.pop("took_ms", None)
    content.pop("request_id", None)
    return answer.status_code, content, set(answer.headers)


@pytest.mark.parametrize(
    "body",
    [
        b'{"query": "text 3"}',
        b'{"query": "many", "mode": "lexical", "k": 3, "offset": 2, "facets": ["n"]}',
        b'{"query": "many", "filter": {"field": "n", "lt": 4}, "highlight": false}',
        b'{"like": ["3"], "k": 2}',
        b'{"queries": [{"text": "many"}, {"text": "3", "weight": -0.5}]}',
        b'{"query": "text 3", "explain": true}',
    ],
)
def test_both_ways_answer_the_same(client: TestClient, filled: str, taken: list[str], body: bytes) -> None:
    short = asked(client, filled, body, PLAIN)
    assert taken == ["news"]
    assert asked(client, filled, body, BY_ROUTE) == short
    assert taken == ["news"]
    assert short[0] == 200
    assert short[1]["hits"]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 422),
        (b"{", 400),
        (b"[]", 422),
        (b"\xff", 400),
        (b'{"query": 3}', 422),
        (b'{"query": "x", "kk": 3}', 422),
        (b'{"query": "x", "k": 0}', 422),
        (b'{"query": "x", "k": 99999999999999999999}', 422),
        (b'{"query": "x", "filter": {"field": "nowhere", "eq": 1}}', 422),
        (b'{"query": "x", "filter": {"no": "filter"}}', 422),
        (b'{"query": "x", "score_threshold": NaN}', 422),
        (b'{"query": "x", "min_seq": 999}', 422),
    ],
)
def test_both_ways_refuse_the_same(client: TestClient, filled: str, body: bytes, status: int) -> None:
    short = asked(client, filled, body, PLAIN)
    assert asked(client, filled, body, BY_ROUTE) == short
    assert short[0] == status


def test_an_unknown_collection_is_not_found_on_either_way(client: TestClient) -> None:
    path = "/v1/collections/nowhere/search"
    short = asked(client, path, b'{"query": "x"}', PLAIN)
    assert short == asked(client, path, b'{"query": "x"}', BY_ROUTE)
    assert short[0] == 404


def test_what_is_not_plain_goes_the_long_way(client: TestClient, filled: str, taken: list[str]) -> None:
    assert client.post(f"{filled}?x=1", json={"query": "x"}).status_code == 422
    assert client.get(filled).status_code == 405
    long = {"query": "x" * PARSE_IN_THREAD_FROM_BYTES}
    assert client.post(filled, json=long).status_code == 422
    assert client.post(filled, content=b'{"query": "x"}').status_code == 415
    assert not taken


def test_an_escaped_name_is_the_same_name(client: TestClient, filled: str, taken: list[str]) -> None:
    escaped = filled.replace("news", "ne%77s")
    assert asked(client, escaped, b'{"query": "text 3"}', PLAIN) == asked(
        client, filled, b'{"query": "text 3"}', BY_ROUTE
    )
    assert taken == ["news"]
    assert client.post(filled.replace("news", "ne%2Fws"), json={"query": "x"}).status_code == 404
    assert taken == ["news"]


@pytest.mark.parametrize("kind", [PLAIN, BY_ROUTE])
def test_an_overload_is_told_with_when_to_come_back(
    client: TestClient, filled: str, encoder: FakeEncoder, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    def refuse(*_: object) -> None:
        raise Overloaded("full", 3.0)

    monkeypatch.setattr(encoder, "encode_queries", refuse)
    headers = {"Content-Type": kind, "X-Request-ID": "mine-1"}
    answer = client.post(filled, content=b'{"query": "x"}', headers=headers)
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "3")
    assert answer.json()["request_id"] == answer.headers["x-request-id"] == "mine-1"


def test_keys_guard_the_short_way_too(services: Services, taken: list[str]) -> None:
    with served(services, api_keys="first") as client:
        key = {"Authorization": "Bearer first"}
        assert client.put("/v1/collections/news", json={}, headers=key).status_code == 201
        path, body = "/v1/collections/news/search", {"query": "x"}
        assert client.post(path, json=body).status_code == 401
        assert not taken
        assert client.post(path, json=body, headers=key).status_code == 200
    assert taken == ["news"]


def test_both_ways_are_counted_as_one_route(client: TestClient, filled: str) -> None:
    for kind in (PLAIN, BY_ROUTE):
        assert asked(client, filled, b'{"query": "x"}', kind)[0] == 200
    counted = (
        'cognate_http_requests_total{method="POST",route="/v1/collections/{name}/search",status="200"} 2.0'
    )
    assert counted in client.get("/metrics").text


def test_a_search_keeps_its_context_and_its_error() -> None:
    place: ContextVar[str] = ContextVar("place")

    def fail() -> str:
        raise LookupError(place.get())

    async def ask() -> list[Any]:
        searchers = Searchers()
        place.set("here")
        answers = [await searchers.run(place.get, may_wait=False) for _ in range(3)]
        errors = await asyncio.gather(searchers.run(fail, may_wait=False), return_exceptions=True)
        return [*answers, *errors]

    *answers, error = asyncio.run(ask())
    assert answers == ["here"] * 3
    assert isinstance(error, LookupError)
    assert error.args == ("here",)


def test_a_search_that_no_future_takes_the_error_of_fails_all_the_same() -> None:
    async def ask() -> Any:
        return await asyncio.wait_for(Searchers().run(lambda: next(iter(())), may_wait=False), 10)

    with pytest.raises(RuntimeError, match="StopIteration"):
        asyncio.run(ask())


def test_threads_of_searches_end_when_closed_and_start_again() -> None:
    async def ask() -> set[threading.Thread]:
        before = set(threading.enumerate())
        assert await searchers.run(lambda: 3, may_wait=False) == 3
        return set(threading.enumerate()) - before

    searchers = Searchers()
    for _ in range(2):
        started = asyncio.run(ask())
        assert started
        searchers.close()
        for thread in started:
            thread.join(10)
            assert not thread.is_alive()
    searchers.close()


def test_threads_of_searches_end_with_who_started_them() -> None:
    before = set(threading.enumerate())
    searchers = Searchers()
    assert asyncio.run(searchers.run(lambda: 3, may_wait=False)) == 3
    started = set(threading.enumerate()) - before
    assert started
    del searchers
    gc.collect()
    deadline = time.monotonic() + 10
    while any(thread.is_alive() for thread in started) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not any(thread.is_alive() for thread in started)
