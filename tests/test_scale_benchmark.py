"""The benchmark of index kinds: its vectors are the same however they are made, and it runs to its end."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from benchmarks.scale import Files, build, measure, queries
from benchmarks.vectors import BLOCK, ClusteredVectors


def test_rows_are_the_same_however_they_are_cut() -> None:
    data = ClusteredVectors(24, clusters=10, seed=3)
    whole = data.rows(BLOCK - 50, BLOCK + 50)
    parts = [data.rows(start, start + 25) for start in range(BLOCK - 50, BLOCK + 50, 25)]
    np.testing.assert_array_equal(whole, np.concatenate(parts))
    np.testing.assert_allclose(np.linalg.norm(whole, axis=1), 1, atol=1e-5)
    assert not np.array_equal(whole, ClusteredVectors(24, clusters=10, seed=4).rows(BLOCK - 50, BLOCK + 50))


def test_kinds_are_built_once_and_measured_against_the_truth(tmp_path: Path) -> None:
    files = Files(tmp_path, rows=2_000)
    build(files, ["Flat", "SQ8"], threads=1)
    assert files.kinds() == ["Flat", "SQ8"]
    measure(files, files.kinds(), seconds=0.01)
    (flat,) = json.loads(files.result("points", "Flat").read_text())
    assert flat["recall"] == 1.0
    assert flat["queries_per_s"] > 0
    points = json.loads(files.result("points", "SQ8").read_text())
    assert points[-1]["recall"] > 0.95


def test_queries_are_none_of_the_rows() -> None:
    indexed = ClusteredVectors(384, clusters=4, seed=0).rows(0, 2_000)
    assert (queries(2_000) @ indexed.T).max() < 0.99
