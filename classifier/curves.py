"""How good a head gets with more examples. Shapes: n examples, c labels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from classifier.measures import accuracy, macro_f1
from core.classifier_types import Bools
from core.types import Int64

SHARES = (0.1, 0.2, 0.4, 0.7, 1.0)
TEST_SHARE = 0.2
FitAndPredict = Callable[[Int64, Int64], Bools]  # rows trained on, rows to predict -> (rows, c) chosen


@dataclass(frozen=True, slots=True)
class LearningPoint:
    """What a head trained on so many examples reaches on held-out ones."""

    examples: int
    accuracy: float
    macro_f1: float


def learning_curve(
    truth: Bools, groups: Int64, fit_and_predict: FitAndPredict, seed: int, shares: Sequence[float] = SHARES
) -> list[LearningPoint]:
    """Points of growing parts of the examples, all measured on the same fifth held out; `truth` (n, c).

    Both are drawn label by label, so that a part has about the same share of each. Not trained on is what is
    of one of the `groups` (n,) with an example held out. Parts in which a label is missing are left out: the
    head would not be the same task's.
    """
    order = spread_order(truth, np.random.default_rng(seed))
    test = order[: max(1, round(len(order) * TEST_SHARE))]
    train = order[len(test) :]
    train = train[~np.isin(groups[train], groups[test])]
    is_learnable = truth[train].any(axis=0)
    points = []
    for count in sorted({round(len(train) * share) for share in shares}):
        rows = train[:count]
        if count and (truth[rows].any(axis=0) == is_learnable).all():
            chosen = fit_and_predict(rows, test)
            points.append(LearningPoint(count, accuracy(truth[test], chosen), macro_f1(truth[test], chosen)))
    return points


def spread_order(truth: Bools, rng: np.random.Generator) -> Int64:
    """(n,) rows in an order whose every beginning has the labels in about their shares of all.

    An example of several labels goes by its rarest one. The i-th of m examples of a label stands at
    (i + a random part) / m of the way.
    """
    rarity = np.where(truth, truth.sum(axis=0), len(truth) + 1)
    group = np.where(truth.any(axis=1), rarity.argmin(axis=1), truth.shape[1])  # (n,)
    places = np.empty(len(truth))
    for label in np.unique(group):
        rows = rng.permutation(np.flatnonzero(group == label))
        places[rows] = (np.arange(len(rows)) + rng.random(len(rows))) / len(rows)
    return np.argsort(places, kind="stable")
