"""Spherical k-means by FAISS: groups of vectors by direction."""

from __future__ import annotations

from typing import Final

import faiss
import numpy as np

from core.priority import on_yielding_thread
from core.types import Float32, Int64
from indexer.exact import use_threads

ROUNDS: Final = 20
RESTARTS: Final = 4  # the one of the best objective is kept; a single random start often splits a group
SEED: Final = 1


class SphericalKMeans:
    """core.ports.topics.Clusterer. One thread, which gives way to searches, does all of the work.

    Dhillon, Modha 2001, "Concept decompositions for large sparse text data using clustering", section 3.1:
    k-means by inner product, with centres brought to unit length after each round.
    """

    def centroids(self, vectors: Float32, k: int) -> Float32:
        vectors = np.ascontiguousarray(vectors, dtype=np.float32)

        def train() -> Float32:
            use_threads(1)
            kmeans = faiss.Kmeans(
                vectors.shape[1],
                k,
                niter=ROUNDS,
                nredo=RESTARTS,
                seed=SEED,
                spherical=True,
                min_points_per_centroid=1,
                max_points_per_centroid=len(vectors),
            )
            kmeans.train(vectors)
            return np.asarray(kmeans.centroids, dtype=np.float32).reshape(k, -1).copy()

        return on_yielding_thread(train)

    def nearest(self, vectors: Float32, centroids: Float32) -> tuple[Int64, Float32]:
        vectors = np.ascontiguousarray(vectors, dtype=np.float32)

        def search() -> tuple[Int64, Float32]:
            use_threads(1)
            D, I = faiss.knn(vectors, centroids, 1, metric=faiss.METRIC_INNER_PRODUCT)  # noqa: N806, E741
            return I[:, 0].astype(np.int64), D[:, 0].astype(np.float32)

        return on_yielding_thread(search)
