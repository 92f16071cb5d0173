"""Approximate search through a FAISS index, among some of its rows, with more or less effort."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import faiss
import numpy as np

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


def is_scan_cheaper(index: Any, wide: int, alive: Alive, effort: float) -> bool:
    """Whether to score each living row takes less time than to search `index` for `wide` of them."""
    inner = inner_index(index)
    n = int(inner.ntotal)
    if isinstance(inner, faiss.IndexHNSW):
        return alive.count <= ROWS_PER_STEP * _steps(n, wide, alive, effort)
    if isinstance(inner, faiss.IndexIVF):
        scanned = n * _probes(inner, alive, effort) // int(inner.nlist)
        return alive.count * CODES_PER_ROW <= scanned
    return alive.count * SKIPPED_PER_ROW <= n


def search_index(index: Any, xq: Float32, wide: int, alive: Alive, effort: float) -> tuple[Float32, Int64]:
    """Approximate scores and rows of the `wide` best living rows for each of `xq` (n, d), both (n, wide).

    Places for which nothing was found have row -1; they are last. All parameters belong to this search:
    the index is only read.
    """
    inner = inner_index(index)
    if isinstance(inner, faiss.IndexHNSW):
        return _search_graph(index, xq, wide, alive, effort)
    if isinstance(inner, faiss.IndexIVF):
        kind = (
            faiss.IVFPQSearchParameters if isinstance(inner, faiss.IndexIVFPQ) else faiss.SearchParametersIVF
        )
        return _search(index, xq, wide, kind(nprobe=_probes(inner, alive, effort), sel=alive.selector))
    return _search(index, xq, wide, faiss.SearchParameters(sel=alive.selector))


def _search_graph(index: Any, xq: Float32, wide: int, alive: Alive, effort: float) -> tuple[Float32, Int64]:
    """Goes through the graph as if all rows lived, then keeps those that do.

    So a filter costs no recall: where it keeps to rows far from the query, few of the found rows are left
    and the places stay empty, instead of being filled with the best of what the graph happened to pass.
    """
    if alive.selector is None:
        return _search(index, xq, wide, _graph_parameters(int(effort * EF_SEARCH)))
    steps = _steps(index.ntotal, wide, alive, effort)
    D, I = _search(index, xq, steps, _graph_parameters(steps))  # noqa: N806, E741
    is_living = (I >= 0) & alive.mask[I]
    order = np.argsort(~is_living, axis=1, kind="stable")[:, :wide]
    rows = np.where(is_living, I, -1)
    return np.take_along_axis(D, order, axis=1), np.take_along_axis(rows, order, axis=1)


@lru_cache(maxsize=256)
def _graph_parameters(breadth: int) -> Any:
    """Kept, because making them takes a noticeable part of a search; FAISS only reads them."""
    return faiss.SearchParametersHNSW(efSearch=breadth)


def _search(index: Any, xq: Float32, k: int, parameters: Any) -> tuple[Float32, Int64]:
    if isinstance(index, faiss.IndexPreTransform):
        parameters = faiss.SearchParametersPreTransform(index_params=parameters)
    D, I = index.search(xq, k, params=parameters)  # noqa: N806, E741
    return D, I


def _steps(n: int, wide: int, alive: Alive, effort: float) -> int:
    """How far to go through a graph of n rows so that `wide` living ones are among those found."""
    needed = wide if alive.selector is None else MARGIN * wide * n // max(alive.count, 1)
    return min(max(int(effort * EF_SEARCH), needed), n)


def _probes(lists: Any, alive: Alive, effort: float) -> int:
    """How many lists to search; more of them where few rows live, whose neighbours lie further away."""
    count = int(lists.nlist)
    probes = effort * max(MIN_PROBES, count * PROBED_SHARE)
    more = math.sqrt(int(lists.ntotal) / max(alive.count, 1))
    return min(max(int(probes * more), 1), count)
