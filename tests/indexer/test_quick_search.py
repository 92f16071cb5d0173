"""The short way of one query through one graph finds what the long way finds."""

from __future__ import annotations

import numpy as np
import pytest

from core.document_set import DocumentSet
from core.types import Float32, Int64
from indexer.exact import Alive
from indexer.main_index import Build, MainIndex, build_main
from indexer.quick_search import QuickSearch
from indexer.vector_index import Segment, View
from tests.indexer.fakes import assert_same_hits, clustered_rows

D = 16
N = 12_000


def graph_of(vectors: Float32, document_ids: Int64) -> MainIndex:
    return build_main(vectors, np.arange(len(vectors))[::-1] + 5, document_ids, Build("HNSW16"))


def all_of(main: MainIndex) -> Alive:
    return Alive(np.ones(main.n, dtype=np.bool_))


@pytest.fixture(scope="module")
def vectors() -> Float32:
    return clustered_rows(np.random.default_rng(0), N, D).astype(np.float32)


@pytest.mark.parametrize("passages_a_document", [1, 2])
@pytest.mark.parametrize("k", [1, 10, 50])
def test_both_ways_find_the_same(vectors: Float32, passages_a_document: int, k: int) -> None:
    main = graph_of(vectors, np.arange(N) // passages_a_document)
    quick = QuickSearch.of(main, all_of(main))
    assert quick is not None
    view = View(1, D, (Segment(main, all_of(main)),))
    queries = clustered_rows(np.random.default_rng(1), 50, D).astype(np.float32)
    pairs = view.search(np.repeat(queries, 2, axis=0), k)[::2]  # several queries take the long way
    settled = 0
    for query, expected in zip(queries, pairs, strict=True):
        settled += quick.search(query[None], k) is not None
        assert_same_hits(view.search(query[None], k)[0], expected)
    assert settled == 50 if passages_a_document == 1 else settled < 50


def test_equal_scores_take_the_long_way_and_come_by_passage_id(vectors: Float32) -> None:
    twice = np.concatenate([vectors, vectors[:1]])
    main = graph_of(twice, np.arange(N + 1))
    quick = QuickSearch.of(main, all_of(main))
    assert quick is not None
    assert quick.search(vectors[:1], 10) is None
    hits = View(1, D, (Segment(main, all_of(main)),)).search(vectors[:1], 10)[0]
    assert [hit.document_id for hit in hits[:2]] == [N, 0]  # passage ids fall from row to row


def test_dead_rows_filters_and_small_parts_take_the_long_way(vectors: Float32) -> None:
    main = graph_of(vectors, np.arange(N))
    alive = np.ones(N, dtype=np.bool_)
    alive[0] = False
    assert QuickSearch.of(main, Alive(alive)) is None
    hits = View(1, D, (Segment(main, Alive(alive)),)).search(vectors[:1], 10)[0]
    assert 0 not in [hit.document_id for hit in hits]
    some = DocumentSet.of(np.array([3, 4]))
    found = View(1, D, (Segment(main, all_of(main)),)).search(vectors[:1], 10, some)[0]
    assert {hit.document_id for hit in found} == {3, 4}
    few = graph_of(vectors[:500], np.arange(500))
    assert QuickSearch.of(few, all_of(few)) is None
    flat = build_main(vectors, np.arange(N), np.arange(N), Build("Flat"))
    assert QuickSearch.of(flat, all_of(flat)) is None
