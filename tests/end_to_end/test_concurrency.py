"""Searches while documents are added, changed, deleted and compacted: no error, nothing deleted shown."""

from __future__ import annotations

import random
import threading
from pathlib import Path
from typing import Any

import pytest

from cognate.bootstrap import open_runtime
from cognate.settings import Settings
from core.search_request import SearchRequest
from core.services import Services
from core.types import Collection, CollectionSettings
from indexer import upkeep
from tests.fakes import FakeEncoder

SEARCHERS = 3
ROUNDS = 40


class World:
    """What has certainly been deleted: ids enter `gone` after the delete was answered."""

    def __init__(self) -> None:
        self.gone: set[str] = set()
        self.errors: list[BaseException] = []
        self.stop = threading.Event()
        self.searches = 0

    def search(self, services: Services, collection: Collection, seed: int) -> None:
        rng = random.Random(seed)
        try:
            while not self.stop.is_set():
                gone_before = set(self.gone)
                request = SearchRequest(f"word{rng.randrange(50)} text", k=rng.choice([1, 10, 100]))
                result = services.search.search(collection.name, request)
                shown = [hit.passage.external_id for hit in result.hits]
                assert not gone_before.intersection(shown), "a deleted document was shown"
                assert len(shown) == len(set(shown)), "a document was shown twice"
                self.searches += 1
        except BaseException as error:
            self.errors.append(error)


def items(numbers: list[int], version: int) -> list[dict[str, Any]]:
    return [{"id": str(n), "text": f"word{n % 50} text number {n} version {version}"} for n in numbers]


@pytest.mark.slow
def test_searches_never_fail_and_never_show_what_was_deleted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upkeep, "MIN_DELTA", 200)
    monkeypatch.setattr(upkeep, "MIN_DEAD", 100)
    with open_runtime(Settings(data_dir=tmp_path), FakeEncoder()) as services:
        collection, _ = services.collections.create("c", "", None, CollectionSettings())
        world, rng = World(), random.Random(1)
        threads = [
            threading.Thread(target=world.search, args=(services, collection, seed))
            for seed in range(SEARCHERS)
        ]
        for thread in threads:
            thread.start()
        alive = churn(services, collection, world, rng)
        world.stop.set()
        for thread in threads:
            thread.join(30)
        assert not world.errors, world.errors[0]
        assert world.searches > ROUNDS
        check_the_end(services, collection, alive)


def churn(services: Services, collection: Collection, world: World, rng: random.Random) -> set[int]:
    """Adds, changes, deletes and compacts; the numbers that are alive at the end. Ids never come back."""
    alive: set[int] = set()
    next_number = 0
    for version in range(ROUNDS):
        added = list(range(next_number, next_number + 100))
        next_number += 100
        changed = rng.sample(sorted(alive), min(50, len(alive)))
        services.ingest.submit(collection, items([*added, *changed], version))
        alive.update(added)
        doomed = rng.sample(sorted(alive), 40)
        services.ingest.delete(collection, [str(n) for n in doomed])
        world.gone.update(str(n) for n in doomed)
        alive.difference_update(doomed)
    return alive


def check_the_end(services: Services, collection: Collection, alive: set[int]) -> None:
    while services.collections.describe("c").counts.pending:
        threading.Event().wait(0.02)
    overview = services.collections.describe("c")
    assert services.indexes.wait_for(collection, overview.collection.seq, 20)
    assert services.indexes.stats(collection).delta < len(alive), "it must have been compacted meanwhile"
    assert overview.counts.searchable == overview.counts.total == len(alive)
    result = services.search.search(overview.collection.name, SearchRequest("text", k=1000))
    assert len(result.hits) == min(1000, len(alive))


def test_documents_that_change_are_never_missing_from_a_search(tmp_path: Path) -> None:
    count = 200
    with open_runtime(Settings(data_dir=tmp_path), FakeEncoder()) as services:
        collection, _ = services.collections.create("c", "", None, CollectionSettings())
        numbers = list(range(count))
        services.ingest.submit(collection, items(numbers, 0))
        while services.collections.describe("c").counts.searchable < count:
            threading.Event().wait(0.02)
        assert services.indexes.wait_for(collection, services.collections.open("c").seq, 20)
        shown: list[int] = []
        done = threading.Event()

        def search() -> None:
            while not done.is_set():
                result = services.search.search("c", SearchRequest("text", k=count))
                shown.append(len({hit.passage.external_id for hit in result.hits}))

        searcher = threading.Thread(target=search)
        searcher.start()
        for version in range(1, 16):
            services.ingest.submit(collection, items(numbers, version))
        while services.jobs.list(1)[0].finished_at is None:
            threading.Event().wait(0.02)
        done.set()
        searcher.join(30)
        assert len(shown) > 5
        assert set(shown) == {count}
