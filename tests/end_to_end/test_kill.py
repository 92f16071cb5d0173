"""kill -9 in the middle of ingest: what was accepted becomes searchable once, the rest is absent."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.end_to_end.server_process import ServerProcess

pytestmark = pytest.mark.integration

KILLS = 10
BATCH = 40


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ServerProcess]:
    process = ServerProcess(tmp_path / "data")
    process.start()
    yield process
    process.stop()


def batch_of(number: int) -> list[dict[str, str]]:
    return [
        {"id": f"{number}-{i}", "text": f"Document {number}-{i} tells of topic {i}."} for i in range(BATCH)
    ]


class Feeder:
    """Posts batch after batch until the connection breaks; remembers which were accepted."""

    def __init__(self) -> None:
        self.accepted: list[int] = []
        self.unanswered: list[int] = []
        self._next = 0

    def feed(self, http: httpx.Client) -> None:
        try:
            while True:
                number, self._next = self._next, self._next + 1
                self.unanswered.append(number)
                answer = http.post("/v1/collections/c/documents", json={"documents": batch_of(number)})
                assert answer.status_code == 202, answer.text
                self.accepted.append(self.unanswered.pop())
        except httpx.TransportError:
            return


def test_nothing_accepted_is_lost_or_doubled_by_ten_kills(server: ServerProcess) -> None:
    rng = random.Random(7)
    server.http.put("/v1/collections/c", json={}).raise_for_status()
    feeder = Feeder()
    for _ in range(KILLS):
        thread = threading.Thread(target=feeder.feed, args=(server.http,))
        thread.start()
        thread.join(rng.uniform(0.05, 0.8))
        server.kill()
        thread.join(30)
        assert not thread.is_alive()
        server.start()
    documents = all_documents(server.http)
    counts = server.http.get("/v1/collections/c").json()
    check_batches(feeder, {d["id"]: d for d in documents}, len(documents))
    assert counts["documents"]["searchable"] == counts["documents"]["total"] == len(documents)
    assert counts["passages"] == len(documents), "each of these texts is one passage"
    assert counts["index"]["applied_seq"] == counts["index"]["seq"]
    check_searchable_once(server.http, feeder)


def all_documents(http: httpx.Client) -> list[dict[str, str]]:
    """All documents, once none is pending."""
    while http.get("/v1/collections/c").json()["documents"]["pending"]:
        threading.Event().wait(0.1)
    http.get("/v1/collections/c")
    documents, after = [], ""
    while True:
        page = http.get("/v1/collections/c/documents", params={"limit": 1000, "after": after}).json()
        documents += page["documents"]
        if page["next"] is None:
            return documents
        after = page["next"]


def check_batches(feeder: Feeder, found: dict[str, dict[str, str]], total: int) -> None:
    assert len(found) == total
    assert feeder.accepted, "the test must have accepted something"
    for number in feeder.accepted:
        assert all(found[d["id"]]["text"] == d["text"] for d in batch_of(number))
    for number in feeder.unanswered:
        present = [d["id"] in found for d in batch_of(number)]
        assert all(present) or not any(present), f"batch {number} is there by halves"
    expected = len(feeder.accepted) + sum(batch_of(n)[0]["id"] in found for n in feeder.unanswered)
    assert total == expected * BATCH


def check_searchable_once(http: httpx.Client, feeder: Feeder) -> None:
    for number in random.Random(3).sample(feeder.accepted, min(20, len(feeder.accepted))):
        wanted = batch_of(number)[5]
        hits = http.post("/v1/collections/c/search", json={"query": wanted["text"], "k": 20}).json()["hits"]
        assert [hit["id"] for hit in hits].count(wanted["id"]) == 1
