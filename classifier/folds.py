"""Stratified folds: each example is held out once. Shapes: n examples, c labels."""

from __future__ import annotations

import numpy as np

from classifier.curves import spread_order
from core.classifier_types import Bools
from core.types import Int64

FEW = 2000
FOLDS, FOLDS_OF_FEW = 5, 8  # of few examples more are needed to train on


def fold_count(truth: Bools) -> int:
    """As many as the most frequent label has examples, at most FOLDS (of few examples FOLDS_OF_FEW)."""
    most = int(truth.sum(axis=0).max())
    return max(2, min(FOLDS_OF_FEW if len(truth) <= FEW else FOLDS, most))


def stratified_folds(truth: Bools, count: int, seed: int) -> Int64:
    """(n,) the fold in which each example is held out, drawn so that each fold has a label's share of it.

    The examples of a label stand together in an order; every `count`-th of that order is a fold's.
    """
    rng = np.random.default_rng(seed)
    order = spread_order(truth, rng)
    rarity = np.where(truth, truth.sum(axis=0), len(truth) + 1).argmin(axis=1)
    group = np.where(truth.any(axis=1), rarity, truth.shape[1])
    by_label = order[np.argsort(group[order], kind="stable")]
    folds = np.empty(len(truth), np.int64)
    folds[by_label] = np.arange(len(truth)) % count
    return folds
