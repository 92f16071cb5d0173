"""kill -9 in the middle of ingest: what was accepted becomes searchable once, the rest is absent."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.end_to_end.feeding import Feeder
from tests.end_to_end.server_process import ServerProcess
from tests.waiting import wait_until

pytestmark = pytest.mark.integration

KILLS = 10
BATCH = 40


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ServerProcess]:
    process = ServerProcess(tmp_path / "data")
    process.start()
    yield process
    process.stop()


def test_nothing_accepted_is_lost_or_doubled_by_ten_kills(server: ServerProcess) -> None:
    rng = random.Random(7)
    server.http.put("/v1/collections/c", json={}).raise_for_status()
    feeder = Feeder(BATCH)
    for _ in range(KILLS):
        thread = threading.Thread(target=feeder.feed, args=(server.http,))
        thread.start()
        thread.join(rng.uniform(0.05, 0.8))
        server.kill()
        thread.join(30)
        assert not thread.is_alive()
        server.start()
    documents = all_documents(server.http)
    wait_until(lambda: is_applied(server.http), "the index follows the last batches")
    counts = server.http.get("/v1/collections/c").json()
    assert len({d["id"] for d in documents}) == len(documents)
    feeder.check({d["id"]: d["text"] for d in documents})
    assert counts["documents"]["searchable"] == counts["documents"]["total"] == len(documents)
    assert counts["passages"] == len(documents), "each of these texts is one passage"
    check_searchable_once(server.http, feeder)


def is_applied(http: httpx.Client) -> bool:
    index = http.get("/v1/collections/c").json()["index"]
    return bool(index["applied_seq"] == index["seq"])


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


def check_searchable_once(http: httpx.Client, feeder: Feeder) -> None:
    for number in random.Random(3).sample(feeder.accepted, min(20, len(feeder.accepted))):
        wanted = feeder.batch(number)[5]
        hits = http.post("/v1/collections/c/search", json={"query": wanted["text"], "k": 20}).json()["hits"]
        assert [hit["id"] for hit in hits].count(wanted["id"]) == 1
