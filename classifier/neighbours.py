"""The k nearest labelled examples vote, near ones more.

The share of a label is sum e^(s / t) over those of the k nearest examples that have it, divided by the sum
over all k, where s is the cosine (Dudani 1976, "The distance-weighted k-nearest-neighbor rule", with an
exponential weight); the logit is log(share / (1 - share)) with shares kept away from 0 and 1.
"""

from __future__ import annotations

import numpy as np

from core.classifier_types import Bools
from core.types import Float32

SHARPNESS = 20.0  # 1 / t
LEAST_SHARE = 1e-3
CELLS = 16_000_000  # similarities at a time


def neighbour_logits(vectors: Float32, examples: Float32, truth: Bools, k: int) -> Float32:
    """(n, c) for `vectors` (n, d); `examples` (m, d) with `truth` (m, c). Fewer than k examples all vote."""
    step = max(1, CELLS // max(1, len(examples)))
    votes = truth.astype(np.float32)
    parts = [_logits(vectors[i : i + step], examples, votes, k) for i in range(0, len(vectors), step)]
    return np.concatenate(parts) if parts else np.zeros((0, truth.shape[1]), np.float32)


def _logits(vectors: Float32, examples: Float32, votes: Float32, k: int) -> Float32:
    similarity = vectors @ examples.T  # (n, m)
    k = min(k, len(examples))
    nearest = np.argpartition(-similarity, k - 1, axis=1)[:, :k] if k < len(examples) else _all(similarity)
    near = np.take_along_axis(similarity, nearest, axis=1)  # (n, k)
    weights = np.exp(SHARPNESS * (near - near.max(axis=1, keepdims=True)))
    weights /= weights.sum(axis=1, keepdims=True)
    shares = np.zeros((len(vectors), votes.shape[1]), np.float32)
    for place in range(k):
        shares += weights[:, place, None] * votes[nearest[:, place]]
    shares = np.clip(shares, LEAST_SHARE, 1 - LEAST_SHARE)
    return np.asarray(np.log(shares / (1 - shares)), dtype=np.float32)


def _all(similarity: Float32) -> np.ndarray[tuple[int, ...], np.dtype[np.intp]]:
    return np.broadcast_to(np.arange(similarity.shape[1]), similarity.shape)
