"""Which labels are taken for which. Shapes: n examples, c labels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from core.classifier_types import Bools
from core.types import Int64

MAX_PAIRS = 20


def confusion(truth: Bools, is_chosen: Bools) -> Int64:
    """(c, c) counts: row = given label, column = chosen label; both arrays (n, c).

    Where examples have several labels, the diagonal counts labels that were found; elsewhere stand the
    examples in which the row's label was missed and the column's chosen wrongly.
    """
    found, missed, wrong = truth & is_chosen, truth & ~is_chosen, is_chosen & ~truth
    counts = missed.T.astype(np.float32) @ wrong.astype(np.float32)  # (c, c)
    return np.asarray(np.rint(counts), dtype=np.int64) + np.diag(found.sum(axis=0))


def most_confused(labels: Sequence[str], counts: Int64, limit: int = MAX_PAIRS) -> list[dict[str, Any]]:
    """The pairs of `counts` (c, c) mistaken most often, first."""
    mistakes = counts.copy()
    np.fill_diagonal(mistakes, 0)
    order = np.argsort(-mistakes, axis=None, kind="stable")[:limit]
    pairs = [(int(place) // len(labels), int(place) % len(labels)) for place in order]
    return [
        {"given": labels[row], "chosen": labels[column], "count": int(mistakes[row, column])}
        for row, column in pairs
        if mistakes[row, column]
    ]
