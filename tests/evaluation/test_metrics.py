"""Measures of hand-made rankings and correlations, against numbers worked out by hand."""

from __future__ import annotations

from math import log2

import numpy as np
import pytest
from scipy import stats

from evaluation.retrieval import measure_rankings
from evaluation.similarity import spearman_shares
from evaluation.systems import nearest


def test_measures_of_a_hand_made_ranking_are_the_known_numbers() -> None:
    judgements = {"q1": {"a": 2, "b": 1}, "q2": {"c": 1}}
    ranked = {"q1": ["x", "b", "a"], "q2": ["x", "y", "z"]}

    measures = {m.name: m for m in measure_rankings(judgements, ranked)}

    ndcg = (1 / log2(3) + 2 / log2(4)) / (2 / log2(2) + 1 / log2(3))
    assert measures["nDCG@10"].items == pytest.approx({"q1": ndcg, "q2": 0.0})
    assert measures["recall@100"].items == {"q1": 1.0, "q2": 0.0}
    assert measures["MAP@1000"].items == pytest.approx({"q1": (1 / 2 + 2 / 3) / 2, "q2": 0.0})
    assert measures["MRR@10"].items == {"q1": 0.5, "q2": 0.0}
    assert all(m.value == pytest.approx(np.mean(list(m.items.values()))) for m in measures.values())


def test_ranks_past_ten_do_not_count_for_the_measures_at_ten() -> None:
    ranked = {"q": [*(f"x{i}" for i in range(10)), "a"]}

    measures = {m.name: m.value for m in measure_rankings({"q": {"a": 1}}, ranked)}

    assert measures["nDCG@10"] == measures["MRR@10"] == 0.0
    assert measures["recall@100"] == 1.0
    assert measures["MAP@1000"] == pytest.approx(1 / 11)


def test_a_query_without_any_ranking_counts_as_zero() -> None:
    measures = measure_rankings({"q1": {"a": 1}, "q2": {"a": 1}}, {"q1": ["a"], "q2": []})

    assert {m.value for m in measures} == {0.5}


def test_the_order_of_the_ranking_decides_not_the_ids() -> None:
    values = [
        measure_rankings({"q": {"b": 1}}, {"q": ranking})[0].value for ranking in (["b", "z"], ["z", "b"])
    ]

    assert values == pytest.approx([1.0, 1 / log2(3)])


def test_shares_of_pairs_average_to_spearmans_correlation() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=50), rng.integers(0, 6, 50).astype(float)  # with ties

    assert spearman_shares(x, y).mean() == pytest.approx(stats.spearmanr(x, y).statistic)


def test_nearest_equals_sorting_all_scores_with_earlier_rows_first_at_equal_scores() -> None:
    rng = np.random.default_rng(1)
    xq = rng.integers(-2, 3, (70, 3)).astype(np.float32)
    xb = rng.integers(-2, 3, (200, 3)).astype(np.float32)  # many equal scores

    for query, found in zip(xq, nearest(xq, xb, 20), strict=True):
        assert found.tolist() == sorted(range(200), key=lambda i: (-float(query @ xb[i]), i))[:20]


def test_nearest_gives_all_rows_when_there_are_fewer_than_asked_for() -> None:
    assert nearest(np.eye(2, dtype=np.float32)[:1], np.eye(2, dtype=np.float32), 5)[0].tolist() == [0, 1]
