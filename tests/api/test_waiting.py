"""Callers that wait for their documents, all at once."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pytest
from starlette.testclient import TestClient

from core.collections import CollectionService
from core.services import Services
from core.types import Collection
from tests.fakes import FakeEncoder

CALLERS = 24


def test_many_who_wait_ask_together_and_all_get_their_documents(
    client: TestClient, services: Services, encoder: FakeEncoder, news: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    release, asked = threading.Event(), Counter[str]()
    encode, store = encoder.encode_passages, type(services.jobs)

    def gated(*given: Any) -> Any:
        assert release.wait(30)
        return encode(*given)

    def counted(name: str) -> None:
        method = getattr(store, name)

        def count(*given: Any) -> Any:
            asked[name] += 1
            return method(*given)

        monkeypatch.setattr(store, name, count)

    def add(number: int) -> int:
        document = {"id": str(number), "text": f"text {number}"}
        return client.post(f"{news}/documents?wait=true", json={"documents": [document]}).status_code

    monkeypatch.setattr(encoder, "encode_passages", gated)
    counted("get")
    counted("progress")
    with ThreadPoolExecutor(CALLERS) as callers:
        waiting = [callers.submit(add, number) for number in range(CALLERS)]
        deadline = time.monotonic() + 8
        while not _asks_together(asked) and time.monotonic() < deadline:
            pass
        asked.clear()
        time.sleep(1.0)
        found = dict(asked)
        assert not any(one.done() for one in waiting)
        release.set()
        assert {one.result() for one in waiting} == {200}
    assert found["progress"] >= 1
    assert sum(found.values()) <= CALLERS  # each alone would have asked four times


@dataclass
class Waiting:
    """A caller who waits for a document that is not encoded before `release`."""

    release: threading.Event
    answer: Future[Any]
    job_id: str


@pytest.fixture
def waiting(
    client: TestClient, encoder: FakeEncoder, news: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Waiting]:
    release, begun, encode = threading.Event(), threading.Event(), encoder.encode_passages

    def gated(*given: Any) -> Any:
        begun.set()
        assert release.wait(30)
        return encode(*given)

    monkeypatch.setattr(encoder, "encode_passages", gated)
    documents = {"documents": [{"id": "a", "text": "a text"}]}
    with ThreadPoolExecutor(1) as callers:
        answer = callers.submit(client.post, f"{news}/documents?wait=true", json=documents)
        assert begun.wait(10)
        yield Waiting(release, answer, client.get("/v1/jobs").json()["jobs"][0]["id"])
        release.set()


@pytest.mark.parametrize("is_made_anew", [False, True])
def test_who_waits_for_a_collection_that_is_deleted_is_told_so_at_once(
    client: TestClient, news: str, waiting: Waiting, is_made_anew: bool
) -> None:
    assert client.delete(news).status_code == 204
    if is_made_anew:
        assert client.put(news, json={}).status_code == 201
    answer = waiting.answer.result(10)
    assert answer.status_code == 404
    assert "collection 'news' does not exist" in answer.json()["detail"]
    job = client.get(f"/v1/jobs/{waiting.job_id}").json()
    assert (job["state"], job["total"], job["done"], job["failed"]) == ("cancelled", 1, 0, 1)


def test_who_waits_for_a_job_that_is_cancelled_gets_no_200(client: TestClient, waiting: Waiting) -> None:
    client.post(f"/v1/jobs/{waiting.job_id}/cancel")
    answer = waiting.answer.result(10)
    assert (answer.status_code, answer.json()["job"]["state"]) == (202, "cancelled")


@pytest.mark.parametrize(
    ("path", "sent"),
    [
        ("documents?wait=true", {"json": {"documents": [{"id": "a", "text": "t"}]}}),
        ("documents/delete", {"json": {"ids": ["a"]}}),
        ("import", {"files": {"file": ("rows.csv", b"id,text\n1,x\n")}}),
    ],
)
def test_a_call_that_races_with_the_deletion_of_its_collection_tells_its_name(
    client: TestClient, news: str, monkeypatch: pytest.MonkeyPatch, path: str, sent: dict[str, Any]
) -> None:
    opened = CollectionService.open

    def deleted_once_open(self: CollectionService, name: str) -> Collection:
        collection = opened(self, name)
        self.delete(name)
        return collection

    monkeypatch.setattr(CollectionService, "open", deleted_once_open)
    answer = client.post(f"{news}/{path}", **sent)
    assert answer.status_code == 404
    assert answer.json()["detail"].startswith("collection 'news' does not exist any more")


def _asks_together(asked: Counter[str]) -> bool:
    """Whether for half a second nobody asked alone."""
    before = asked["get"]
    time.sleep(0.5)
    return asked["progress"] > 0 and asked["get"] == before
