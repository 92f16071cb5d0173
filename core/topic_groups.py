"""Documents of a view in groups by the direction of their vectors."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np

from core.ports.indexes import IndexView
from core.ports.topics import Clusterer
from core.types import Float32, Int64

SAMPLED: Final = 20_000  # documents on which the centres are found
PAGE: Final = 4_096  # documents whose vectors are read together
SAME: Final = 1 - 1e-5  # cosine of centres that are one


@dataclass(frozen=True, slots=True, eq=False)
class Grouped:
    """n documents in k groups, the largest first: `ids`, `groups` and `similarities` to the centre, all (n,).

    `sampled` (m,) are rows of `ids`, in random order; `vectors` (m, d) theirs.
    """

    ids: Int64
    groups: Int64
    similarities: Float32
    centroids: Float32
    sampled: Int64
    vectors: Float32

    @property
    def sizes(self) -> Int64:
        return np.bincount(self.groups, minlength=len(self.centroids)).astype(np.int64)

    @property
    def mean_similarities(self) -> Float32:
        """(k,) of each group's documents to their centre."""
        return (np.bincount(self.groups, weights=self.similarities) / self.sizes).astype(np.float32)

    def central(self, group: int, most: int) -> Int64:
        """Rows of the documents nearest to the centre, nearest first; of equal ones the oldest."""
        rows = np.flatnonzero(self.groups == group)
        return rows[np.argsort(-self.similarities[rows], kind="stable")[:most]]


def group(clusterer: Clusterer, view: IndexView, ids: Int64, k: int) -> Grouped:
    """All documents `ids` (n,), ascending, in at most k groups; equal input gives equal groups."""
    random = np.random.default_rng(0)
    sampled = random.permutation(len(ids))[:SAMPLED]
    vectors = document_vectors(view, ids[np.sort(sampled)])[np.argsort(np.argsort(sampled))]
    centroids = _distinct(clusterer.centroids(vectors, min(k, len(vectors))))
    parts = [clusterer.nearest(document_vectors(view, page), centroids) for page in pages(ids, PAGE)]
    groups = np.concatenate([nearest for nearest, _ in parts])
    similarities = np.concatenate([similarity for _, similarity in parts])
    order = np.argsort(-np.bincount(groups, minlength=len(centroids)), kind="stable")
    order = order[: len(np.unique(groups))]  # a centre that is nearest to no document is no topic
    rank = np.zeros(len(centroids), dtype=np.int64)
    rank[order] = np.arange(len(order))
    return Grouped(ids, rank[groups], similarities, centroids[order], sampled, vectors)


def _distinct(centroids: Float32) -> Float32:
    """Without those that differ from an earlier one by rounding alone."""
    is_same = np.triu(centroids @ centroids.T > SAME, k=1).any(axis=0)
    return np.asarray(centroids[~is_same])


def document_vectors(view: IndexView, ids: Int64) -> Float32:
    """(n, d) unit means of the vectors of each document's passages; `ids` (n,) are ascending."""
    means = []
    for page in pages(ids, PAGE):
        found = view.vectors(page)
        order = np.argsort(found.document_ids, kind="stable")
        starts = np.flatnonzero(np.diff(found.document_ids[order], prepend=-1))
        sums = np.add.reduceat(found.vectors[order], starts, axis=0)
        means.append(sums / np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-12))
    return np.concatenate(means).astype(np.float32)


def pages(rows: Int64, size: int) -> Iterator[Int64]:
    return (rows[start : start + size] for start in range(0, len(rows), size))
