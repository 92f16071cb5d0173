"""Documents whose label would help most."""

from __future__ import annotations

import numpy as np
import pytest

from classifier.suggest import CANDIDATES, suggest, uncertainties
from core.classifier_types import Head, HeadKind, HeadScores
from core.types import Float32, Float64

RNG = np.random.default_rng(4)
NOTHING = np.zeros((0, 16), np.float32)


def head(c: int = 2, is_multi: bool = False) -> Head:
    return Head(HeadKind.LOGISTIC, tuple("abcd"[:c]), is_multi, {})


def scores_of(probabilities: Float32) -> HeadScores:
    n = len(probabilities)
    return HeadScores(np.log(probabilities), probabilities, probabilities > 0.5, (None,) * n)


def two_way(p: Float32 | Float64) -> HeadScores:
    return scores_of(np.stack([p, 1 - p], axis=1).astype(np.float32))


def cloud(n: int, around: int, spread: float = 0.1) -> Float32:
    vectors = RNG.normal(scale=spread, size=(n, 16)).astype(np.float32)
    vectors[:, around] += 1
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), dtype=np.float32)


def test_uncertainty_is_one_less_the_lead_of_the_best_label() -> None:
    scores = scores_of(np.array([[0.5, 0.5, 0.0001], [0.7, 0.2, 0.1]], np.float32))
    assert uncertainties(scores, head(3)) == pytest.approx([1.0, 0.5], abs=1e-6)


def test_of_several_labels_the_least_sure_one_counts() -> None:
    scores = scores_of(np.array([[0.99, 0.6], [0.99, 0.01]], np.float32))
    assert uncertainties(scores, head(2, is_multi=True)) == pytest.approx([0.8, 0.02], abs=1e-6)


def test_an_uncertain_document_goes_before_sure_ones() -> None:
    vectors = np.concatenate([cloud(50, 0), cloud(50, 1)])
    scores = two_way(np.repeat([0.99, 0.55], 50))
    (row,) = suggest(head(), scores, vectors, NOTHING, 1)
    assert row.row >= 50


def test_of_equally_uncertain_documents_one_of_each_region_is_taken_the_dense_one_first() -> None:
    vectors = np.concatenate([cloud(20, 0), cloud(60, 1), cloud(30, 2)])
    rows = suggest(head(), two_way(np.full(110, 0.5)), vectors, NOTHING, 3)
    regions = np.repeat([0, 1, 2], [20, 60, 30])
    assert [regions[row.row] for row in rows] == [1, 2, 0]
    assert rows[0].score == 1.0
    assert [row.score for row in rows] == sorted((row.score for row in rows), reverse=True)


def test_regions_with_examples_already_are_left_for_others() -> None:
    vectors = np.concatenate([cloud(60, 0), cloud(20, 1)])
    (row,) = suggest(head(), two_way(np.full(80, 0.5)), vectors, cloud(5, 0), 1)
    assert row.row >= 60


def test_near_duplicates_of_examples_are_not_suggested() -> None:
    vectors = cloud(30, 0, spread=0.3)
    rows = suggest(head(), two_way(np.full(30, 0.5)), vectors, vectors[:25], 30)
    assert {row.row for row in rows} == set(range(25, 30))


def test_examples_that_are_still_the_most_uncertain_leave_the_places_to_others() -> None:
    examples, others = cloud(CANDIDATES + 10, 0, spread=0.3), cloud(30, 1, spread=0.3)
    p = np.repeat([0.5, 0.9], [len(examples), len(others)])
    rows = suggest(head(), two_way(p), np.concatenate([examples, others]), examples, 40)
    assert {row.row for row in rows} == set(range(len(examples), len(p)))
    assert suggest(head(), two_way(p[: len(examples)]), examples, examples, 5) == []


def test_a_suggestion_says_why() -> None:
    (row,) = suggest(head(), two_way(np.array([0.7])), cloud(1, 0), NOTHING, 3)
    assert (row.row, row.label) == (0, "a")
    assert row.probability == pytest.approx(0.7)
    assert row.uncertainty == pytest.approx(0.6)
    assert row.density == pytest.approx(1.0, abs=1e-5)


def test_nothing_is_suggested_of_nothing() -> None:
    assert suggest(head(), two_way(np.zeros(0, np.float32)), NOTHING, NOTHING, 3) == []


def test_the_greedy_choice_is_that_of_computing_every_gain_anew() -> None:
    vectors = cloud(200, 0, spread=0.5)
    p = RNG.uniform(0.5, 1, 200)
    rows = [row.row for row in suggest(head(), two_way(p), vectors, NOTHING, 10)]
    weights = uncertainties(two_way(p), head()).astype(np.float64)
    similarity = np.maximum(vectors @ vectors.T, 0).astype(np.float64)
    covered, expected = np.zeros(200), []
    for _ in range(10):
        gains = np.maximum(similarity - covered, 0) @ weights
        expected.append(int(gains.argmax()))
        covered = np.maximum(covered, similarity[expected[-1]])
    assert rows == expected
