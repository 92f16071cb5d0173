"""Which documents' labels would help most: uncertain ones that stand for many others and not for each other.

Uncertainty-weighted facility location (Wei, Iyer, Bilmes 2015, "Submodularity in data subset selection
and active learning", section 4): of the most uncertain documents take, one by one, the j of the greatest gain
    sum_i u_i max(0, sim(i, j) - covered_i),    covered_i = max over those taken and labelled of sim(i, .)
over a sample i of all documents with uncertainties u_i. Who stands in a dense region gains much, near one
that is taken or labelled little.
"""

from __future__ import annotations

from heapq import heapify, heappop, heappush

import numpy as np

from core.classifier_types import Head, HeadScores, SuggestedRow
from core.types import Float32, Int64

CANDIDATES = 2048
SAMPLE = 8192
BLOCK = 4096
GAIN_BLOCK = 256
DENSE_NEIGHBOURS = 10
NEAR_DUPLICATE = 0.97  # cosine


def suggest(
    head: Head, scores: HeadScores, vectors: Float32, labelled: Float32, k: int, seed: int = 0
) -> list[SuggestedRow]:
    """At most k rows of `vectors` (n, d), the most helpful first.

    `scores` are the head's of these vectors, `labelled` (m, d) the vectors of its examples. Near duplicates
    of examples are left out. Memory: CANDIDATES x SAMPLE numbers, whatever n.
    """
    if not len(vectors) or k < 1:
        return []
    uncertainty = uncertainties(scores, head)
    candidates = _candidates(uncertainty, vectors, labelled, max(CANDIDATES, 4 * k))
    if not len(candidates):
        return []
    sample = np.sort(np.random.default_rng(seed).permutation(len(vectors))[:SAMPLE])
    similarity = _similarities(vectors[candidates], vectors[sample])  # (candidates, sample)
    covered = _nearest(vectors[sample], labelled)
    taken = _greedy(similarity, uncertainty[sample], covered, k)
    density = _density(similarity)
    most = max(gain for _, gain in taken)
    return [
        _row(head, scores, int(candidates[place]), uncertainty, float(density[place]), gain / (most or 1.0))
        for place, gain in taken
    ]


def _row(
    head: Head, scores: HeadScores, row: int, uncertainty: Float32, density: float, gain: float
) -> SuggestedRow:
    best = int(scores.probabilities[row].argmax())
    return SuggestedRow(
        row, head.labels[best], float(scores.probabilities[row, best]), float(uncertainty[row]), density, gain
    )


def uncertainties(scores: HeadScores, head: Head) -> Float32:
    """(n,) from 0 (sure) to 1: one less the lead of the most probable label over the second.

    With several labels an example each label is a yes or no: that of the least sure one.
    """
    if head.is_multi:
        return np.asarray(1 - np.abs(2 * scores.probabilities - 1).min(axis=1), dtype=np.float32)
    ordered = np.partition(scores.probabilities, -2, axis=1)
    return np.asarray(1 - (ordered[:, -1] - ordered[:, -2]), dtype=np.float32)


def _candidates(uncertainty: Float32, vectors: Float32, labelled: Float32, count: int) -> Int64:
    """At most `count` rows, ascending: the most uncertain that are no near duplicates of examples.

    As many rows are looked at as that takes: examples that are still uncertain must not fill the places.
    """
    order = np.argsort(-uncertainty, kind="stable")
    candidates = np.empty(0, dtype=np.int64)
    for start in range(0, len(order), count):
        rows = order[start : start + count]
        is_open = _nearest(vectors[rows], labelled) < NEAR_DUPLICATE
        candidates = np.concatenate([candidates, rows[is_open]])
        if len(candidates) >= count:
            break
    return np.sort(candidates[:count])


def _similarities(rows: Float32, columns: Float32) -> Float32:
    """(rows, columns) cosines, not below 0."""
    return np.asarray(np.maximum(rows @ columns.T, 0.0), dtype=np.float32)


def _nearest(vectors: Float32, others: Float32) -> Float32:
    """(n,) the greatest cosine of each vector to `others` (m, d), not below 0."""
    nearest = np.zeros(len(vectors), np.float32)
    for start in range(0, len(others), BLOCK):
        np.maximum(nearest, (vectors @ others[start : start + BLOCK].T).max(axis=1), out=nearest)
    return nearest


def _greedy(similarity: Float32, weights: Float32, covered: Float32, k: int) -> list[tuple[int, float]]:
    """(row of `similarity`, gain) of at most k rows, in the order taken.

    Gains only shrink as more is covered, so the old one is a bound: only the row that leads by old gains is
    computed anew (Minoux 1978, "Accelerated greedy algorithms for maximizing submodular set functions").
    """
    covered = covered.copy()
    gains = _gains(similarity, weights, covered)
    queue = [(-float(gains[row]), row, 0) for row in range(len(gains))]
    heapify(queue)
    taken: list[tuple[int, float]] = []
    while queue and len(taken) < k:
        gain, row, known_at = heappop(queue)
        if known_at == len(taken):
            taken.append((row, -gain))
            np.maximum(covered, similarity[row], out=covered)
        else:
            gain = -float(_gains(similarity[row : row + 1], weights, covered)[0])
            heappush(queue, (gain, row, len(taken)))
    return taken


def _gains(similarity: Float32, weights: Float32, covered: Float32) -> Float32:
    """(rows,) what each row of `similarity` (rows, sample) would add."""
    return np.concatenate(
        [
            np.maximum(similarity[start : start + GAIN_BLOCK] - covered, 0.0) @ weights
            for start in range(0, len(similarity), GAIN_BLOCK)
        ]
    )


def _density(similarity: Float32) -> Float32:
    """(n,) mean cosine to the nearest of the sample."""
    count = min(DENSE_NEIGHBOURS, similarity.shape[1])
    return np.asarray(np.partition(similarity, -count, axis=1)[:, -count:].mean(axis=1))
