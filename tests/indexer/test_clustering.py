"""Spherical k-means by FAISS."""

from __future__ import annotations

import numpy as np
import pytest

from core.types import Float32
from indexer.clustering import SphericalKMeans


def themes(k: int, each: int, d: int = 16) -> Float32:
    """`each` unit vectors around each of k axes, one theme after the other."""
    rng = np.random.default_rng(0)
    rows = np.repeat(np.eye(d)[:k], each, axis=0) + 0.1 * rng.standard_normal((k * each, d))
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), dtype=np.float32)


def test_groups_are_the_themes_and_centres_are_unit_vectors() -> None:
    vectors, kmeans = themes(5, 30), SphericalKMeans()
    centroids = kmeans.centroids(vectors, 5)
    groups, similarities = kmeans.nearest(vectors, centroids)
    assert np.linalg.norm(centroids, axis=1) == pytest.approx(np.ones(5), abs=1e-5)
    by_theme = groups.reshape(5, 30)
    assert (by_theme == by_theme[:, :1]).all()
    assert len(set(by_theme[:, 0].tolist())) == 5
    assert similarities == pytest.approx((vectors * centroids[groups]).sum(axis=1), abs=1e-5)


def test_equal_input_gives_equal_centres() -> None:
    vectors = themes(7, 20)
    first, again = (SphericalKMeans().centroids(vectors, 9) for _ in range(2))
    assert (first == again).all()


@pytest.mark.parametrize(("n", "k"), [(1, 1), (3, 3), (10, 1)])
def test_the_smallest_inputs_have_centres(n: int, k: int) -> None:
    vectors, kmeans = themes(1, n), SphericalKMeans()
    centroids = kmeans.centroids(vectors, k)
    assert centroids.shape == (k, 16)
    assert kmeans.nearest(vectors, centroids)[1].min() > 0.8


def test_equal_vectors_are_nearest_to_one_centre() -> None:
    vectors, kmeans = np.repeat(themes(1, 1), 50, axis=0), SphericalKMeans()
    groups, similarities = kmeans.nearest(vectors, kmeans.centroids(vectors, 4))
    assert len(set(groups.tolist())) == 1
    assert similarities.min() > 0.999
