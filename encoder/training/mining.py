"""Hard negatives: passages that the start model takes for answers, though they are not."""

from __future__ import annotations

import numpy as np

from core.types import Float32, Int64
from encoder.training.pairs import NO_LABEL, PairSet

NONE = -1
_ROWS = 256


def mine_negatives(
    pairs: PairSet, queries: Float32, passages: Float32, pool: int, max_false_negative: float
) -> Int64:
    """Up to `pool` passages a pair, hardest first, (n, pool) int64, NONE where there are no more.

    `queries` (n, d) and `passages` (p, d) are vectors of the start model. Left out are known answers of the
    query, passages of its label, and, as likely false negatives, those that score above
    `max_false_negative` times the positive (de Souza et al. 2024, "NV-Retriever", section 4).
    """
    answers = pairs.answers()
    mined = np.full((len(pairs), pool), NONE, np.int64)
    for start in range(0, len(pairs), _ROWS):
        scores = queries[start : start + _ROWS] @ passages.T  # (rows, p)
        for row, score in enumerate(scores, start):
            limit = max_false_negative * score[pairs.positives[row]]
            found = _hardest(pairs, row, score, limit, answers[int(pairs.query_keys[row])], pool)
            mined[row, : len(found)] = found
    return mined


def _hardest(pairs: PairSet, row: int, score: Float32, limit: float, answers: set[int], pool: int) -> Int64:
    allowed = score <= limit
    allowed[list(answers)] = False
    if pairs.labels[row] != NO_LABEL:
        allowed &= pairs.passage_labels != pairs.labels[row]
    candidates = np.flatnonzero(allowed)
    k = min(pool, len(candidates))
    if not k:
        return candidates
    best = candidates[np.argpartition(-score[candidates], k - 1)[:k]]
    return best[np.argsort(-score[best], kind="stable")]
