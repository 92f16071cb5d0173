"""Labels that are probably wrong, by confident learning."""

from __future__ import annotations

import numpy as np

from classifier.suspicious import suspicious_labels
from core.types import Float32, Float64

TRUTH = np.eye(2, dtype=np.bool_)[[0, 0, 0, 1, 1, 1]]


def of_two(p: Float64) -> Float32:
    """(n, 2) probabilities of two labels, `p` (n,) those of the first."""
    return np.stack([p, 1 - p], axis=1).astype(np.float32)


def test_an_example_surely_of_another_label_is_found_and_the_surest_comes_first() -> None:
    p = np.array([0.9, 0.9, 0.05, 0.1, 0.2, 0.9])  # of label 0; rows 2 and 5 look swapped
    found = suspicious_labels(TRUTH, TRUTH, of_two(p), is_multi=False)
    assert [(one.row, one.given, one.suggested) for one in found] == [(2, (0,), (1,)), (5, (1,), (0,))]
    assert found[0].confidence >= found[1].confidence


def test_an_unsure_example_is_not_suspicious() -> None:
    p = np.array([0.9, 0.9, 0.45, 0.1, 0.2, 0.1])
    assert suspicious_labels(TRUTH, TRUTH, of_two(p), is_multi=False) == []


def test_a_label_that_is_usually_unsure_has_a_lower_threshold() -> None:
    truth = np.eye(2, dtype=np.bool_)[[0, 0, 0, 0, 1, 1]]
    p = np.array([0.95, 0.95, 0.95, 0.4, 0.45, 0.45])
    (found,) = suspicious_labels(truth, truth, of_two(p), is_multi=False)
    assert found.row == 3


def test_of_several_labels_missing_and_needless_ones_are_found() -> None:
    truth = np.zeros((40, 2), np.bool_)
    truth[:20, 0] = truth[:, 1] = True
    truth[30:, 1] = False
    p = np.where(truth, 0.8, 0.1).astype(np.float32)
    p[25, 0] = 0.95  # not given, but looks like it
    p[3, 1] = 0.02  # given, but does not look like it
    found = {one.row: one for one in suspicious_labels(truth, truth, p, is_multi=True)}
    assert found.keys() == {25, 3}
    assert (found[25].given, found[25].suggested) == ((1,), (0, 1))
    assert (found[3].given, found[3].suggested) == ((0, 1), (0,))


def test_a_label_without_examples_is_never_suggested() -> None:
    truth = np.eye(3, dtype=np.bool_)[[0, 0, 1, 1]]
    p = np.full((4, 3), [0.05, 0.05, 0.9], np.float32)
    assert suspicious_labels(truth, truth, p, is_multi=False) == []


def test_the_only_example_of_a_label_is_not_suspicious_nor_is_its_label_suggested() -> None:
    truth = np.eye(3, dtype=np.bool_)[[0, 0, 1, 1, 2]]
    is_seen = truth & (truth.sum(axis=0) > 1)
    p = np.array(
        [[0.9, 0.1, 0], [0.3, 0.1, 0.6], [0.1, 0.9, 0], [0.1, 0.9, 0], [1, 0, 0]], np.float32
    )  # the heads that predicted the last row knew nothing of label 2
    assert suspicious_labels(truth, is_seen, p, is_multi=False) == []


def test_of_several_labels_one_that_stands_once_is_neither_doubted_nor_suggested() -> None:
    truth = np.zeros((40, 2), np.bool_)
    truth[:20, 0] = truth[5, 1] = True
    is_seen = truth & (truth.sum(axis=0) > 1)
    p = np.where(truth, 0.8, 0.1).astype(np.float32)
    p[5, 1], p[7, 1] = 0.0, 0.9
    assert suspicious_labels(truth, is_seen, p, is_multi=True) == []
