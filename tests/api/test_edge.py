"""Request ids, API keys, binding."""

from __future__ import annotations

import hashlib
import logging
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from starlette.testclient import TestClient

from api.config import digest
from api.middleware import is_allowed, is_host_allowed
from cognate import logs
from cognate.server import bind
from cognate.settings import LOOPBACK_HOSTS, LogFormat, LogLevel, Settings
from core.classify import ClassifyService
from core.errors import StartRefused, Unavailable
from core.search import SearchService
from core.services import Services
from tests.api.serving import served


def test_a_request_id_is_given_or_taken_over(client: TestClient) -> None:
    assert len(client.get("/version").headers["x-request-id"]) == 32
    assert client.get("/version", headers={"X-Request-ID": "mine-1"}).headers["x-request-id"] == "mine-1"
    assert client.get("/version", headers={"X-Request-ID": "bad id"}).headers["x-request-id"] != "bad id"


@pytest.mark.parametrize("path", ["/health/live", "/health/ready", "/v1/collections", "/v1/collections/none"])
def test_head_is_answered_as_get_without_the_body(client: TestClient, path: str) -> None:
    read, head = client.get(path), client.head(path)
    assert (head.status_code, head.content) == (read.status_code, b"")
    assert head.headers["content-type"] == read.headers["content-type"]
    assert 'route="unmatched"' not in client.get("/metrics").text


def test_keys_guard_everything_but_health(services: Services) -> None:
    digest = hashlib.sha256(b"second").hexdigest()
    with served(services, api_keys=f"first, sha256:{digest}") as client:
        assert client.get("/health/live").status_code == 200
        assert client.get("/health").json() == client.get("/health/ready").json()
        refused = client.get("/v1/collections")
        assert refused.status_code == 401
        assert refused.headers["www-authenticate"] == "Bearer"
        for key, status in (("first", 200), ("second", 200), ("third", 401), (f"sha256:{digest}", 401)):
            answer = client.get("/v1/collections", headers={"Authorization": f"Bearer {key}"})
            assert answer.status_code == status, key
        assert client.get("/metrics").status_code == 401
        assert client.get("/v1/collections", headers={"Authorization": "Basic first"}).status_code == 401


def test_a_digest_is_not_a_key() -> None:
    hashes = [digest("secret")]
    assert is_allowed("Bearer secret", hashes)
    for prefix in ("", "sha256:", "sha256:sha256:"):
        assert not is_allowed(f"Bearer {prefix}{hashes[0].hex()}", hashes)
    assert not is_allowed("Bearer sha256:sha256:zz", hashes)
    assert not is_allowed(None, hashes)


def test_binding_beyond_loopback_without_keys_is_refused() -> None:
    with pytest.raises(StartRefused, match="COGNATE_API_KEYS"):
        bind(Settings(host="0.0.0.0", port=0))


def test_a_port_in_use_is_refused_with_what_to_do() -> None:
    with bind(Settings(port=0)) as listener, pytest.raises(StartRefused, match="--port"):
        bind(Settings(port=listener.getsockname()[1]))


@pytest.mark.parametrize(
    ("host", "is_allowed_"),
    [
        ("127.0.0.1", True),
        ("127.0.0.1:8000", True),
        ("LOCALHOST:1", True),
        ("[::1]:8000", True),
        ("evil.example", False),
        ("127.0.0.1.evil.example", False),
        ("", False),
    ],
)
def test_a_server_without_keys_answers_to_loopback_names_only(host: str, is_allowed_: bool) -> None:
    assert is_host_allowed(host, LOOPBACK_HOSTS) is is_allowed_
    assert is_host_allowed(host, ())


def test_a_foreign_host_name_is_refused(client: TestClient) -> None:
    assert client.get("/version", headers={"Host": "evil.example"}).status_code == 421


@pytest.mark.parametrize(
    ("headers", "is_refused"),
    [
        ({"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"}, True),
        ({"Origin": "https://127.0.0.1.evil.example"}, True),
        ({"Origin": "null"}, True),
        ({"Sec-Fetch-Site": "cross-site"}, True),
        ({"Origin": "http://127.0.0.1:8000", "Sec-Fetch-Site": "same-origin"}, False),
        ({"Origin": "http://[::1]:8000"}, False),
        ({}, False),
    ],
)
def test_without_keys_a_page_of_another_site_changes_nothing(
    client: TestClient, headers: dict[str, str], is_refused: bool
) -> None:
    client.put("/v1/collections/c", json={}).raise_for_status()
    form = {"file": ("rows.jsonl", b'{"id": "a", "text": "b"}')}
    answer = client.post("/v1/collections/c/import", files=form, headers=headers)
    assert answer.status_code == (403 if is_refused else 202)
    assert client.get("/version", headers=headers).status_code == 200


def test_with_keys_the_key_decides_whatever_page_it_comes_from(services: Services) -> None:
    with served(services, api_keys="topsecret") as client:
        headers = {"Authorization": "Bearer topsecret", "Origin": "https://ours.example"}
        assert client.put("/v1/collections/c", json={}, headers=headers).is_success


def test_deleting_a_document_named_by_two_dots_never_deletes_its_collection(client: TestClient) -> None:
    """Clients fold such a path, and follow the redirect of a slash too many."""
    client.put("/v1/collections/c", json={}).raise_for_status()
    answer = client.delete("/v1/collections/c/", follow_redirects=True)
    assert answer.status_code == 404
    assert "documents/delete" in answer.json()["detail"]
    assert client.get("/v1/collections/c/", follow_redirects=True).status_code == 200


def test_a_refusal_is_logged_with_its_status_as_a_number(
    client: TestClient, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "api.access")
    client.get("/v1/classifiers/nope")
    (record,) = [one for one in caplog.records if one.name == "api.access"]
    assert repr(vars(record)["status"]) == "404"


def test_what_is_not_the_callers_fault_is_logged_with_its_reason(
    client: TestClient, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: SearchService, *_: object) -> None:
        raise Unavailable("the disk of the database is full; free some space, then retry")

    client.put("/v1/collections/c", json={})
    client.post("/v1/collections/nope/search", json={"query": "x"})
    monkeypatch.setattr(SearchService, "search", refuse)
    assert client.post("/v1/collections/c/search", json={"query": "x"}).status_code == 503
    (record,) = [one for one in caplog.records if one.message == "request not served"]
    told = {name: vars(record)[name] for name in ("method", "path", "status", "reason")}
    assert told == {
        "method": "POST",
        "path": "/v1/collections/c/search",
        "status": 503,
        "reason": "the disk of the database is full; free some space, then retry",
    }


def test_an_internal_error_tells_nobody_keys_or_documents(
    services: Services, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def explode(self: SearchService, *_: object) -> None:
        raise RuntimeError("for the test")

    monkeypatch.setattr(SearchService, "search", explode)
    logs.configure(LogLevel.INFO, LogFormat.CONSOLE)
    with served(services, api_keys="topsecret") as client:
        headers = {"Authorization": "Bearer topsecret", "X-Request-ID": "r-1"}
        client.put("/v1/collections/c", json={}, headers=headers)
        answer = client.post("/v1/collections/c/search", json={"query": "private words"}, headers=headers)
    logging.getLogger().handlers.clear()
    assert answer.status_code == 500
    assert answer.json()["request_id"] == answer.headers["x-request-id"] == "r-1"
    assert "for the test" not in answer.text
    log = capfd.readouterr().err
    assert "RuntimeError: for the test" in log
    assert "topsecret" not in log
    assert "private words" not in log


def test_waiting_callers_leave_searches_their_threads(client: TestClient, services: Services) -> None:
    client.put("/v1/collections/c", json={})
    release = threading.Event()
    original = services.ingest.encoder.encode_passages
    services.ingest.encoder.encode_passages = lambda *a: (release.wait(30), original(*a))[1]  # type: ignore[method-assign]  # a gate

    def add(number: int) -> int:
        document = {"id": str(number), "text": f"text {number}"}
        path = "/v1/collections/c/documents?wait=true"
        return client.post(path, json={"documents": [document]}).status_code

    with ThreadPoolExecutor(60) as callers:
        waiting = [callers.submit(add, number) for number in range(60)]
        assert client.post("/v1/collections/c/search", json={"query": "x"}).status_code == 200
        assert not any(one.done() for one in waiting)
        release.set()
        assert {one.result() for one in waiting} == {200}


def test_reads_and_probes_are_answered_while_models_keep_all_other_threads_busy(
    client: TestClient, services: Services, news: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = client.post(f"{news}/documents", json={"documents": [{"id": "a", "text": "t"}]}).json()["job"]["id"]
    release = threading.Event()
    monkeypatch.setattr(ClassifyService, "classify", lambda *_: (release.wait(60), [])[1])
    body = {"texts": ["t"], "labels": ["a", "b"]}
    reads = ("/health/ready", "/metrics", news, "/v1/collections", f"{news}/documents", f"{news}/documents/a",
             f"/v1/jobs/{job}", "/v1/jobs", "/v1/classifiers", "/v1/admin/backups",
             f"{news}/judgements", f"{news}/classify",
             "/version", "/info", "/v1/models", "/v1/models/fake")  # fmt: skip
    with ThreadPoolExecutor(100) as callers:
        busy = [callers.submit(client.post, "/v1/classify", json=body) for _ in range(60)]
        try:
            answers = [callers.submit(client.get, path).result(timeout=30) for path in reads]
            missing = callers.submit(client.get, "/v1/classifiers/none").result(timeout=30)
            cancelled = callers.submit(client.post, f"/v1/jobs/{job}/cancel").result(timeout=30)
            changed = callers.submit(client.patch, news, json={"description": "d"}).result(timeout=30)
            made = callers.submit(client.put, "/v1/collections/other", json={}).result(timeout=30)
            deleted = callers.submit(client.delete, "/v1/collections/other").result(timeout=30)
            backup = callers.submit(client.post, "/v1/admin/backups", json={}).result(timeout=30)
            assert not any(one.done() for one in busy)
        finally:
            release.set()
        assert {answer.status_code for answer in answers} == {200}
        assert [one.status_code for one in (changed, made, deleted, backup)] == [200, 201, 204, 202]
        assert (missing.status_code, cancelled.status_code) == (404, 200)
        assert {one.result().status_code for one in busy} == {200}


def test_probes_and_scrapes_are_answered_while_all_threads_are_busy(
    client: TestClient, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    release = threading.Event()
    monkeypatch.setattr(services.jobs, "list", lambda *_: (release.wait(30), [])[1])
    with ThreadPoolExecutor(60) as callers:
        busy = [callers.submit(client.get, "/v1/jobs") for _ in range(60)]
        assert client.get("/health/ready").status_code == 200
        assert client.get("/metrics").status_code == 200
        assert not any(one.done() for one in busy)
        release.set()
        assert {one.result().status_code for one in busy} == {200}
