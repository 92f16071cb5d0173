"""Exact inner products over arrays of vectors, and the set of rows that a search may return."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

import faiss
import numpy as np
import numpy.typing as npt

from core.types import Float16, Float32, Int64

BLOCK_ROWS = 16_384


class Alive:
    """Immutable set of the rows that live; the bits are kept alive as long as the selector over them."""

    __slots__ = ("_bits", "count", "mask", "selector")

    def __init__(self, mask: npt.NDArray[np.bool_]) -> None:
        """`mask` is (n,) bool, true for rows that live; it is copied."""
        self.mask = mask.copy()
        self.count = int(np.count_nonzero(self.mask))
        self._bits = np.packbits(self.mask, bitorder="little")
        self.selector = faiss.IDSelectorBitmap(self._bits) if self.count < len(mask) else None


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


def score_all(query: Float32, xb: Float32 | Float16) -> Float32:
    """(m,) inner products of `query` (d,) with every row of `xb` (m, d)."""
    scores = np.empty(len(xb), dtype=np.float32)
    for start, block in _blocks(xb):
        faiss.fvec_inner_products_ny(
            faiss.swig_ptr(scores[start : start + len(block)]),
            faiss.swig_ptr(query),
            faiss.swig_ptr(block),
            block.shape[1],
            len(block),
        )
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
    for start in range(0, len(xb), BLOCK_ROWS):
        yield start, np.ascontiguousarray(xb[start : start + BLOCK_ROWS], dtype=np.float32)
