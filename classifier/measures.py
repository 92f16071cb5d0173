"""Accuracy, precision, recall and F1 of predicted labels. Shapes: n examples, c labels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from core.classifier_types import Bools
from core.types import Float64, Int64


@dataclass(frozen=True, slots=True, eq=False)
class ClassScores:
    """`precision`, `recall`, `f1` (c,), 0 where they are not defined; `support` (c,) examples of a label."""

    precision: Float64
    recall: Float64
    f1: Float64
    support: Int64


def accuracy(truth: Bools, is_chosen: Bools) -> float:
    """Share of examples all of whose labels are right; both arrays (n, c)."""
    return float((truth == is_chosen).all(axis=1).mean())


def class_scores(truth: Bools, is_chosen: Bools) -> ClassScores:
    """Of each label by itself; both arrays (n, c)."""
    hits = (truth & is_chosen).sum(axis=0)
    support, chosen = truth.sum(axis=0), is_chosen.sum(axis=0)
    return ClassScores(
        _ratio(hits, chosen), _ratio(hits, support), _ratio(2 * hits, support + chosen), support
    )


def macro_f1(truth: Bools, is_chosen: Bools) -> float:
    """Mean F1 of the labels; one that is neither given nor chosen counts 0."""
    return float(class_scores(truth, is_chosen).f1.mean())


def micro_f1(truth: Bools, is_chosen: Bools) -> float:
    """F1 of all decisions together; the accuracy where every example has one label."""
    total = truth.sum() + is_chosen.sum()
    return float(2 * (truth & is_chosen).sum() / total) if total else 0.0


def _ratio(part: Int64, whole: Int64) -> Float64:
    return np.asarray(np.where(whole > 0, part / np.maximum(whole, 1), 0.0), dtype=np.float64)
