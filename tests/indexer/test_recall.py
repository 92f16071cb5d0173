"""Measured recall, and the effort that searches take to reach their target."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from core.index_types import LogEntry, LogPage
from indexer.collection_index import CollectionIndex
from indexer.exact import Alive, search_exactly
from indexer.main_index import Build, MainIndex, build_main
from indexer.recall import EFFORTS, Sample, with_measured_recall
from indexer.search_index import SearchState
from indexer.snapshot import SnapshotStore
from tests.indexer.fakes import D, FakeDatabase, search_index, unit_rows

N = 12_000
LOSSY = "IVF16,PQ2x4fs"  # one byte a vector
MANY_LISTS = "IVF256,Flat"


def main_of(setting: str, n: int = N, d: int = 24) -> MainIndex:
    """Rows without any clusters, for which inverted lists do badly."""
    ids = np.arange(n)
    return build_main(unit_rows(np.random.default_rng(0), n, d), ids, ids, Build(setting))


def all_of(main: MainIndex) -> Alive:
    return Alive(np.ones(main.n, dtype=np.bool_))


def index_of(setting: str, recall_target: float) -> CollectionIndex:
    vectors = unit_rows(np.random.default_rng(0), N)
    index = CollectionIndex(D, setting, recall_target=recall_target)
    entries = tuple(LogEntry(i, 1, np.array([i]), vectors[i : i + 1]) for i in range(N))
    index.apply(LogPage(entries, (1, N), 1, True))
    return index


def test_recall_is_the_share_of_the_ten_best_others_that_is_found() -> None:
    main = main_of(MANY_LISTS)
    alive = all_of(main)
    sample = Sample.of(main, alive)
    rows = np.linspace(0, N - 1, 200).astype(np.int64)
    vectors = main.vectors.astype(np.float32)
    _, exact = search_exactly(vectors[rows], vectors, 11, alive)
    _, found = main.search(vectors[rows], 11, alive)
    shares = [len((set(a) - {row}) & set(b)) / 10 for a, b, row in zip(found, exact, rows, strict=True)]
    assert sample.recall(main) == pytest.approx(np.mean(shares), abs=0.005)
    assert 0.2 < sample.recall(main) < 0.9


@pytest.mark.parametrize("setting", ["Flat", "SQfp16", LOSSY])
@pytest.mark.parametrize("n", [0, 1, 2, 9])
def test_few_rows_are_all_found(setting: str, n: int) -> None:
    main = main_of(setting, n)
    assert with_measured_recall(main, all_of(main), 0.95).recall_at_10 == 1.0


def test_effort_rises_until_the_target_is_met_and_no_further() -> None:
    main = main_of(MANY_LISTS)
    sample = Sample.of(main, all_of(main))
    assert sample.recall(main) < 0.9
    tuned = with_measured_recall(main, all_of(main), 0.9)
    assert tuned.reaches(0.9)
    assert tuned.recall_at_10 == sample.recall(tuned)
    assert tuned.effort > 1
    easier = with_measured_recall(main, all_of(main), 0.1)
    assert easier.effort == 1


def test_raising_effort_leaves_the_index_that_others_search_alone() -> None:
    main = main_of(MANY_LISTS)
    query = main.vectors[:5].astype(np.float32)
    before = main.search(query, 20, all_of(main))
    tuned = with_measured_recall(main, all_of(main), 0.99)
    assert tuned.index is main.index
    assert (main.effort, main.recall_at_10) == (1, None)
    for old, new in zip(before, main.search(query, 20, all_of(main)), strict=True):
        np.testing.assert_array_equal(old, new)


def test_a_target_out_of_reach_is_told_in_the_log_and_in_the_stats(
    caplog: pytest.LogCaptureFixture,
) -> None:
    index = index_of(LOSSY, recall_target=1.0)
    assert not index.stats().is_below_target
    index.compact()
    stats = index.stats()
    assert (stats.kind, stats.effort, stats.is_below_target) == (LOSSY, EFFORTS[-1], True)
    assert "recall_below_target" in caplog.text


def test_effort_survives_a_restart(tmp_path: Path) -> None:
    captured = index_of(MANY_LISTS, recall_target=0.99).capture()
    nothing = search_index(tmp_path, MANY_LISTS)
    other = nothing.capture(tmp_path / "words")
    before = SearchState(captured, other.attributes, other.terms, other.words)
    index = search_index(tmp_path, MANY_LISTS, before, recall_target=0.99)
    index.compact()
    assert index.stats().effort > 1
    collection = replace(FakeDatabase().add_collection("news"), seq=1)
    snapshots = SnapshotStore(tmp_path / "snapshots")
    assert snapshots.save(collection, index)
    loaded = snapshots.load(collection)
    assert loaded is not None
    restarted = search_index(tmp_path, MANY_LISTS, loaded, recall_target=0.99)
    assert restarted.stats() == index.stats()


def test_a_build_tells_how_far_it_is() -> None:
    index = index_of("Flat", recall_target=0.95)
    seen: list[float | None] = []

    def look() -> bool:
        seen.append(index.stats().built)
        return False

    index.compact(Build("Flat", is_cancelled=look))
    shares = [share for share in seen if share is not None]
    assert shares == sorted(shares)
    assert 0 < shares[-1] < 1
    assert index.stats().built is None
