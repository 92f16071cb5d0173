"""Maximal marginal relevance: hits that are relevant and unlike those before them.

Carbonell, Goldstein 1998, "The use of MMR, diversity-based reranking for reordering documents and producing
summaries": next is the hit with the greatest (1 - d) * relevance - d * max similarity to those chosen.
"""

from __future__ import annotations

import numpy as np

from core.types import Float32


def diversified(relevance: Float32, vectors: Float32, diversity: float) -> list[int]:
    """Order of n hits: `relevance` (n,), unit `vectors` (n, d), `diversity` 0 to 1.

    Relevance is scaled to 0..1 over the hits, so that scores of any kind weigh against cosines. Whatever
    prefix of the order is shown, it is the same order.
    """
    n = len(relevance)
    if not n:
        return []
    low, high = float(relevance.min()), float(relevance.max())
    scaled = (relevance - low) / (high - low) if high > low else np.ones_like(relevance)
    similarity = vectors @ vectors.T  # (n, n)
    nearest = np.full(n, -1.0, dtype=np.float32)  # to any hit chosen
    order: list[int] = []
    is_left = np.ones(n, dtype=np.bool_)
    for _ in range(n):
        gain = (1 - diversity) * scaled - diversity * (nearest if order else 0.0)
        best = int(np.where(is_left, gain, -np.inf).argmax())
        order.append(best)
        is_left[best] = False
        nearest = np.maximum(nearest, similarity[best])
    return order
