"""Searching among some documents only, scoring given documents, and reading their vectors back."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.document_set import DocumentSet
from core.errors import EncoderMismatch, InvalidInput
from core.index_types import IndexHit
from core.types import Float32, Int64
from indexer.delta import DeltaBuffer
from indexer.exact import Alive
from indexer.main_index import Build, build_main
from indexer.vector_index import Segment, View
from tests.indexer.fakes import assert_same_hits, brute_force, clustered_rows, unit_rows

D = 16
LARGE = 12_000
KINDS = ["HNSW16", "HNSW16,SQ8", "IVF64,Flat", "IVF64,SQ8", "SQfp16", "IVF64,PQ8x4fs"]

Rows = tuple[Float32, Int64, Int64]


def view_of(setting: str, rows: Rows, alive: Alive, in_delta: int = 0) -> View:
    """Main holds all rows but the last `in_delta`."""
    vectors, passages, documents = rows
    n = len(passages) - in_delta
    buffer = DeltaBuffer(D)
    buffer.append(vectors[n:], passages[n:], documents[n:])
    main = build_main(vectors[:n], passages[:n], documents[:n], Build(setting))
    parts = (Segment(main, Alive(alive.mask[:n])), Segment(buffer.rows(), Alive(alive.mask[n:])))
    return View(1, D, parts)


def among(rows: Rows, alive: Alive, allowed: DocumentSet) -> Rows:
    mask = alive.mask & allowed.mask(rows[2])
    return rows[0][mask].astype(np.float32), rows[1][mask], rows[2][mask]


def near(rng: np.random.Generator, vectors: Float32, n: int) -> Float32:
    """(n, d) float32 unit vectors close to some of the given ones."""
    queries = vectors[rng.choice(len(vectors), n)] + 0.1 * rng.standard_normal((n, vectors.shape[1]))
    return np.asarray(queries / np.linalg.norm(queries, axis=1, keepdims=True), dtype=np.float32)


def recall(found: Sequence[Sequence[IndexHit]], expected: Sequence[Sequence[IndexHit]]) -> float:
    shares = [
        np.mean([hit.score >= best[-1].score - 1e-5 for hit in hits])
        for hits, best in zip(found, expected, strict=True)
    ]
    return float(np.mean(shares))


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.data())
def test_an_exact_view_among_some_documents_equals_brute_force(data: st.DataObject) -> None:
    rng = np.random.default_rng(data.draw(st.integers(0, 10**6)))
    n, documents = data.draw(st.integers(1, 400)), data.draw(st.integers(1, 120))
    rows = (unit_rows(rng, n, D).astype(np.float32), rng.permutation(n), rng.integers(7, 7 + documents, n))
    alive = Alive(rng.random(n) < data.draw(st.sampled_from([0.1, 0.8, 1.0])))
    chosen = np.arange(5, 9 + documents)
    allowed = DocumentSet.of(chosen[rng.random(len(chosen)) < data.draw(st.floats(0, 1))])
    view = view_of("Flat", rows, alive, in_delta=data.draw(st.integers(0, n)))
    k = data.draw(st.integers(1, 50))
    queries = unit_rows(rng, 3, D).astype(np.float32)
    for query, hits in zip(queries, view.search(queries, k, allowed), strict=True):
        assert_same_hits(hits, brute_force(among(rows, alive, allowed), query, k))


@pytest.fixture(scope="module")
def large() -> Rows:
    vectors = clustered_rows(np.random.default_rng(0), LARGE, D).astype(np.float16).astype(np.float32)
    ids = np.arange(LARGE)
    return vectors, ids + 5, ids // 2


@pytest.mark.parametrize("setting", KINDS)
def test_every_kind_finds_k_of_the_allowed_documents_at_every_selectivity(setting: str, large: Rows) -> None:
    rng = np.random.default_rng(1)
    alive = Alive(rng.random(LARGE) < 0.9)
    view = view_of(setting, large, alive, in_delta=500)
    queries = near(rng, large[0], 10)
    for share in (0.0005, 0.01, 0.1, 0.5, 1.0):
        documents = rng.choice(LARGE // 2, int(share * LARGE / 2), replace=False)
        allowed = DocumentSet.of(documents)
        found = view.search(queries, 10, allowed)
        expected = [brute_force(among(large, alive, allowed), query, 10) for query in queries]
        assert [len(hits) for hits in found] == [len(hits) for hits in expected]
        assert {hit.document_id for hits in found for hit in hits} <= set(documents.tolist())
        assert recall(found, expected) > 0.9


@pytest.mark.parametrize("setting", KINDS)
def test_one_allowed_document_is_found_among_many(setting: str, large: Rows) -> None:
    view = view_of(setting, large, Alive(np.ones(LARGE, dtype=np.bool_)))
    queries = near(np.random.default_rng(2), large[0], 5)
    for document in (0, LARGE // 2 - 1):
        for hits in view.search(queries, 10, DocumentSet.of(np.array([document]))):
            assert [hit.document_id for hit in hits] == [document]


@pytest.mark.parametrize("setting", KINDS)
def test_a_filter_that_keeps_to_rows_far_from_the_query_costs_no_recall(setting: str, large: Rows) -> None:
    query = large[0][:1]
    order = np.argsort(large[0] @ query[0])
    allowed = DocumentSet.of(large[2][order[: LARGE // 2]])
    alive = Alive(np.ones(LARGE, dtype=np.bool_))
    expected = brute_force(among(large, alive, allowed), query[0], 10)
    (hits,) = view_of(setting, large, alive).search(query, 10, allowed)
    assert len(hits) == 10
    assert recall([hits], [expected]) >= 0.8


def test_no_document_is_allowed_and_none_comes_back() -> None:
    rows = (unit_rows(np.random.default_rng(0), 5, D).astype(np.float32), np.arange(5), np.arange(5))
    view = view_of("Flat", rows, Alive(np.ones(5, dtype=np.bool_)))
    for allowed in (DocumentSet.of(np.empty(0, dtype=np.int64)), DocumentSet.of(np.array([99]))):
        assert view.search(rows[0][:2], 3, allowed) == [[], []]


def test_more_sets_than_a_view_remembers_are_kept_apart() -> None:
    rows = (unit_rows(np.random.default_rng(0), 40, D).astype(np.float32), np.arange(40), np.arange(40))
    view = view_of("Flat", rows, Alive(np.ones(40, dtype=np.bool_)), in_delta=20)
    sets = [DocumentSet.of(np.array([i])) for i in range(40)]
    for _ in range(2):
        for i, allowed in enumerate(sets):
            assert [hit.document_id for hit in view.search(rows[0][:1], 3, allowed)[0]] == [i]


@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.data())
def test_scores_of_given_documents_equal_brute_force(data: st.DataObject) -> None:
    rng = np.random.default_rng(data.draw(st.integers(0, 10**6)))
    n = data.draw(st.integers(1, 300))
    vectors = clustered_rows(rng, n, D).astype(np.float16).astype(np.float32)
    rows = (vectors, rng.permutation(n), rng.integers(0, 60, n))
    alive = Alive(rng.random(n) < 0.7)
    setting = data.draw(st.sampled_from(["Flat", "SQ8", "HNSW8"]))
    view = view_of(setting, rows, alive, in_delta=data.draw(st.integers(0, n)))
    asked = rng.integers(-5, 80, data.draw(st.integers(0, 90)))
    query = unit_rows(rng, 1, D).astype(np.float32)[0]
    expected = brute_force(among(rows, alive, DocumentSet.of(asked)), query, n)
    assert_same_hits(view.score(query, asked), expected)


def test_the_best_passage_is_the_least_id_among_equals() -> None:
    rows = (np.tile(np.eye(1, D, dtype=np.float32), (6, 1)), np.array([9, 4, 7, 3, 8, 1]), np.arange(6) // 3)
    view = view_of("Flat", rows, Alive(np.ones(6, dtype=np.bool_)), in_delta=2)
    hits = view.score(rows[0][0], np.array([1, 0]))
    assert [(hit.document_id, hit.passage_id) for hit in hits] == [(1, 1), (0, 4)]


@pytest.mark.parametrize("setting", ["Flat", "SQ8"])
def test_vectors_are_read_back_by_document(setting: str) -> None:
    rng = np.random.default_rng(0)
    stored = unit_rows(rng, 50, D).astype(np.float32)
    rows = (stored, rng.permutation(50) + 100, rng.integers(0, 12, 50))
    alive = Alive(rng.random(50) < 0.8)
    found = view_of(setting, rows, alive, in_delta=10).vectors(np.array([3, 7, 3, 500]))
    vectors, passages, documents = among(rows, alive, DocumentSet.of(np.array([3, 7])))
    order = np.argsort(passages)
    np.testing.assert_array_equal(found.passage_ids, passages[order])
    np.testing.assert_array_equal(found.document_ids, documents[order])
    np.testing.assert_array_equal(found.vectors, vectors[order])
    assert found.vectors.dtype == np.float32


def test_an_empty_view_scores_and_tells_nothing() -> None:
    view = View(0, D, ())
    ids = np.array([1, 2])
    assert view.score(np.zeros(D, dtype=np.float32), ids) == []
    assert view.vectors(ids).vectors.shape == (0, D)


def test_a_query_of_another_dimension_is_not_scored() -> None:
    view = View(0, D, ())
    with pytest.raises(EncoderMismatch, match="d=16"):
        view.score(np.zeros(8, dtype=np.float32), np.array([1]))
    with pytest.raises(InvalidInput, match="NaN"):
        view.score(np.full(D, np.nan, dtype=np.float32), np.array([1]))
