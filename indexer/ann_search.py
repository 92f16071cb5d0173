"""Approximate search through a FAISS index, among some of its rows, with more or less effort."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import faiss
import numpy as np
from faiss import swig_ptr

from core.types import Float32, Int64
from indexer.exact import Alive
from indexer.factory import inner_index

# What effort 1 means; a search of effort e takes e times as much of each.
EF_SEARCH = 128
MIN_PROBES = 16
PROBED_SHARE = 1 / 64
# Of an index that changes its vectors, so many times the wanted rows are fetched, to be scored again.
REFINE = 4

# A graph searched for few of its rows looks at so many times the rows that chance would need.
MARGIN = 2
# So many given rows are scored in the time that a graph takes for one of `efSearch` (d = 384).
ROWS_PER_STEP = 40
# Lists are scanned in packed codes: so many rows of them in the time that one given row is scored.
CODES_PER_ROW = 40
# An index that compares every row skips those that do not live; scoring given rows jumps about in memory.
SKIPPED_PER_ROW = 4


class AnnIndex:
    """A FAISS index as searches see it: with one effort, and what all of them share made beforehand.

    The index is only read: all parameters belong to a search.
    """

    __slots__ = (
        "_breadth",
        "_effort",
        "_is_graph",
        "_is_wrapped",
        "_kind",
        "_lists",
        "_n",
        "_plain",
        "_search",
    )

    def __init__(self, index: Any, effort: float) -> None:
        inner = inner_index(index)
        self._search = index.search_c  # what FAISS's own `search` calls after its checks and copies
        self._effort, self._n = effort, int(inner.ntotal)
        self._is_wrapped = isinstance(index, faiss.IndexPreTransform)
        self._is_graph = isinstance(inner, faiss.IndexHNSW)
        self._lists = int(inner.nlist) if isinstance(inner, faiss.IndexIVF) else 0
        self._breadth = int(effort * EF_SEARCH)
        self._kind = _parameters_of(inner)
        self._plain = self._parameters(**self._usual())

    @property
    def probes(self) -> int:
        """How many lists a search among all rows looks at; 0 without lists."""
        return self._probes(self._n) if self._lists else 0

    def is_scan_cheaper(self, wide: int, alive: Alive) -> bool:
        """Whether to score each living row takes less time than to search for `wide` of them."""
        if self._is_graph:
            return alive.count <= ROWS_PER_STEP * self._steps(wide, alive)
        if self._lists:
            return alive.count * CODES_PER_ROW <= self._n * self._probes(alive.count) // self._lists
        return alive.count * SKIPPED_PER_ROW <= self._n

    def is_far_enough(self, wide: int, alive: Alive) -> bool:
        """Whether a graph is gone through as far for `wide` living rows as for fewer."""
        return self._steps(wide, alive) == self._steps(1, alive)

    def search(self, xq: Float32, wide: int, alive: Alive, breadth: int) -> tuple[Float32, Int64]:
        """Approximate scores and rows of the `wide` best living rows for each of `xq` (n, d), both (n, wide).

        A graph is gone through until `breadth` near rows are found, and at least as many as its effort says.
        Places for which nothing was found have row -1; they are last. `xq` must be contiguous.
        """
        if alive.selector is None:
            is_broad = self._is_graph and breadth > self._breadth
            return self.search_all(
                xq, wide, _graph_parameters(breadth, self._is_wrapped) if is_broad else None
            )
        if self._is_graph:
            return self._search_graph(xq, wide, alive)
        probes = {"nprobe": self._probes(alive.count)} if self._lists else {}
        return self.search_all(xq, wide, self._parameters(sel=alive.selector, **probes))

    def search_all(self, xq: Float32, wide: int, parameters: Any = None) -> tuple[Float32, Int64]:
        """As `search` among all rows, or with other parameters."""
        n = len(xq)
        D = np.empty((n, wide), dtype=np.float32)  # noqa: N806
        I = np.empty((n, wide), dtype=np.int64)  # noqa: N806, E741
        self._search(n, swig_ptr(xq), wide, swig_ptr(D), swig_ptr(I), parameters or self._plain)
        return D, I

    def _search_graph(self, xq: Float32, wide: int, alive: Alive) -> tuple[Float32, Int64]:
        """Goes through the graph as if all rows lived, then keeps those that do.

        So a filter costs no recall: where it keeps to rows far from the query, few of the found rows are left
        and the places stay empty, instead of being filled with the best of what the graph happened to pass.
        """
        steps = self._steps(wide, alive)
        breadth = _graph_parameters(steps, self._is_wrapped)
        D, I = self.search_all(xq, steps, breadth)  # noqa: N806, E741
        is_living = (I >= 0) & alive.mask[I]
        order = np.argsort(~is_living, axis=1, kind="stable")[:, :wide]
        rows = np.where(is_living, I, -1)
        return np.take_along_axis(D, order, axis=1), np.take_along_axis(rows, order, axis=1)

    def _steps(self, wide: int, alive: Alive) -> int:
        """How far to go through a graph so that `wide` living rows are among those found."""
        needed = wide if alive.selector is None else MARGIN * wide * self._n // max(alive.count, 1)
        return min(max(self._breadth, needed), self._n)

    def _probes(self, living: int) -> int:
        """How many lists to search; more of them where few rows live, whose neighbours lie further away."""
        probes = self._effort * max(MIN_PROBES, self._lists * PROBED_SHARE)
        more = math.sqrt(self._n / max(living, 1))
        return min(max(int(probes * more), 1), self._lists)

    def _usual(self) -> dict[str, int]:
        """What limits a search among all rows."""
        if self._is_graph:
            return {"efSearch": self._breadth}
        return {"nprobe": self.probes} if self._lists else {}

    def _parameters(self, **chosen: Any) -> Any:
        return _wrapped(self._kind(**chosen), self._is_wrapped)


def _parameters_of(inner: Any) -> Any:
    """The class of search parameters that an index takes."""
    if isinstance(inner, faiss.IndexHNSW):
        return faiss.SearchParametersHNSW
    if isinstance(inner, faiss.IndexIVFPQ):
        return faiss.IVFPQSearchParameters
    return faiss.SearchParametersIVF if isinstance(inner, faiss.IndexIVF) else faiss.SearchParameters


@lru_cache(maxsize=256)
def _graph_parameters(breadth: int, is_wrapped: bool) -> Any:
    """Kept, because making them takes a noticeable part of a search."""
    return _wrapped(faiss.SearchParametersHNSW(efSearch=breadth), is_wrapped)


def _wrapped(parameters: Any, is_wrapped: bool) -> Any:
    """As an index below a transform of vectors gets them."""
    return faiss.SearchParametersPreTransform(index_params=parameters) if is_wrapped else parameters
