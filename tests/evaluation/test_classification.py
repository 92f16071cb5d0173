"""Choice of few examples and of thresholds."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import f1_score

from evaluation.classification import best_thresholds, few_of_each


def test_few_examples_hold_as_many_of_each_class_as_asked_for_or_there_are() -> None:
    truth = np.eye(3, dtype=np.bool_)[np.repeat([0, 1, 2], [50, 20, 5])]

    rows = few_of_each(truth, 8, seed=0)

    assert truth[rows].sum(axis=0).tolist() == [8, 8, 5]


def test_the_choice_of_examples_depends_on_the_seed_alone() -> None:
    truth = np.eye(3, dtype=np.bool_)[np.arange(90) % 3]

    first, same, other = (few_of_each(truth, 8, seed).tolist() for seed in (0, 0, 1))

    assert first == same != other


@pytest.mark.slow
def test_thresholds_reach_the_highest_f1_that_any_threshold_reaches() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        probabilities = rng.integers(1, 10, (30, 3)) / 10  # with equal ones
        truth = rng.random((30, 3)) < probabilities * 0.7
        truth[0] = True
        predicted = probabilities >= best_thresholds(probabilities, truth)
        for column in range(3):
            reached = f1_score(truth[:, column], predicted[:, column])
            cuts = [i / 20 for i in range(21)]
            possible = [
                f1_score(truth[:, column], probabilities[:, column] >= c, zero_division=0) for c in cuts
            ]
            assert reached >= max(possible) - 1e-12


def test_the_threshold_of_a_label_that_dev_does_not_hold_is_a_half() -> None:
    assert best_thresholds(np.full((4, 1), 0.3), np.zeros((4, 1), np.bool_)).tolist() == [0.5]
