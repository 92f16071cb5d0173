"""The map: far groups lie far apart, and equal input gives an equal map."""

from __future__ import annotations

import numpy as np

from core.topic_places import Plane
from core.types import Float32


def around(centres: Float32, each: int, seed: int = 0) -> Float32:
    rows = np.repeat(centres, each, axis=0) + 0.05 * np.random.default_rng(seed).standard_normal(
        (len(centres) * each, centres.shape[1])
    )
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), dtype=np.float32)


def test_three_groups_in_many_dimensions_lie_apart_in_two() -> None:
    centres = np.eye(20, dtype=np.float32)[:3]
    vectors = around(centres, 10)
    plane = Plane.of(centres, np.array([10, 10, 10]), vectors)
    found = np.array([(place.x, place.y) for place in plane.places(vectors)]).reshape(3, 10, 2)
    within = np.linalg.norm(found - found.mean(axis=1, keepdims=True), axis=2).max()
    means = found.mean(axis=1)
    between = min(np.linalg.norm(means[i] - means[j]) for i, j in ((0, 1), (0, 2), (1, 2)))
    assert between > 3 * within
    assert np.abs(found).max() <= 1.0


def test_one_group_is_spread_by_its_own_vectors() -> None:
    vectors = around(np.eye(20, dtype=np.float32)[:1], 50)
    plane = Plane.of(vectors.mean(axis=0, keepdims=True), np.array([50]), vectors)
    found = np.array([(place.x, place.y) for place in plane.places(vectors)])
    assert found.std(axis=0).min() > 0.1


def test_one_vector_lies_in_the_middle() -> None:
    vector = np.eye(4, dtype=np.float32)[:1]
    (place,) = Plane.of(vector, np.array([1]), vector).places(vector)
    assert (place.x, place.y) == (0.0, 0.0)
