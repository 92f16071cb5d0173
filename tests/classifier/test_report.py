"""The cross-validated report: figures against hand-counted ones and scikit-learn's."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import confusion_matrix, f1_score, precision_recall_fscore_support

from classifier.confusion import confusion, most_confused
from classifier.curves import LearningPoint, learning_curve, spread_order
from classifier.measures import accuracy, class_scores, macro_f1, micro_f1
from classifier.problems import find_problems
from classifier.reliability import calibration_error, reliability_bins
from classifier.report import HeldOut, Split, chief_numbers, cross_validated_report
from core.classifier_types import Bools
from core.types import Int64

RNG = np.random.default_rng(3)


def one_hot(columns: Int64, c: int) -> Bools:
    return np.asarray(columns[:, None] == np.arange(c))


def held_out(n: int = 60, c: int = 3) -> HeldOut:
    columns = np.resize(np.arange(c), n)
    logits = RNG.normal(size=(n, c)) + 2 * one_hot(columns, c)
    probabilities = (np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)).astype(np.float32)
    return HeldOut(
        labels=tuple("abcdefgh"[:c]),
        is_multi=False,
        texts=tuple(f"text {i}" for i in range(n)),
        truth=one_hot(columns, c),
        is_seen=one_hot(columns, c),
        probabilities=probabilities,
        uncalibrated=np.sqrt(probabilities),
        is_chosen=one_hot(probabilities.argmax(axis=1), c),
        is_abstained=probabilities.max(axis=1) < 0.5,
    )


def test_measures_equal_those_of_scikit_learn() -> None:
    truth, chosen = RNG.random((200, 5)) < 0.3, RNG.random((200, 5)) < 0.3
    truth[:, 4] = chosen[:, 4] = False
    scores = class_scores(truth, chosen)
    expected = precision_recall_fscore_support(truth, chosen, zero_division=0)
    for ours, theirs in zip(
        (scores.precision, scores.recall, scores.f1, scores.support), expected, strict=True
    ):
        assert np.allclose(ours, theirs)
    assert macro_f1(truth, chosen) == pytest.approx(f1_score(truth, chosen, average="macro", zero_division=0))
    assert micro_f1(truth, chosen) == pytest.approx(f1_score(truth, chosen, average="micro"))


def test_with_several_labels_an_example_is_right_only_as_a_whole() -> None:
    truth = np.array([[True, True], [False, True], [False, False]])
    chosen = np.array([[True, False], [False, True], [False, False]])
    assert accuracy(truth, chosen) == pytest.approx(2 / 3)


def test_confusion_counts_equal_those_of_scikit_learn() -> None:
    given, chosen = RNG.integers(0, 6, 300), RNG.integers(0, 6, 300)
    counts = confusion(one_hot(given, 6), one_hot(chosen, 6))
    assert (counts == confusion_matrix(given, chosen)).all()


def test_the_confusion_of_several_labels_pairs_what_was_missed_with_what_was_wrong() -> None:
    truth = np.array([[True, True, False]])
    chosen = np.array([[True, False, True]])
    assert confusion(truth, chosen).tolist() == [[1, 0, 0], [0, 0, 1], [0, 0, 0]]


def test_the_most_confused_pair_comes_first_and_right_ones_not_at_all() -> None:
    counts = np.array([[50, 1, 0], [4, 60, 0], [0, 0, 9]])
    assert most_confused(["a", "b", "c"], counts) == [
        {"given": "b", "chosen": "a", "count": 4},
        {"given": "a", "chosen": "b", "count": 1},
    ]


def test_calibration_bins_hold_every_prediction_once() -> None:
    confidence = np.array([0.05, 0.5, 0.55, 1.0], np.float32)
    bins = reliability_bins(confidence, np.array([False, True, False, True]), 2)
    assert [(row.low, row.count, row.accuracy) for row in bins] == [
        (0.0, 1, 0.0),
        (0.5, 3, pytest.approx(2 / 3)),
    ]
    assert calibration_error(bins) == pytest.approx((0.05 + abs(2.05 - 2)) / 4, abs=1e-6)


def test_a_report_is_json_and_states_its_split() -> None:
    head, abstention = {"kind": "logistic"}, {"target_precision": 0.9}
    made = cross_validated_report(held_out(), Split(5, 7), head, abstention, [LearningPoint(20, 0.5, 0.4)])
    report = json.loads(json.dumps(made))
    assert report["split"]["folds"] == 5
    assert report["split"]["seed"] == 7
    assert report["split"]["examples"] == 60
    assert "5-fold" in report["split"]["method"]
    assert report["head"] == {"kind": "logistic"}
    assert report["learning_curve"] == [{"examples": 20, "accuracy": 0.5, "macro_f1": 0.4}]


def test_the_figures_of_a_report_are_those_of_its_predictions() -> None:
    data = held_out()
    report = cross_validated_report(data, Split(5, 0), {}, {}, [])
    right = (data.truth & data.is_chosen).sum(axis=1) > 0
    assert report["accuracy"] == pytest.approx(right.mean(), abs=1e-4)
    assert sum(row["support"] for row in report["classes"]) == 60
    assert sum(row["count"] for row in report["calibration"]["bins"]) == 60
    assert report["abstention"]["coverage"] == pytest.approx((~data.is_abstained).mean(), abs=1e-4)
    assert report["abstention"]["precision"] == pytest.approx(right[~data.is_abstained].mean(), abs=1e-4)
    assert set(chief_numbers(report)) == {"accuracy", "macro_f1", "micro_f1", "ece", "coverage", "precision"}


def test_a_report_without_any_answer_has_no_precision() -> None:
    report = cross_validated_report(
        replace(held_out(), is_abstained=np.ones(60, np.bool_)), Split(5, 0), {}, {}, []
    )
    assert report["abstention"] == {"coverage": 0.0, "precision": None}
    assert "precision" not in chief_numbers(report)


def test_of_several_labels_each_has_a_threshold_and_all_decisions_are_calibrated() -> None:
    data = held_out()
    several = replace(data, is_multi=True, thresholds=np.array([0.2, 0.3, 0.4], np.float32))
    report = cross_validated_report(several, Split(5, 0), {}, {}, [])
    assert [row["threshold"] for row in report["classes"]] == pytest.approx([0.2, 0.3, 0.4], abs=1e-4)
    assert sum(row["count"] for row in report["calibration"]["bins"]) == 180


def test_the_learning_curve_measures_growing_parts_on_examples_not_trained_on() -> None:
    truth = one_hot(np.tile(np.arange(4), 25), 4)
    seen: list[tuple[Int64, Int64]] = []

    def predict(train: Int64, test: Int64) -> Bools:
        seen.append((train, test))
        return truth[test] if len(train) > 40 else np.roll(truth[test], 1, axis=1)

    points = learning_curve(truth, np.arange(100), predict, seed=1)
    assert [point.examples for point in points] == [8, 16, 32, 56, 80]
    assert [point.accuracy for point in points] == [0, 0, 0, 1, 1]
    assert all(not set(train) & set(test) for train, test in seen)


def test_the_learning_curve_trains_on_no_twin_of_what_it_is_measured_on() -> None:
    truth = one_hot(np.tile(np.arange(4), 25), 4)
    groups = np.arange(100) // 8  # of all labels
    seen: list[tuple[Int64, Int64]] = []

    def predict(train: Int64, test: Int64) -> Bools:
        seen.append((train, test))
        return truth[test]

    learning_curve(truth, groups, predict, seed=1)
    assert seen
    assert all(not set(groups[train]) & set(groups[test]) for train, test in seen)


def test_every_beginning_of_the_order_has_labels_in_their_shares() -> None:
    truth = one_hot(np.repeat([0, 1], [90, 10]), 2)
    order = spread_order(truth, np.random.default_rng(0))
    assert sorted(order) == list(range(100))
    for beginning in (20, 50, 80):
        assert truth[order[:beginning], 1].sum() == pytest.approx(beginning / 10, abs=1)


def test_labels_that_differ_by_case_or_spaces_are_told() -> None:
    problems = find_problems(["Card arrival", "card_arrival", "other"], [], np.zeros((0, 3), np.bool_))
    assert problems[0].startswith("The labels 'Card arrival', 'card_arrival' differ only by case")


@pytest.mark.parametrize(
    ("labels", "told"),
    [
        (("caf\u00e9", "cafe\u0301"), "'cafe\\u0301', 'caf\\xe9'"),
        (("caf\u00e9", "CAFE\u0301"), "'CAFE\u0301', 'caf\u00e9'"),
        (("\ufb01nance", "finance"), "'finance', '\ufb01nance'"),
        (("e\u2011mail", "E mail"), "'E mail', 'e\u2011mail'"),
        (("stra\u00dfe", "STRASSE"), "'STRASSE', 'stra\u00dfe'"),
    ],
)
def test_labels_of_two_unicode_spellings_are_told(labels: tuple[str, str], told: str) -> None:
    problems = find_problems([*labels, "other"], [], np.zeros((0, 3), np.bool_))
    assert problems[0].startswith(f"The labels {told} differ only by")


def test_a_text_of_two_unicode_spellings_with_different_labels_is_told() -> None:
    truth = np.eye(2, dtype=np.bool_)
    problems = find_problems(["a", "b"], ["the caf\u00e9", "The cafe\u0301"], truth)
    assert problems[0].startswith("1 texts stand more than once with different labels")


def test_texts_with_contradicting_labels_are_told_with_both_labels() -> None:
    texts = ["Where is it?", "where  is it?", "more", "more"]
    truth = one_hot(np.array([0, 1, 0, 0]), 2)
    problems = " ".join(find_problems(["a", "b"], texts, truth))
    assert "1 texts stand more than once with different labels: 'Where is it?' as 'a' and as 'b'" in problems
    assert "2 examples repeat the text of another but for case and white space" in problems


def test_small_and_lopsided_labels_are_told() -> None:
    truth = one_hot(np.repeat([0, 1], [100, 2]), 2)
    problems = " ".join(find_problems(["big", "tiny"], [f"text {i}" for i in range(102)], truth))
    assert "1 labels have fewer than 5 examples: 'tiny' (2)" in problems
    assert "'big' has 100 examples, 'tiny' has 2" in problems


def test_sound_examples_have_no_problems() -> None:
    data = held_out()
    assert find_problems(data.labels, data.texts, data.truth) == []
