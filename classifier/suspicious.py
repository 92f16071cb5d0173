"""Labels that are probably wrong, by confident learning on out-of-fold predictions.

Northcutt, Jiang, Chuang 2021, "Confident learning: estimating uncertainty in dataset labels", section 3.1: a
label's threshold is the mean probability it gets where it is given; an example whose probability of another
label reaches that label's threshold is counted under it in the confident joint. Those off its diagonal are
suspicious. Several labels an example: each label is a task of its own with two classes (Thyagarajan et al.
2022, "Identifying incorrect annotations in multi-label classification data").
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from core.classifier_types import Bools
from core.types import Float32, Float64


@dataclass(frozen=True, slots=True)
class SuspiciousLabel:
    """Example `row` with its `given` columns, the `suggested` ones, and the probability of the change."""

    row: int
    given: tuple[int, ...]
    suggested: tuple[int, ...]
    confidence: float


def suspicious_labels(
    truth: Bools, is_seen: Bools, probabilities: Float32, is_multi: bool
) -> list[SuspiciousLabel]:
    """The surest first. All arrays (n, c), `probabilities` by heads that had not seen the example.

    `is_seen`: of the labels given, those of which these heads had other examples. Of the rest, as of a label
    of one example, they could not know, so that it is neither doubted nor suggested.
    """
    find = _of_several if is_multi else _of_one
    found = find(truth, is_seen, probabilities)
    return sorted(found, key=lambda one: (-one.confidence, one.row))


def _of_one(truth: Bools, is_seen: Bools, probabilities: Float32) -> list[SuspiciousLabel]:
    given = truth.argmax(axis=1)
    rows = np.arange(len(given))
    is_confident = probabilities >= _mean_where(is_seen, probabilities)  # (n, c)
    best = np.where(is_confident, probabilities, -1.0).argmax(axis=1)
    is_surer = probabilities[rows, best] > probabilities[rows, given]
    is_wrong = is_seen.any(axis=1) & is_confident[rows, best] & is_surer
    return [
        SuspiciousLabel(int(row), (int(given[row]),), (int(best[row]),), float(probabilities[row, best[row]]))
        for row in np.flatnonzero(is_wrong)
    ]


def _of_several(truth: Bools, is_seen: Bools, probabilities: Float32) -> list[SuspiciousLabel]:
    is_missing = ~truth & (probabilities >= _mean_where(is_seen, probabilities)) & (probabilities > 0.5)
    absence = 1 - probabilities
    is_extra = is_seen & (absence >= _mean_where(~truth, absence)) & (absence > 0.5)
    is_flipped = is_missing | is_extra
    surest = np.where(is_missing, probabilities, np.where(is_extra, absence, 0.0)).max(axis=1, initial=0.0)
    return [
        SuspiciousLabel(
            int(row),
            tuple(np.flatnonzero(truth[row]).tolist()),
            tuple(np.flatnonzero(truth[row] ^ is_flipped[row]).tolist()),
            float(surest[row]),
        )
        for row in np.flatnonzero(is_flipped.any(axis=1))
    ]


def _mean_where(mask: Bools, values: Float32) -> Float64:
    """(c,) column means of `values` where `mask`; above every probability where there is nothing."""
    count = mask.sum(axis=0)
    total = np.where(mask, values, 0.0).sum(axis=0, dtype=np.float64)
    return np.asarray(np.where(count > 0, total / np.maximum(count, 1), 2.0), dtype=np.float64)
