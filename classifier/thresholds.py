"""A threshold a label, where an example may have several. Shapes: n examples, c labels."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from core.classifier_types import Bools
from core.types import Float32, Int64

UNKNOWN = 0.5  # of a label without examples


def best_thresholds(probabilities: Float32, truth: Bools) -> Float32:
    """(c,) thresholds, each that of the highest F1 on its column of (n, c) held-out probabilities."""
    pairs = zip(probabilities.T, truth.T, strict=True)
    return np.array([_best_threshold(p, t) for p, t in pairs], dtype=np.float32)


def held_out_choices(probabilities: Float32, truth: Bools, folds: Int64, tick: Callable[[], None]) -> Bools:
    """(n, c) labels given in each of the `folds` (n,) by the best thresholds of the others.

    Thresholds chosen on the rows that they are judged by would flatter. A single fold is judged in halves.
    `tick` is called before each.
    """
    parts = np.unique(folds)
    if len(parts) == 1:
        folds, parts = np.arange(len(folds)) % 2, np.arange(2)
    is_chosen = np.empty_like(truth)
    for part in parts:
        tick()
        is_held = folds == part
        is_chosen[is_held] = probabilities[is_held] >= best_thresholds(
            probabilities[~is_held], truth[~is_held]
        )
    return is_chosen


def _best_threshold(probabilities: Float32, truth: Bools) -> float:
    if not truth.any():
        return UNKNOWN
    order = np.argsort(-probabilities, kind="stable")
    hits = np.cumsum(truth[order])
    f1 = 2 * hits / (np.arange(1, len(order) + 1) + truth.sum())  # 2 TP / (chosen + true)
    ordered = np.append(probabilities[order], 0.0)
    is_last_of_equals = ordered[:-1] > ordered[1:]
    best = int(np.argmax(np.where(is_last_of_equals, f1, -1.0)))
    return float(ordered[best] + ordered[best + 1]) / 2  # midway to the next, which is left out
