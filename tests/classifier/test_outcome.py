"""Figures of held-out predictions tell what new texts get: nothing is judged by what it was chosen on."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from classifier.abstaining import Given, held_out_limits
from classifier.calibrators import choose_calibration
from classifier.heads import ClassifierHeads
from classifier.measures import macro_f1
from classifier.scoring import sigmoid
from classifier.thresholds import best_thresholds, held_out_choices
from core.classifier_types import Bools, Examples, HeadKind, TrainedHead, TrainingOptions
from core.types import Float32, Int64
from tests.classifier.heads_data import DIMENSIONS, clusters, several

HEADS = ClassifierHeads()
SEEDS = range(5)


def going(share: float) -> None:
    """Nobody waits."""


def tick() -> None:
    """Nobody waits."""


def by_chance(count: int, seed: int) -> Examples:
    """Vectors and rare labels that have nothing to do with each other."""
    rng = np.random.default_rng(seed)
    vectors = rng.normal(size=(count, DIMENSIONS)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    labels = tuple(f"label {i}" for i in range(12))
    return Examples(labels, tuple(map(str, range(count))), vectors, rng.random((count, 12)) < 0.04)


def predictions(seed: int = 0) -> tuple[Float32, Bools, Int64]:
    """Logits, truth and folds of 200 examples of three labels."""
    rng = np.random.default_rng(seed)
    truth = rng.random((200, 3)) < 0.3
    logits = (rng.normal(size=truth.shape) + 2 * truth - 1).astype(np.float32)
    return logits, truth, rng.integers(0, 4, len(truth))


def test_the_f1_reported_of_labels_by_chance_is_about_that_of_new_texts() -> None:
    reported, curves, found = [], [], []
    for seed in SEEDS:
        trained = HEADS.train(
            by_chance(150, seed), TrainingOptions(head=HeadKind.LOGISTIC, multi_label=True), going
        )
        new = by_chance(4000, seed + 100)
        reported.append(trained.report["macro_f1"])
        curves.append(trained.report["learning_curve"][-1]["macro_f1"])
        found.append(macro_f1(new.truth, HEADS.scores(trained.head, new.vectors).is_chosen))
    assert np.mean(reported) < np.mean(found) + 0.04
    assert np.mean(curves) < np.mean(found) + 0.04


def test_the_precision_reported_of_answers_is_about_that_of_new_texts() -> None:
    counts = [90, 30, 15, 15]
    reported, found = [], []
    for seed in SEEDS:
        trained = HEADS.train(
            clusters(counts, spread=2.6, seed=seed), TrainingOptions(head=HeadKind.LOGISTIC), going
        )
        reported.append(trained.report["abstention"]["precision"])
        found.append(precision(trained, clusters([10 * n for n in counts], spread=2.6, seed=seed + 100)))
    assert np.mean(reported) < np.mean(found) + 0.005


def precision(trained: TrainedHead, new: Examples) -> float:
    scores = HEADS.scores(trained.head, new.vectors)
    is_answered = np.array([reason is None for reason in scores.abstentions])
    return float((scores.is_chosen & new.truth)[is_answered].any(axis=1).mean())


@pytest.mark.parametrize("examples", [clusters([40, 40, 40], spread=1.6), several(300)])
def test_the_calibration_error_reported_is_that_of_folds_it_was_not_fitted_to(examples: Examples) -> None:
    report = HEADS.train(examples, TrainingOptions(), going).report
    (tried,) = report["head"]["calibration"]["candidates"]
    assert report["calibration"]["ece"] == tried["ece"]


def test_the_thresholds_that_serve_are_of_all_examples_and_in_the_report() -> None:
    trained = HEADS.train(several(300), TrainingOptions(), going)
    rows = trained.report["classes"]
    assert [row["threshold"] for row in rows] == pytest.approx(trained.head.arrays["thresholds"], abs=1e-4)
    assert "chosen on the other folds too" in trained.report["split"]["note"]


def labels_given(logits: Float32, truth: Bools, folds: Int64) -> Bools:
    return held_out_choices(sigmoid(logits), truth, folds, tick)


def calibrated(logits: Float32, truth: Bools, folds: Int64) -> Float32:
    return choose_calibration(logits, truth, folds, True, tick).held_out(logits, folds, True)


def limits(logits: Float32, truth: Bools, folds: Int64) -> Float32:
    ones = np.ones(len(truth), np.int64)
    return held_out_limits(Given(sigmoid(logits[:, 0]), truth[:, 0] * ones, ones), ones > 0, folds, 0.6)


@pytest.mark.parametrize("say", [labels_given, calibrated, limits])
def test_what_is_said_of_a_fold_does_not_depend_on_its_own_labels(
    say: Callable[[Float32, Bools, Int64], np.ndarray],
) -> None:
    logits, truth, folds = predictions()
    other = np.where((folds == 2)[:, None], ~truth, truth)
    first, second = say(logits, truth, folds), say(logits, other, folds)
    assert np.array_equal(first[folds == 2], second[folds == 2])
    assert not np.array_equal(first, second)


def test_a_label_of_three_examples_is_not_given_to_nearly_all() -> None:
    rng = np.random.default_rng(0)
    truth = rng.random((1000, 4)) < np.array([0.3, 0.3, 0.3, 0])
    truth[:3, 3] = True
    logits = (rng.normal(size=truth.shape) + 3 * truth - 1.5).astype(np.float32)
    logits[:, 3] = rng.normal(size=len(truth)) - 6  # what tells nothing of it
    logits[:3, 3] = -9  # as low as any
    thresholds = best_thresholds(sigmoid(logits), truth)
    chosen = (sigmoid(logits) >= thresholds).mean(axis=0)
    assert chosen[3] < 0.01
    assert 0.2 < chosen[:3].min() < chosen[:3].max() < 0.4


def test_a_threshold_of_many_examples_is_their_own() -> None:
    rng = np.random.default_rng(0)
    truth = rng.random((20_000, 2)) < 0.3
    truth[:, 1] = truth[:, 0]
    logits = np.repeat(
        (rng.normal(size=(len(truth), 1)) + 2 * truth[:, :1] - 1).astype(np.float32), 2, axis=1
    )
    logits[:, 1] -= 2  # the same, lower
    chosen = sigmoid(logits) >= best_thresholds(sigmoid(logits), truth)
    assert (chosen[:, 0] == chosen[:, 1]).mean() > 0.97


def test_a_single_fold_is_judged_in_halves() -> None:
    logits, truth, _ = predictions()
    probabilities = sigmoid(logits)
    chosen = held_out_choices(probabilities, truth, np.full(len(truth), 7), tick)
    assert np.array_equal(
        chosen[::2], probabilities[::2] >= best_thresholds(probabilities[1::2], truth[1::2])
    )
    assert np.array_equal(
        chosen[1::2], probabilities[1::2] >= best_thresholds(probabilities[::2], truth[::2])
    )
