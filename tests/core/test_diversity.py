"""Maximal marginal relevance."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from core.diversity import diversified
from core.types import Float32


def unit(rows: list[list[float]]) -> Float32:
    vectors = np.array(rows, dtype=np.float32)
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))


def test_a_near_copy_of_the_first_hit_comes_after_one_that_is_unlike_it() -> None:
    vectors = unit([[1, 0], [1, 0.01], [0.2, 1]])
    relevance = np.array([0.9, 0.89, 0.7], dtype=np.float32)
    assert diversified(relevance, vectors, 0.0) == [0, 1, 2]
    assert diversified(relevance, vectors, 0.6) == [0, 2, 1]


def test_full_diversity_looks_at_likeness_alone_after_the_first() -> None:
    vectors = unit([[1, 0, 0], [0.9, 0.1, 0], [0, 1, 0], [-1, 0, 0]])
    assert diversified(np.array([4, 3, 2, 1], dtype=np.float32), vectors, 1.0) == [0, 3, 2, 1]


@given(st.integers(1, 12), st.floats(0, 1), st.integers(0, 1000))
def test_each_next_hit_has_the_greatest_gain(n: int, diversity: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    vectors, relevance = unit(rng.standard_normal((n, 4)).tolist()), rng.random(n).astype(np.float32)
    order = diversified(relevance, vectors, diversity)
    assert sorted(order) == list(range(n))
    scaled = (relevance - relevance.min()) / max(float(np.ptp(relevance)), 1e-9)
    for place in range(1, n):

        def gain(i: int, chosen: list[int]) -> float:
            nearest = max(float(vectors[i] @ vectors[j]) for j in chosen)
            return (1 - diversity) * float(scaled[i]) - diversity * nearest

        best = max(gain(i, order[:place]) for i in order[place:])
        assert gain(order[place], order[:place]) >= best - 1e-5


def test_nothing_is_arranged_as_nothing() -> None:
    assert diversified(np.empty(0, np.float32), np.empty((0, 4), np.float32), 0.5) == []
