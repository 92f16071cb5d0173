"""Scores of rows in half precision."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from indexer.exact import score_rows
from indexer.half_precision import BLOCK_ROWS
from tests.indexer.fakes import unit_rows

RNG = np.random.default_rng(7)


@pytest.mark.parametrize("d", [1, 7, 48, 384])
@pytest.mark.parametrize("m", [0, 1, BLOCK_ROWS, BLOCK_ROWS + 1, 3 * BLOCK_ROWS - 1])
def test_rows_are_scored_as_in_float32(d: int, m: int) -> None:
    vectors, query = unit_rows(RNG, 1000, d), RNG.standard_normal(d).astype(np.float32)
    rows = RNG.permutation(1000)[:m]
    scores = score_rows(query, vectors.astype(np.float16), rows)
    expected = vectors.astype(np.float16)[rows].astype(np.float32) @ query
    np.testing.assert_allclose(scores, expected, atol=1e-5)
    assert scores.dtype == np.float32


def test_threads_do_not_disturb_one_another() -> None:
    vectors = unit_rows(RNG, 2000, 64).astype(np.float16)
    queries, rows = unit_rows(RNG, 16, 64).astype(np.float32), np.arange(2000)
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda i: score_rows(queries[i % 16], vectors, rows), range(400)))
    for i, scores in enumerate(found):
        np.testing.assert_array_equal(scores, found[i % 16])
        np.testing.assert_allclose(scores, vectors.astype(np.float32) @ queries[i % 16], atol=1e-5)
