"""Prototypes: the logit of a label is the cosine to the mean of its examples.

Snell et al. 2017, "Prototypical networks for few-shot learning", section 2.1, with cosine in the place of
Euclidean distance; the temperature comes from calibration.
"""

from __future__ import annotations

import numpy as np

from classifier.logistic import Linear
from core.classifier_types import Bools
from core.types import Float32


def fit_prototypes(vectors: Float32, truth: Bools) -> Linear:
    """From unit `vectors` (n, d) and `truth` (n, c); a label without examples has the logit 0."""
    sums = truth.T.astype(np.float32) @ vectors  # (c, d)
    lengths = np.linalg.norm(sums, axis=1, keepdims=True)
    weights = np.divide(sums, lengths, out=np.zeros_like(sums), where=lengths > 0)
    return Linear(np.ascontiguousarray(weights.T), np.zeros(truth.shape[1], np.float32))
