"""Shortening of vectors."""

from __future__ import annotations

import numpy as np
import pytest

from core.embed import shorten


@pytest.mark.parametrize("dimensions", [1, 3, 8])
def test_shortened_vectors_are_the_first_numbers_made_unit_length(dimensions: int) -> None:
    vectors = np.random.default_rng(0).normal(size=(5, 8)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    short = shorten(vectors, dimensions)
    assert short.shape == (5, dimensions)
    assert np.allclose(np.linalg.norm(short, axis=1), 1, atol=1e-6)
    for row, whole in zip(short, vectors, strict=True):
        assert np.allclose(row * np.linalg.norm(whole[:dimensions]), whole[:dimensions], atol=1e-6)


def test_a_row_of_zeros_stays_zeros() -> None:
    assert shorten(np.zeros((1, 4), np.float32), 2).tolist() == [[0.0, 0.0]]
