"""Fusion equals its formulas, breaks ties always alike, and refuses weights that make no sense."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import InvalidInput
from core.fusion import RRF_K, Component, Found, FusedHit, Fusion, Method, fuse, missing, window
from core.index_types import IndexHit

COSINES = st.floats(-1, 1, width=32)
BM25 = st.floats(2**-10, 40, width=32)
WEIGHTS = st.floats(0, 1)


@st.composite
def found(draw: st.DrawFn, scores: st.SearchStrategy[float], first_passage: int, perfect: float) -> Found:
    """Hits of some of the documents 0 to 11; ties are likely, and a part of them is scored only."""
    values = draw(st.dictionaries(st.integers(0, 11), st.one_of(scores, st.sampled_from([0.25, 0.5]))))
    hits = [IndexHit(document, first_passage + document, score) for document, score in values.items()]
    ranked = sorted(hits, key=lambda hit: (-hit.score, hit.passage_id))
    cut = draw(st.integers(0, len(ranked)))
    return Found(tuple(ranked[:cut]), tuple(ranked[cut:]), perfect)


DENSE = found(COSINES, 100, 1.0)
LEXICAL = found(BM25, 200, 50.0)


def score_in(found: Found, document_id: int) -> float:
    return next((h.score for h in (*found.ranked, *found.scored) if h.document_id == document_id), 0.0)


def ranked_documents(*sides: Found) -> set[int]:
    return {hit.document_id for side in sides for hit in side.ranked}


def hits(*scores: float, first: int = 0, passage: int = 100) -> tuple[IndexHit, ...]:
    return tuple(IndexHit(first + i, passage + first + i, score) for i, score in enumerate(scores))


@given(DENSE, LEXICAL, WEIGHTS)
def test_convex_fusion_equals_its_formula(dense: Found, lexical: Found, weight: float) -> None:
    fused = fuse(dense, lexical, Fusion("convex", weight))
    expected = {
        document: weight * score_in(dense, document) + (1 - weight) * score_in(lexical, document) / 50
        for document in ranked_documents(dense, lexical)
    }
    assert {hit.document_id: hit.score for hit in fused} == pytest.approx(expected, abs=1e-12)
    assert len(fused) == len(expected)


@given(DENSE, LEXICAL)
def test_reciprocal_rank_fusion_equals_its_formula(dense: Found, lexical: Found) -> None:
    fused = fuse(dense, lexical, Fusion("rrf"))
    expected = dict.fromkeys(ranked_documents(dense, lexical), 0.0)
    for side in (dense, lexical):
        for rank, hit in enumerate(side.ranked, start=1):
            expected[hit.document_id] += 1 / (RRF_K + rank)
    assert {hit.document_id: hit.score for hit in fused} == pytest.approx(expected, abs=1e-12)


@given(DENSE, LEXICAL, st.sampled_from(["convex", "rrf"]))
def test_hits_come_best_first_and_equal_scores_by_document_id(
    dense: Found, lexical: Found, method: str
) -> None:
    fused = fuse(dense, lexical, Fusion(method))  # type: ignore[arg-type]
    assert [(-hit.score, hit.document_id) for hit in fused] == sorted(
        (-hit.score, hit.document_id) for hit in fused
    )


@given(DENSE, LEXICAL)
def test_a_hit_tells_the_score_and_the_rank_that_each_index_gave_it(dense: Found, lexical: Found) -> None:
    for hit in fuse(dense, lexical, Fusion()):
        for component, side in ((hit.dense, dense), (hit.lexical, lexical)):
            ranks = {other.document_id: rank for rank, other in enumerate(side.ranked, start=1)}
            known = {other.document_id for other in (*side.ranked, *side.scored)}
            if hit.document_id in known:
                expected = Component(score_in(side, hit.document_id), ranks.get(hit.document_id))
                assert component == expected
            else:
                assert component is None


@given(DENSE, LEXICAL)
def test_the_passage_is_the_best_dense_one_or_else_the_lexical_one(dense: Found, lexical: Found) -> None:
    by_vectors = {hit.document_id for hit in (*dense.ranked, *dense.scored)}
    for hit in fuse(dense, lexical, Fusion()):
        assert hit.passage_id == (100 if hit.document_id in by_vectors else 200) + hit.document_id


@given(DENSE, LEXICAL, st.floats(0.01, 0.99), st.integers(0, 11), st.floats(0.01, 1))
def test_a_better_component_never_lowers_a_fused_score(
    dense: Found, lexical: Found, weight: float, document: int, more: float
) -> None:
    def raised(side: Found, step: float) -> Found:
        def one(hit: IndexHit) -> IndexHit:
            gain = step if hit.document_id == document else 0.0
            return IndexHit(hit.document_id, hit.passage_id, hit.score + gain)

        ranked = sorted(map(one, side.ranked), key=lambda hit: -hit.score)
        return Found(ranked, tuple(map(one, side.scored)), side.perfect)

    for method in ("convex", "rrf"):
        fusion = Fusion(method, weight)
        before = {hit.document_id: hit.score for hit in fuse(dense, lexical, fusion)}
        for better in ((raised(dense, more), lexical), (dense, raised(lexical, 50 * more))):
            after = {hit.document_id: hit.score for hit in fuse(*better, fusion)}
            assert after.keys() == before.keys()
            assert after.get(document, 0.0) >= before.get(document, 0.0)


@given(DENSE, LEXICAL, WEIGHTS)
def test_a_score_does_not_depend_on_the_other_candidates(dense: Found, lexical: Found, weight: float) -> None:
    fusion = Fusion("convex", weight)
    alone = {
        document: fuse(Found((), (*dense.ranked, *dense.scored)), Found(hits(0.0, first=document)), fusion)[
            0
        ].score
        for document in range(12)
    }
    whole = fuse(dense, Found((), (), lexical.perfect), fusion)
    assert all(hit.score == alone[hit.document_id] for hit in whole)


def test_reciprocal_ranks_by_hand() -> None:
    dense = Found(hits(0.9, 0.8))  # documents 0, 1
    lexical = Found(hits(7.0, 3.0, first=1, passage=200))  # documents 1, 2
    assert fuse(dense, lexical, Fusion("rrf")) == [
        FusedHit(1, 101, 1 / 62 + 1 / 61, Component(0.8, 2), Component(7.0, 1)),
        FusedHit(0, 100, 1 / 61, Component(0.9, 1), None),
        FusedHit(2, 202, 1 / 62, None, Component(3.0, 2)),
    ]


def test_a_convex_combination_by_hand() -> None:
    dense = Found(hits(0.5, 0.25))
    lexical = Found(hits(10.0, first=1, passage=200), perfect=20.0)
    scores = [(hit.document_id, hit.score) for hit in fuse(dense, lexical, Fusion("convex", 0.75))]
    assert scores == [(0, 0.375), (1, 0.3125)]


def test_one_side_alone_keeps_its_order() -> None:
    some = hits(0.9, 0.8, 0.1)
    for fusion in (Fusion("convex", 0.6), Fusion("rrf")):
        for fused in (fuse(Found(some), Found(()), fusion), fuse(Found(()), Found(some), fusion)):
            assert [hit.document_id for hit in fused] == [0, 1, 2]


def test_nothing_found_gives_nothing() -> None:
    assert fuse(Found(()), Found((), perfect=0.0), Fusion()) == []


def test_a_query_without_words_leaves_the_dense_scores() -> None:
    fused = fuse(Found(hits(0.9, 0.8)), Found((), perfect=0.0), Fusion("convex", 0.5))
    assert [hit.score for hit in fused] == [0.45, 0.4]


def test_missing_are_the_documents_that_only_the_others_hold() -> None:
    assert missing(hits(3.0, 2.0), hits(0.9, 0.8, 0.7, first=1)) == [2, 3]
    assert missing(hits(1.0), ()) == []


def test_a_window_holds_twice_the_wanted_hits() -> None:
    assert [window(wanted) for wanted in (1, 25, 26, 50, 51)] == [50, 50, 100, 100, 200]


@pytest.mark.parametrize("method", ["convex", "rrf"])
def test_pages_continue_one_another_whatever_their_window(method: Method) -> None:
    rng = np.random.default_rng(0)
    scores = rng.normal(size=(2, 700))
    whole = [
        sorted((IndexHit(i, i, float(score)) for i, score in enumerate(side)), key=lambda hit: -hit.score)
        for side in scores
    ]

    def first(wanted: int) -> list[FusedHit]:
        dense, lexical = (side[: window(wanted)] for side in whole)
        only_dense, only_lexical = set(missing(lexical, dense)), set(missing(dense, lexical))
        return fuse(
            Found(dense, [hit for hit in whole[0] if hit.document_id in only_lexical]),
            Found(lexical, [hit for hit in whole[1] if hit.document_id in only_dense]),
            Fusion(method, 0.5),
        )[:wanted]

    longest = first(700)
    assert sorted(hit.document_id for hit in longest) == list(range(700))
    for wanted in (1, 10, 49, 50, 51, 99, 100, 101, 250, 399):
        assert first(wanted) == longest[:wanted]


@pytest.mark.parametrize("weight", [-0.01, 1.01, math.nan, math.inf])
def test_a_weight_outside_0_to_1_is_refused(weight: float) -> None:
    with pytest.raises(InvalidInput, match=r"dense_weight is .*; it must be 0 to 1"):
        Fusion("convex", weight)


def test_an_unknown_method_is_refused() -> None:
    with pytest.raises(InvalidInput, match="'sum' is unknown; use convex or rrf"):
        Fusion("sum")  # type: ignore[arg-type]
