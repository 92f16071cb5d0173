"""Exact inner products over arrays of vectors, and the set of rows that a search may return."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

import faiss
import numpy as np
import numpy.typing as npt

from core.types import Float16, Float32, Int64
from indexer.half_precision import score_half_rows

BLOCK_ROWS = 16_384


class Alive:
    """Immutable set of the rows that a search may return; its bits live as long as the selector over them."""

    __slots__ = ("_bits", "_rows", "count", "mask", "selector")

    def __init__(self, mask: npt.NDArray[np.bool_]) -> None:
        """`mask` is (n,) bool, true for rows that live; it is copied."""
        self.mask = mask.copy()
        self.count = int(np.count_nonzero(self.mask))
        self._bits = np.packbits(self.mask, bitorder="little")
        self.selector = faiss.IDSelectorBitmap(self._bits) if self.count < len(mask) else None
        self._rows: Int64 | None = None

    @property
    def rows(self) -> Int64:
        """(count,) int64, ascending; made when first asked for."""
        if self._rows is None:
            self._rows = np.flatnonzero(self.mask)
        return self._rows

    def only(self, mask: npt.NDArray[np.bool_]) -> Alive:
        """The rows of this set for which `mask` (n,) is true too."""
        return Alive(self.mask & mask)


def use_threads(count: int) -> None:
    """Sets how many OpenMP threads FAISS uses in calls made by the present thread."""
    faiss.omp_set_num_threads(count)


def search_exactly(xq: Float32, xb: Float32 | Float16, k: int, alive: Alive) -> tuple[Float32, Int64]:
    """The k best living rows of `xb` (m, d) for each row of `xq` (n, d): scores and rows, both (n, k).

    Best first; missing places have row -1. Uses one thread a call, and lets other Python threads run.
    """
    use_threads(1)
    if xb.dtype == np.float32:
        return _search_block(xq, cast(Float32, xb), k, alive.selector)
    best_scores = np.full((len(xq), k), -np.inf, dtype=np.float32)
    best_rows = np.full((len(xq), k), -1, dtype=np.int64)
    for start, block in _blocks(xb):
        mask = alive.mask[start : start + len(block)]
        scores, rows = _search_block(xq, block, min(k, len(block)), Alive(mask).selector)
        scores[rows < 0] = -np.inf
        rows[rows >= 0] += start
        best_scores, best_rows = _best(np.hstack([best_scores, scores]), np.hstack([best_rows, rows]), k)
    return best_scores, best_rows


def search_rows(xq: Float32, xb: Float32 | Float16, k: int, rows: Int64) -> tuple[Float32, Int64]:
    """The k best of the given rows (m,), which must be different, of `xb`: scores and rows, both (n, k).

    Best first; missing places have row -1. Touches no other row, so few rows of a large array cost little.
    """
    scores = np.vstack([score_rows(query, xb, rows) for query in xq])
    found = np.broadcast_to(rows, scores.shape)
    if len(rows) > k:
        best = np.argpartition(-scores, k - 1, axis=1)[:, :k]
        scores, found = np.take_along_axis(scores, best, axis=1), np.take_along_axis(found, best, axis=1)
    scores, found = _best(scores, found, k)
    missing = ((0, 0), (0, k - scores.shape[1]))
    return np.pad(scores, missing, constant_values=-np.inf), np.pad(found, missing, constant_values=-1)


def score_rows(query: Float32, xb: Float32 | Float16, rows: Int64) -> Float32:
    """(m,) inner products of `query` (d,) with the given rows (m,) of `xb`, in one thread."""
    use_threads(1)
    query = np.ascontiguousarray(query, dtype=np.float32)
    if xb.dtype != np.float32:
        return score_half_rows(query, cast(Float16, xb), rows)
    scores = np.empty(len(rows), dtype=np.float32)
    rows = np.ascontiguousarray(rows)
    faiss.fvec_inner_products_by_idx(
        faiss.swig_ptr(scores), faiss.swig_ptr(query), faiss.swig_ptr(xb), faiss.swig_ptr(rows),
        xb.shape[1], 1, len(rows),
    )  # fmt: skip
    return scores


def _search_block(
    xq: Float32, xb: Float32, k: int, selector: faiss.IDSelectorBitmap | None
) -> tuple[Float32, Int64]:
    D = np.empty((len(xq), k), dtype=np.float32)  # noqa: N806
    I = np.empty((len(xq), k), dtype=np.int64)  # noqa: N806, E741
    faiss.knn_inner_product(
        faiss.swig_ptr(xq), faiss.swig_ptr(xb), xb.shape[1], len(xq), len(xb), k,
        faiss.swig_ptr(D), faiss.swig_ptr(I), selector,
    )  # fmt: skip
    return D, I


def _best(scores: Float32, rows: Int64, k: int) -> tuple[Float32, Int64]:
    order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(scores, order, axis=1), np.take_along_axis(rows, order, axis=1)


def _blocks(xb: Float32 | Float16) -> Iterator[tuple[int, Float32]]:
    """Blocks of `xb` in float32, and where each begins."""
    for start in range(0, len(xb), BLOCK_ROWS):
        yield start, np.ascontiguousarray(xb[start : start + BLOCK_ROWS], dtype=np.float32)
