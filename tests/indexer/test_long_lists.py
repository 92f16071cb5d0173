"""Long lists of hits from a graph: they find what is there, and continue the shorter ones."""

from __future__ import annotations

import numpy as np
import pytest

from core.document_set import DocumentSet
from core.types import Float32
from indexer.exact import Alive, score_rows
from indexer.main_index import Build, MainIndex, build_main
from indexer.vector_index import Segment, View
from tests.indexer.fakes import clustered_rows

D = 48
N = 12_000
QUERIES = 10
ALL = Alive(np.ones(N, dtype=np.bool_))


@pytest.fixture(scope="module")
def vectors() -> Float32:
    return clustered_rows(np.random.default_rng(0), N + QUERIES, D, 1000)


@pytest.fixture(scope="module")
def main(vectors: Float32) -> MainIndex:
    """Two passages a document."""
    ids = np.arange(N)
    return build_main(vectors[:N], ids, ids // 2, Build("HNSW8"))


@pytest.fixture(scope="module")
def view(main: MainIndex) -> View:
    return View(1, D, (Segment(main, ALL),))


def found(view: View, query: Float32, k: int, allowed: DocumentSet | None = None) -> list[int]:
    return [hit.document_id for hit in view.search(query[None], k, allowed)[0]]


@pytest.mark.parametrize("fetch", [10, 100, 290])
def test_a_graph_finds_most_of_the_best_rows_however_many_are_wanted(
    main: MainIndex, vectors: Float32, fetch: int
) -> None:
    queries = vectors[N:]
    assert not main.ann.is_scan_cheaper(fetch, ALL)
    _, rows = main.search(queries, fetch, ALL, fetch)
    _, best = main.search_exactly(queries, fetch, ALL)
    shares = [len({*one} & {*other}) / fetch for one, other in zip(rows.tolist(), best.tolist(), strict=True)]
    assert np.mean(shares) > 0.88


@pytest.mark.parametrize("share", [None, 0.5])
def test_pages_continue_one_another_from_the_first_to_the_last(
    view: View, vectors: Float32, share: float | None
) -> None:
    ids = np.arange(N // 2)
    allowed = None if share is None else DocumentSet.of(ids[ids < share * len(ids)])
    count = len(ids) if allowed is None else allowed.count
    for query in vectors[N:]:
        whole = found(view, query, N, allowed)
        assert sorted(whole) == list(range(count))
        for end in (10, 20, 30, 40, 50, 51, 100, 150, 400, 900, count - 1):
            assert found(view, query, end, allowed) == whole[:end]


def test_most_documents_of_many_passages_are_found() -> None:
    rng = np.random.default_rng(0)
    n, passages = 40_000, 10
    documents = clustered_rows(rng, n // passages + QUERIES, D, 400)
    near = np.repeat(documents[:-QUERIES], passages, axis=0) + 0.08 * rng.standard_normal((n, D))
    rows = np.asarray(near / np.linalg.norm(near, axis=1, keepdims=True), dtype=np.float32)
    ids = np.arange(n)
    main = build_main(rows, ids, ids // passages, Build("HNSW8"))
    view = View(1, D, (Segment(main, Alive(np.ones(n, dtype=np.bool_))),))
    shares = []
    for query in documents[-QUERIES:]:
        best = np.argsort(-(rows @ query).reshape(-1, passages).max(axis=1))[:50]
        shares.append(len({*found(view, query, 50)} & {*best.tolist()}) / 50)
        assert found(view, query, 50)[:10] == found(view, query, 10)
    assert np.mean(shares) > 0.84


@pytest.mark.parametrize(
    ("kind", "share"), [("HNSW8", 0.5), ("IVF64,PQ24x4fs", None), ("IVF64,PQ24x4fs", 0.1)]
)
def test_a_search_for_few_finds_the_first_of_those_that_one_for_fifty_finds(
    vectors: Float32, kind: str, share: float | None
) -> None:
    rng, ids = np.random.default_rng(1), np.arange(N)
    view = View(1, D, (Segment(build_main(vectors[:N], ids, ids, Build(kind)), ALL),))
    allowed = None if share is None else DocumentSet.of(ids[rng.random(N) < share])
    for query in vectors[:: N // 100]:
        whole = found(view, query, 50, allowed)
        for end in (1, 5, 10, 20, 30, 40):
            assert found(view, query, end, allowed) == whole[:end]


def test_a_score_is_the_same_whatever_else_is_scored_with_it(vectors: Float32) -> None:
    half, query = vectors[:500].astype(np.float16), vectors[-1]
    scores = score_rows(query, half, np.arange(500))
    for row in range(0, 500, 7):
        assert score_rows(query, half, np.array([row]))[0] == scores[row]


@pytest.mark.parametrize("kind", ["HNSW8", "IVF64,PQ24x4fs"])
def test_a_document_is_found_by_its_best_passage(vectors: Float32, kind: str) -> None:
    rng, passages = np.random.default_rng(0), 6
    near = np.repeat(vectors[: N // passages], passages, axis=0) + 0.1 * rng.standard_normal((N, D))
    rows = np.asarray(near / np.linalg.norm(near, axis=1, keepdims=True), dtype=np.float16)
    ids = np.arange(N)
    view = View(1, D, (Segment(build_main(rows, ids, ids // passages, Build(kind)), ALL),))
    for query in vectors[:: N // 50]:
        best = (rows.astype(np.float32) @ query).reshape(-1, passages).max(axis=1)
        for k in (50, 400):
            (hits,) = view.search(query[None], k)
            scores = [hit.score for hit in hits]
            np.testing.assert_allclose(scores, best[[hit.document_id for hit in hits]], atol=1e-5)


def test_codes_find_documents_of_few_passages_by_the_best_of_them(vectors: Float32) -> None:
    rng, ids = np.random.default_rng(2), np.arange(N)
    documents = np.cumsum(rng.random(N) < 0.8, dtype=np.int64)
    main = build_main(vectors[:N], ids, documents, Build("IVF64,PQ24x4fs"))
    view = View(1, D, (Segment(main, ALL),))
    assert 0 < main.by_document.crowding < 0.5
    for query in vectors[:: N // 50]:
        for hits in view.search(query[None], 200):
            best = view.score(query, np.array([hit.document_id for hit in hits]))
            assert {*hits} == {*best}


@pytest.mark.parametrize("hidden", [60, 100, 120])
def test_pages_continue_one_another_where_the_nearest_documents_are_hidden(
    vectors: Float32, hidden: int
) -> None:
    ids = np.arange(N)
    view = View(1, D, (Segment(build_main(vectors[:N], ids, ids, Build("HNSW4")), ALL),))
    for query in vectors[:: N // 60]:
        nearest = np.argsort(-(vectors[:N] @ query))[:hidden]
        allowed = DocumentSet.of(np.setdiff1d(ids, nearest))
        whole = found(view, query, 50, allowed)
        for end in (1, 10, 30):
            assert found(view, query, end, allowed) == whole[:end]


def test_half_of_a_graph_over_codes_is_searched_and_not_scored_row_by_row(vectors: Float32) -> None:
    ids, half = np.arange(N), Alive(np.arange(N) % 2 == 0)
    main = build_main(vectors[:N], ids, ids, Build("HNSW8,SQ8"))
    assert not main.ann.is_scan_cheaper(main.by_document.enough(50), half)
    _, rows = main.search(vectors[N:], 10, half)
    _, best = main.search_exactly(vectors[N:], 10, half)
    assert (
        np.mean([len({*one} & {*other}) for one, other in zip(rows.tolist(), best.tolist(), strict=True)]) > 9
    )
