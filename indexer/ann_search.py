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

# Of a graph of which some rows live, so many times the rows are gone through, and looked at, that hold the
# wanted ones if chance alone decides: what is passed on the way is looked at too.
BREADTH_MARGIN = 1.25
LOOKED_MARGIN = 2
# So many given rows are scored in the time that a graph takes for one of `efSearch` (d = 384): all of a
# graph, some of it, which lie apart, and some of one whose vectors are in half precision.
ROWS_PER_STEP = 40
APART_PER_STEP = 25
HALF_PER_STEP = 20
# Lists are scanned in packed codes: so many rows of them in the time that one given row is scored.
CODES_PER_ROW = 40
# An index that compares every row skips those that do not live; scoring given rows jumps about in memory.
SKIPPED_PER_ROW = 4


class AnnIndex:
    """A FAISS index as searches see it: with one effort, and what all of them share made beforehand.

    The index is only read: all parameters belong to a search.
    """

    __slots__ = (
        "_apart",
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

    def __init__(self, index: Any, effort: float, is_half: bool) -> None:
        """`is_half`: the vectors by which given rows are scored are in half precision."""
        inner = inner_index(index)
        self._search = index.search_c  # what FAISS's own `search` calls after its checks and copies
        self._effort, self._n = effort, int(inner.ntotal)
        self._is_wrapped = isinstance(index, faiss.IndexPreTransform)
        self._is_graph = isinstance(inner, faiss.IndexHNSW)
        self._lists = int(inner.nlist) if isinstance(inner, faiss.IndexIVF) else 0
        self._breadth = int(effort * EF_SEARCH)
        self._apart = HALF_PER_STEP if is_half else APART_PER_STEP
        self._kind = _parameters_of(inner)
        self._plain = self._parameters(**self._usual())

    @property
    def probes(self) -> int:
        """How many lists a search among all rows looks at; 0 without lists."""
        return self._probes(self._n) if self._lists else 0

    def is_scan_cheaper(self, near: int, alive: Alive) -> bool:
        """Whether to score each living row takes less time than to search; `near` as for `search`."""
        if self._is_graph:
            a_step = ROWS_PER_STEP if alive.selector is None else self._apart
            return alive.count <= a_step * self._steps(near, alive)
        if self._lists:
            return alive.count * CODES_PER_ROW <= self._n * self._probes(alive.count) // self._lists
        return alive.count * SKIPPED_PER_ROW <= self._n

    def search(self, xq: Float32, fetch: int, wide: int, alive: Alive, near: int) -> tuple[Float32, Int64]:
        """Approximate scores and rows of the `wide` best living rows for each of `xq` (n, d), both (n, wide).

        A graph is gone through until `near` living rows are likely to be found, and at least as far as its
        effort says; what it finds first does not depend on `fetch`, how many of the rows are needed, nor on
        `wide`. Places for which nothing was found have row -1; they are last. `xq` must be contiguous.
        """
        if alive.selector is None:
            is_broad = self._is_graph and near > self._breadth
            return self.search_all(xq, wide, _graph_parameters(near, self._is_wrapped) if is_broad else None)
        if self._is_graph:
            return self._search_graph(xq, fetch, wide, alive, near)
        probes = {"nprobe": self._probes(alive.count)} if self._lists else {}
        return self.search_all(xq, wide, self._parameters(sel=alive.selector, **probes))

    def search_all(self, xq: Float32, wide: int, parameters: Any = None) -> tuple[Float32, Int64]:
        """As `search` among all rows, or with other parameters."""
        n = len(xq)
        D = np.empty((n, wide), dtype=np.float32)  # noqa: N806
        I = np.empty((n, wide), dtype=np.int64)  # noqa: N806, E741
        self._search(n, swig_ptr(xq), wide, swig_ptr(D), swig_ptr(I), parameters or self._plain)
        return D, I

    def _search_graph(
        self, xq: Float32, fetch: int, wide: int, alive: Alive, near: int
    ) -> tuple[Float32, Int64]:
        """Goes through the graph as if all rows lived, then keeps those that do.

        So a filter costs no recall: where it keeps to rows far from the query, few of the found rows are left
        and the places stay empty, instead of being filled with the best of what the graph happened to pass.
        All of them do where fewer than `near` are left, so that the same rows are found whatever `fetch` is.
        """
        steps, wanted = self._steps(near, alive), max(wide, LOOKED_MARGIN * max(near, fetch))
        looked = min(max(steps, _share(wanted, self._n, alive)), self._n)
        D, I = self.search_all(xq, looked, _graph_parameters(steps, self._is_wrapped))  # noqa: N806, E741
        scores = np.full((len(xq), wide), -np.inf, dtype=np.float32)
        rows = np.full((len(xq), wide), -1, dtype=np.int64)
        least = min(near, alive.count)
        for query in range(len(xq)):
            found = I[query]
            living = (alive.mask[found] & (found >= 0)).nonzero()[0]
            if len(living) >= least:
                living = living[:wide]
                scores[query, : len(living)], rows[query, : len(living)] = D[query, living], found[living]
        return scores, rows

    def _steps(self, near: int, alive: Alive) -> int:
        """How far to go through a graph so that `near` living rows are among those found."""
        needed = near if alive.selector is None else _share(BREADTH_MARGIN * near, self._n, alive)
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


def _share(rows: float, n: int, alive: Alive) -> int:
    """How many of n rows hold so many living ones, if chance alone decides which live."""
    return int(rows * n / max(alive.count, 1))


@lru_cache(maxsize=256)
def _graph_parameters(breadth: int, is_wrapped: bool) -> Any:
    """Kept, because making them takes a noticeable part of a search."""
    return _wrapped(faiss.SearchParametersHNSW(efSearch=breadth), is_wrapped)


def _wrapped(parameters: Any, is_wrapped: bool) -> Any:
    """As an index below a transform of vectors gets them."""
    return faiss.SearchParametersPreTransform(index_params=parameters) if is_wrapped else parameters
