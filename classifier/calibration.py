"""Temperature scaling (Guo et al. 2017, "On calibration of modern neural networks", section 4.2)."""

from __future__ import annotations

import numpy as np

from core.types import Float32, Int64

GOLDEN = (5**0.5 - 1) / 2


def fit_temperature(scores: Float32, labels: Int64, low: float = 1e-3, high: float = 10.0) -> float:
    """The temperature that makes the labels most likely under softmax(scores / temperature).

    `scores` is (n, c), `labels` (n,) column numbers. Golden-section search over the logarithm: the loss has
    one minimum there.
    """
    a, b = np.log(low), np.log(high)
    while b - a > 1e-4:
        left, right = b - GOLDEN * (b - a), a + GOLDEN * (b - a)
        is_left = _loss(scores, labels, left) < _loss(scores, labels, right)
        a, b = (a, right) if is_left else (left, b)
    return float(np.exp((a + b) / 2))


def negative_log_likelihood(scores: Float32, labels: Int64, temperature: float) -> float:
    """Mean over n of -log softmax(scores / temperature) at the label."""
    logits = scores.astype(np.float64) / temperature
    logits -= logits.max(axis=1, keepdims=True)
    chosen = logits[np.arange(len(labels)), labels]
    return float(np.mean(np.log(np.exp(logits).sum(axis=1)) - chosen))


def expected_calibration_error(probabilities: Float32, labels: Int64, bins: int = 15) -> float:
    """Mean gap between confidence and accuracy over equal-width bins, weighted by their size (section 2).

    `probabilities` is (n, c), `labels` (n,) column numbers.
    """
    confidence = probabilities.max(axis=1)
    is_right = probabilities.argmax(axis=1) == labels
    places = np.minimum((confidence * bins).astype(int), bins - 1)
    gaps = [
        abs(float(confidence[places == i].mean()) - float(is_right[places == i].mean()))
        * (places == i).mean()
        for i in range(bins)
        if (places == i).any()
    ]
    return float(sum(gaps))


def _loss(scores: Float32, labels: Int64, log_temperature: float) -> float:
    return negative_log_likelihood(scores, labels, float(np.exp(log_temperature)))
