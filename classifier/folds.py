"""Stratified folds: each example is held out once, with its twins. Shapes: n examples, c labels."""

from __future__ import annotations

import numpy as np

from classifier.curves import spread_order
from core.classifier_types import Bools
from core.twins import first_rows
from core.types import Int64

FEW = 2000
FOLDS, FOLDS_OF_FEW = 5, 8  # of few examples more are needed to train on


def fold_count(truth: Bools, groups: Int64) -> int:
    """As many as the most frequent label has texts, at most FOLDS (of few texts FOLDS_OF_FEW)."""
    truth = truth[first_rows(groups)]
    most = int(truth.sum(axis=0).max())
    return max(2, min(FOLDS_OF_FEW if len(truth) <= FEW else FOLDS, most))


def stratified_folds(truth: Bools, groups: Int64, count: int, seed: int) -> Int64:
    """(n,) the fold in which each example is held out, drawn so that each fold has a label's share of it.

    Examples of one of the `groups` (n,) go where the first of them goes.
    """
    return _folds_of_texts(truth[first_rows(groups)], count, seed)[groups]


def _folds_of_texts(truth: Bools, count: int, seed: int) -> Int64:
    """The texts of a label stand together in an order; every `count`-th of that order is a fold's."""
    rng = np.random.default_rng(seed)
    order = spread_order(truth, rng)
    rarity = np.where(truth, truth.sum(axis=0), len(truth) + 1).argmin(axis=1)
    group = np.where(truth.any(axis=1), rarity, truth.shape[1])
    by_label = order[np.argsort(group[order], kind="stable")]
    folds = np.empty(len(truth), np.int64)
    folds[by_label] = np.arange(len(truth)) % count
    return folds


def seen_elsewhere(truth: Bools, folds: Int64) -> Bools:
    """(n, c) of the labels given, those that an example of another fold has too."""
    counts = np.stack([truth[folds == fold].sum(axis=0) for fold in range(int(folds.max()) + 1)])  # (f, c)
    return np.asarray(truth & (counts.sum(axis=0) > counts)[folds])
