"""Synthetic embeddings for index benchmarks: clusters of clusters, with a spectrum like that of real ones.

`ClusteredVectors(d, clusters, seed).rows(start, stop)` gives the same rows however they are cut, so that
millions need never be held twice.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from core.types import Float32

BLOCK = 16_384
# Close to vectors of package descriptions in spectrum, scores of neighbours and intrinsic dimension.
SPECTRUM = 0.45
NOISE = 0.9


@dataclass(frozen=True, slots=True)
class ClusteredVectors:
    """Unit vectors `x = c + NOISE * e`, normalised: centre c and noise e are Gaussian with falling variances.

    The variance along the i-th axis is (i + 8) ** -(2 * SPECTRUM); sizes of clusters follow Zipf's law with
    exponent 0.5. A row depends on `seed` and its number only.
    """

    d: int
    clusters: int
    seed: int

    def rows(self, start: int, stop: int) -> Float32:
        """(stop - start, d) float32 unit vectors; rows of a number beyond all others serve as queries."""
        parts = [self._block(block) for block in range(start // BLOCK, (stop - 1) // BLOCK + 1)]
        first = start - start // BLOCK * BLOCK
        return np.ascontiguousarray(np.concatenate(parts)[first : first + stop - start])

    def _block(self, block: int) -> Float32:
        rng = np.random.default_rng((self.seed, 1, block))
        sizes = np.arange(1, self.clusters + 1) ** -0.5
        chosen = rng.choice(self.clusters, BLOCK, p=sizes / sizes.sum())
        rows = self._centres()[chosen] + NOISE * self._gaussian(rng, BLOCK)
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        return rows

    def _centres(self) -> Float32:
        return self._gaussian(np.random.default_rng((self.seed, 0)), self.clusters)

    def _gaussian(self, rng: np.random.Generator, n: int) -> Float32:
        scale = (np.arange(self.d) + 8.0) ** -SPECTRUM
        return rng.standard_normal((n, self.d), dtype=np.float32) * scale.astype(np.float32)
