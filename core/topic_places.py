"""Where vectors lie on a map of two dimensions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from core.topic_types import Place
from core.types import Float32, Float64, Int64

WITHIN: Final = 0.05  # weight of the spread within groups beside that between them


@dataclass(frozen=True, slots=True, eq=False)
class Plane:
    """The map: `axes` (d, 2) through `centre` (d,); at `extent` from it a coordinate is 1."""

    axes: Float64
    centre: Float64
    extent: float

    @classmethod
    def of(cls, centroids: Float32, sizes: Int64, vectors: Float32) -> Plane:
        """The plane on which k groups lie furthest apart: `centroids` (k, d) of `sizes` (k,) documents.

        Its axes are principal components of the centres, weighted by size; a small share of the spread of
        `vectors` (n, d) gives directions where there are fewer than three groups. Signs are fixed, so
        equal input gives an equal map.
        """
        weights = sizes / sizes.sum()
        centre = weights @ centroids
        centred = centroids - centre
        spread = vectors - vectors.mean(axis=0)
        scatter = (centred * weights[:, None]).T @ centred + WITHIN * (spread.T @ spread) / len(vectors)
        _, directions = np.linalg.eigh(scatter.astype(np.float64))  # by ascending spread
        axes = directions[:, [-1, -2]]
        largest = np.abs(axes).argmax(axis=0)
        axes = axes * np.sign(axes[largest, [0, 1]])
        extent = max(float(np.abs((shown - centre) @ axes).max()) for shown in (centroids, vectors))
        return cls(axes, centre, max(extent, 1e-12))

    def places(self, vectors: Float32) -> list[Place]:
        """Of `vectors` (n, d)."""
        coordinates = np.clip((vectors - self.centre) @ self.axes / self.extent, -1.0, 1.0)
        return [Place(x, y) for x, y in coordinates.tolist()]
