"""Labelled unit vectors made by arithmetic, for tests of heads."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from core.classifier_types import Examples

DIMENSIONS = 24


def clusters(counts: Sequence[int], spread: float = 0.6, seed: int = 0) -> Examples:
    """`counts[i]` examples around the i-th of random directions; the larger `spread`, the harder."""
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(1).normal(size=(len(counts), DIMENSIONS))
    centres /= np.linalg.norm(centres, axis=1, keepdims=True)
    labels = np.repeat(np.arange(len(counts)), counts)
    noise = rng.normal(size=(len(labels), DIMENSIONS)) / np.sqrt(DIMENSIONS)
    vectors = centres[labels] + spread * noise
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    names = tuple(f"label {i}" for i in range(len(counts)))
    texts = tuple(f"text {i} of seed {seed}" for i in range(len(labels)))
    return Examples(names, texts, vectors.astype(np.float32), labels[:, None] == np.arange(len(counts)))


def several(count: int, seed: int = 0) -> Examples:
    """Examples with none to three of four labels, each of which is a direction of the vector."""
    rng = np.random.default_rng(seed)
    directions = np.random.default_rng(1).normal(size=(4, DIMENSIONS))
    truth = rng.random((count, 4)) < np.array([0.5, 0.3, 0.2, 0.1])
    vectors = truth @ directions + rng.normal(size=(count, DIMENSIONS)) * 0.6
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    texts = tuple(f"text {i}" for i in range(count))
    return Examples(("a", "b", "c", "d"), texts, vectors.astype(np.float32), truth)


def with_copies(examples: Examples, rows: Sequence[int]) -> Examples:
    """`examples` and once more those of `rows`, in capitals, which an encoder may read as the same."""
    copies = tuple(examples.texts[row].upper() for row in rows)
    return Examples(
        examples.labels,
        (*examples.texts, *copies),
        np.concatenate([examples.vectors, examples.vectors[list(rows)]]),
        np.concatenate([examples.truth, examples.truth[list(rows)]]),
    )
