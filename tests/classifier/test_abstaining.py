"""Below which similarity to the examples a text is out of scope."""

from __future__ import annotations

import numpy as np
import pytest

from classifier.abstaining import (
    DOUBTFUL,
    FAR,
    NOTHING_BELOW,
    fewest_answers,
    lower_bound,
    wilson_bound,
)
from classifier.heads import ClassifierHeads
from core.classifier_types import Abstention, TrainingOptions
from core.types import Float32
from tests.classifier.heads_data import clusters


def similarities(n: int, seed: int = 0) -> Float32:
    return np.random.default_rng(seed).normal(0.7, 0.08, n).clip(-1, 0.99).astype(np.float32)


@pytest.mark.parametrize(("share", "n"), [(FAR, 500), (FAR, 5000), (DOUBTFUL, 20), (DOUBTFUL, 300)])
def test_of_enough_examples_the_bound_is_their_quantile(share: float, n: int) -> None:
    assert lower_bound(similarities(n), share) == pytest.approx(float(np.quantile(similarities(n), share)))


def test_of_fewer_examples_the_bound_goes_over_into_the_quantile() -> None:
    near = similarities(499)
    assert lower_bound(near, FAR) == pytest.approx(float(np.quantile(near, FAR)), abs=1e-3)


@pytest.mark.parametrize("n", [6, 16, 50])
def test_of_few_examples_fewer_texts_of_their_kind_are_below_than_below_their_quantile(n: int) -> None:
    new, draws = similarities(2000, seed=1), [similarities(n, seed) for seed in range(100, 140)]
    below = np.mean([(new < lower_bound(draw, FAR)).mean() for draw in draws])
    assert below < 0.02
    assert below < 0.6 * np.mean([(new < np.quantile(draw, FAR)).mean() for draw in draws])


@pytest.mark.parametrize("share", [FAR, DOUBTFUL])
@pytest.mark.parametrize("similarity", [[0.4], [0.4, 0.4], [0.4, 0.4 + 1e-7]])
def test_a_single_value_says_nothing(similarity: list[float], share: float) -> None:
    assert lower_bound(np.array(similarity, np.float32), share) == NOTHING_BELOW


def test_texts_like_a_few_examples_are_in_scope() -> None:
    new, heads = clusters([100, 100, 100], seed=9), ClassifierHeads()
    outside = []
    for seed in range(20):
        head = heads.train(clusters([2, 2, 2], seed=seed), TrainingOptions(), lambda share: None).head
        outside += [one is Abstention.OUT_OF_SCOPE for one in heads.scores(head, new.vectors).abstentions]
    assert np.mean(outside) < 0.05


@pytest.mark.parametrize("target", [0.1, 0.5, 0.9, 0.95, 0.99, 0.999])
def test_so_many_right_answers_show_a_precision_and_one_fewer_do_not(target: float) -> None:
    right = np.array([fewest_answers(target) - 1 or 0.1, fewest_answers(target)])
    before, shown = wilson_bound(right, right)
    assert before < target <= shown
