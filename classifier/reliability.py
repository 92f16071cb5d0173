"""Whether probabilities come true: confidence against accuracy, in bins of equal width.

Guo et al. 2017, "On calibration of modern neural networks", section 2.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from core.classifier_types import Bools
from core.types import Float32


@dataclass(frozen=True, slots=True)
class ReliabilityBin:
    """Predictions with a confidence from `low` to `high`: their mean confidence, and how many were right."""

    low: float
    high: float
    count: int
    confidence: float
    accuracy: float


def reliability_bins(confidence: Float32, is_right: Bools, bins: int) -> list[ReliabilityBin]:
    """The bins that hold anything, in order; both arrays (n,)."""
    places = np.minimum((confidence * bins).astype(np.int64), bins - 1)
    count = np.bincount(places, minlength=bins)
    sure = np.bincount(places, weights=confidence, minlength=bins)
    right = np.bincount(places, weights=is_right, minlength=bins)
    return [
        ReliabilityBin(
            i / bins, (i + 1) / bins, int(count[i]), float(sure[i] / count[i]), float(right[i] / count[i])
        )
        for i in range(bins)
        if count[i]
    ]


def calibration_error(bins: Sequence[ReliabilityBin]) -> float:
    """Expected calibration error: the mean gap between confidence and accuracy, weighted by count."""
    total = sum(row.count for row in bins)
    return sum(row.count * abs(row.confidence - row.accuracy) for row in bins) / total if total else 0.0
