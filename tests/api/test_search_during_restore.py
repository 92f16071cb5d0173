"""While a restore replaces a collection, each search sees the old state or the new one, whole."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from starlette.testclient import TestClient

from core.backup_types import NoIndexing
from core.filters import parse_filter
from core.index_types import LogPage
from core.search_request import SearchRequest
from core.services import Services
from indexer.follower import IndexFollower
from storage.backups import SqlBackups
from storage.change_log import SqlChangeLog
from tests.api.test_backups import ADMIN, add, finished

K = 5
DOCUMENTS, MORE = 40, 7
SEARCH = "/v1/collections/news/search"
FILTER = {"field": "year", "gte": 0}


@pytest.fixture
def slow_log(monkeypatch: pytest.MonkeyPatch, services: Services) -> None:
    """A follower that reads a few documents at a time, and slowly, as if they were many."""
    assert isinstance(services.indexes, IndexFollower)
    really_read = SqlChangeLog.read

    def read(self: SqlChangeLog, collection_id: int, cursor: Any, limit: int, held: Any) -> LogPage:
        time.sleep(0.03)
        return really_read(self, collection_id, cursor, 10, held)

    monkeypatch.setattr(SqlChangeLog, "read", read)


@contextmanager
def meanwhile(work: Callable[[], Any]) -> Iterator[list[Any]]:
    """What `work` returns, time after time, during the block; it has been called once before."""
    seen, done = [work()], threading.Event()

    def repeat() -> None:
        while not done.is_set():
            seen.append(work())

    thread = threading.Thread(target=repeat)
    thread.start()
    try:
        yield seen
    finally:
        done.set()
        thread.join()


def save_and_go_on(client: TestClient, news: str) -> list[int]:
    """Makes a backup of documents of four changes, and adds more; the seq of each of the two states."""
    for count in range(10, DOCUMENTS + 10, 10):
        add(client, news, count)
    seqs = [client.get(news).json()["index"]["seq"]]
    finished(client, client.post(ADMIN, json={"name": "first", "collection": "news"}))
    add(client, news, DOCUMENTS + MORE)
    return [*seqs, client.get(news).json()["index"]["seq"]]


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def restore(client: TestClient) -> None:
    body = {"collection": "news", "replace": True}
    assert finished(client, client.post(f"{ADMIN}/first/restore", json=body))["state"] == "succeeded"


@pytest.mark.usefixtures("slow_log")
def test_every_search_meanwhile_is_answered_from_a_whole_index(
    client: TestClient, services: Services, news: str
) -> None:
    saved, newest = save_and_go_on(client, news)
    requests = [
        SearchRequest("text of number", k=K, facets=("year",)),
        SearchRequest("text of number", k=K, filter=parse_filter(FILTER)),
    ]

    def search() -> list[tuple[int, int, int | None]]:
        return [
            (r.seq, len(r.hits), r.facets["year"].distinct if r.facets else None)
            for r in services.search.search_batch("news", requests)
        ]

    with meanwhile(search) as seen:
        restore(client)
        wait_until(lambda: seen[-1][0][0] == saved)
    answers = {answer for pair in seen for answer in pair}
    assert {seq for seq, *_ in answers} == {saved, newest}
    assert {hits for _, hits, _ in answers} == {K}
    assert {(seq, facets) for seq, _, facets in answers if facets is not None} == {
        (saved, DOCUMENTS),
        (newest, DOCUMENTS + MORE),
    }


@pytest.mark.usefixtures("slow_log")
def test_a_process_that_did_not_restore_says_when_to_come_back_and_never_shows_a_part(
    client: TestClient, news: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As an API beside the worker that restores: it learns of the collection when it is shown."""
    save_and_go_on(client, news)
    monkeypatch.setattr(SqlBackups, "restore", without_indexing(SqlBackups.restore))

    def search() -> tuple[int, Any, Any]:
        answer = client.post(SEARCH, json={"query": "text of number", "k": K, "filter": FILTER})
        content = answer.json()
        return answer.status_code, answer.headers.get("retry-after"), (len(content.get("hits", ())),)

    with meanwhile(search) as seen:
        restore(client)
        wait_until(lambda: (503, "1", (0,)) in seen and seen[-1][0] == 200)
    assert set(seen) == {(200, None, (K,)), (503, "1", (0,))}


def without_indexing(restore: Any) -> Any:
    def run(self: SqlBackups, *arguments: Any) -> Any:
        self._indexing = NoIndexing()
        return restore(self, *arguments)

    return run
