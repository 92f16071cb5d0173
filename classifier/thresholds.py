"""A threshold a label, where an example may have several. Shapes: n examples, c labels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from core.classifier_types import Bools
from core.types import Float32, Float64, Int64

UNKNOWN = 0.5  # of a label without examples
BORROWED = 20  # examples that a label is given to its own, which are like those of all labels together
_POOLED_CELLS = 2_000_000
_POOLED_CANDIDATES = 512


def best_thresholds(probabilities: Float32, truth: Bools) -> Float32:
    """(c,) thresholds, each that of the highest F1 on its column of (n, c) held-out probabilities.

    The best of a few examples is chance: of three, it can lie where nearly all is chosen. So the counts of
    all labels are added to a label's own, scaled to BORROWED examples that have it.
    """
    if not truth.any():
        return np.full(truth.shape[1], UNKNOWN, np.float32)
    all_labels = _all_labels(probabilities, truth)
    pairs = zip(probabilities.T, truth.T, strict=True)
    return np.array([_best_threshold(p, t, all_labels) for p, t in pairs], dtype=np.float32)


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


@dataclass(frozen=True, slots=True, eq=False)
class _Counts:
    """What thresholds choose: `scores` of examples and `hits`, those of the right ones, both rising."""

    scores: Float32
    hits: Float32

    @classmethod
    def of(cls, probabilities: Float32, truth: Bools) -> _Counts:
        return cls(np.sort(probabilities), np.sort(probabilities[truth]))

    def chosen(self, thresholds: Float32) -> Int64:
        return len(self.scores) - np.searchsorted(self.scores, thresholds)

    def right(self, thresholds: Float32) -> Int64:
        return len(self.hits) - np.searchsorted(self.hits, thresholds)


def _all_labels(probabilities: Float32, truth: Bools) -> _Counts:
    """Of every label's column together; of very many rows a part, spread over them."""
    step = -(-truth.size // _POOLED_CELLS)
    if not truth[::step].any():
        step = 1
    return _Counts.of(probabilities[::step].ravel(), truth[::step].ravel())


def _best_threshold(probabilities: Float32, truth: Bools, all_labels: _Counts) -> float:
    if not truth.any():
        return UNKNOWN
    own = _Counts.of(probabilities, truth)
    spread = np.linspace(0, len(all_labels.hits) - 1, _POOLED_CANDIDATES).astype(np.int64)
    candidates = np.concatenate([_between(own.scores), _between(all_labels.hits[spread])])
    f1 = _f1(own, all_labels, candidates)
    return float(candidates[f1.argmax()])


def _between(rising: Float32) -> Float32:
    """Midway from each different value to the one below it, which is left out."""
    different = np.unique(rising)
    return np.asarray((different + np.append(np.float32(0), different[:-1])) / 2, dtype=np.float32)


def _f1(own: _Counts, others: _Counts, thresholds: Float32) -> Float64:
    """2 TP / (chosen + true) of the counts of a label and its share of those of all."""
    share = BORROWED / len(others.hits)
    right = own.right(thresholds) + share * others.right(thresholds)
    chosen = own.chosen(thresholds) + share * others.chosen(thresholds)
    return np.asarray(2 * right / (chosen + len(own.hits) + BORROWED))
