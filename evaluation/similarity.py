"""Sentence similarity: Spearman's rank correlation of cosine and judged score."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import stats

from evaluation.datasets import SimilaritySet
from evaluation.results import Measure, Result
from evaluation.systems import Progress, System


def evaluate_similarity(data: SimilaritySet, system: System, progress: Progress) -> Result:
    """Both texts of a pair are encoded as queries."""
    texts = list(dict.fromkeys(text for pair in data.pairs for text in pair))
    vectors = dict(zip(texts, system.embed(texts, progress), strict=True))
    cosines = np.array([float(vectors[a] @ vectors[b]) for a, b in data.pairs])
    shares = spearman_shares(cosines, np.array(data.scores))
    items = {str(i): float(share) for i, share in enumerate(shares)}
    return Result(data.name, "similarity", (Measure("Spearman", float(shares.mean()), items=items),))


def spearman_shares(x: npt.NDArray[np.float64], y: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """(n,) products of the standardised ranks of x and y, both (n,): their mean is Spearman's rho.

    A share tells what a pair adds to rho, which lets two systems be compared pair by pair: exchanging their
    ranks of one pair flips the sign of the difference of its shares.
    """
    return _standardised_ranks(x) * _standardised_ranks(y)


def _standardised_ranks(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    ranks = np.asarray(stats.rankdata(values), dtype=np.float64)
    spread = ranks.std()
    return np.asarray((ranks - ranks.mean()) / (spread if spread else 1.0))
