"""Scripts of web pages of other origins: what browsers ask, and what they are told."""

from __future__ import annotations

import pytest
from starlette.testclient import TestClient

from cognate.server import bind
from cognate.settings import Settings
from core.collections import CollectionService
from core.errors import StartRefused
from core.services import Services
from tests.api.serving import served

OURS, FOREIGN = "https://app.example.com", "https://evil.example"
PREFLIGHT = {"Access-Control-Request-Method": "PUT", "Access-Control-Request-Headers": "authorization,x-own"}
ALLOWED = "access-control-allow-origin"


def test_by_default_no_other_origin_is_told_anything(client: TestClient) -> None:
    assert ALLOWED not in client.get("/version", headers={"Origin": OURS}).headers
    preflight = client.options("/v1/collections/c", headers={"Origin": OURS, **PREFLIGHT})
    assert preflight.status_code == 405
    assert ALLOWED not in preflight.headers


def test_a_named_origin_may_ask_and_reads_every_answer(services: Services) -> None:
    with served(services, cors_origins=OURS, api_keys="topsecret") as client:
        preflight = client.options("/v1/collections/c", headers={"Origin": OURS, **PREFLIGHT})
        assert preflight.status_code == 200, preflight.text
        assert preflight.headers[ALLOWED] == OURS
        assert "PUT" in preflight.headers["access-control-allow-methods"]
        assert preflight.headers["access-control-allow-headers"] == "authorization,x-own"
        assert "access-control-allow-credentials" not in preflight.headers
        assert preflight.headers["x-request-id"]
        key = {"Authorization": "Bearer topsecret"}
        for path, headers, status in (
            ("/v1/collections", key, 200),
            ("/v1/collections", {}, 401),
            ("/v1/collections/none", key, 404),
        ):
            answer = client.get(path, headers={"Origin": OURS, **headers})
            assert answer.status_code == status
            assert answer.headers[ALLOWED] == OURS
            assert answer.headers["vary"] == "Origin"
            assert "X-Request-ID" in answer.headers["access-control-expose-headers"]


def test_an_origin_that_is_not_named_may_read_nothing(services: Services) -> None:
    with served(services, cors_origins=OURS, api_keys="topsecret") as client:
        for origin in (FOREIGN, "null", OURS + ".evil.example", "http://app.example.com"):
            assert ALLOWED not in client.get("/health/live", headers={"Origin": origin}).headers
            preflight = client.options("/v1/collections/c", headers={"Origin": origin, **PREFLIGHT})
            assert preflight.status_code == 400
            assert ALLOWED not in preflight.headers


def test_without_keys_pages_of_named_origins_alone_change_something(services: Services) -> None:
    with served(services, cors_origins=OURS) as client:
        ours = {"Origin": OURS, "Sec-Fetch-Site": "cross-site"}
        assert client.put("/v1/collections/c", json={}, headers=ours).status_code == 201
        refused = client.put("/v1/collections/d", json={}, headers={**ours, "Origin": FOREIGN})
        assert refused.status_code == 403
        assert "COGNATE_CORS_ORIGINS" in refused.json()["detail"]


def test_with_keys_any_origin_may_be_let_in(services: Services) -> None:
    with served(services, cors_origins="*", api_keys="topsecret") as client:
        headers = {"Origin": FOREIGN, "Authorization": "Bearer topsecret"}
        answer = client.put("/v1/collections/c", json={}, headers=headers)
        assert (answer.status_code, answer.headers[ALLOWED]) == (201, "*")


def test_any_origin_without_keys_refuses_the_start() -> None:
    with pytest.raises(StartRefused, match="COGNATE_CORS_ORIGINS is \\*"):
        bind(Settings(cors_origins="*", port=0))


def test_an_internal_error_can_be_read_too(services: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    def explode(*_: object) -> None:
        raise RuntimeError("for the test")

    monkeypatch.setattr(CollectionService, "list", explode)
    with served(services, cors_origins=OURS) as client:
        answer = client.get("/v1/collections", headers={"Origin": OURS})
    assert (answer.status_code, answer.headers[ALLOWED]) == (500, OURS)
