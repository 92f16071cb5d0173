"""The main part of a view: an immutable FAISS index over positions, and how it is built and extended."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import faiss
import numpy as np

from core.types import Float16, Float32, Int64
from indexer.exact import Alive, score_all, search_exactly, use_threads
from indexer.factory import choose_factory, inner_index, new_index

EF_CONSTRUCTION = 80
EF_SEARCH = 128
ADD_ROWS = 1_024
# Of an index that changes its vectors, so many times the wanted rows are fetched and scored again.
REFINE = 4


class BuildCancelled(Exception):
    """A build was told to stop; nothing was published."""


@dataclass(frozen=True, slots=True, eq=False)
class MainIndex:
    """n rows: `vectors` (n, d), `passage_ids` and `document_ids` (n,), searched through `index`.

    `vectors` is a float32 view into the index where that keeps the vectors unchanged (Flat, HNSW over Flat),
    else a float16 copy from which found rows are scored again. Nothing in here changes after construction.
    """

    factory: str
    index: Any
    vectors: Float32 | Float16
    passage_ids: Int64
    document_ids: Int64
    trained_rows: int
    recall_at_10: float | None = None

    @property
    def n(self) -> int:
        return len(self.passage_ids)

    @property
    def is_exact(self) -> bool:
        return isinstance(self.index, faiss.IndexFlat)

    @property
    def is_lossless(self) -> bool:
        return is_lossless(self.index)

    @property
    def bytes(self) -> int:
        """Memory of vectors, graph or codes, and ids."""
        total = self.vectors.nbytes + self.passage_ids.nbytes + self.document_ids.nbytes
        codes = inner_index(self.index)
        if isinstance(codes, faiss.IndexHNSW):
            total += codes.hnsw.neighbors.size() * 4
            codes = faiss.downcast_index(codes.storage)
        return int(total) if self.is_lossless else int(total + self.n * codes.code_size)

    def search(self, xq: Float32, fetch: int, alive: Alive) -> tuple[Float32, Int64]:
        """Scores and positions, both (n, fetch), best first; missing places have position -1."""
        use_threads(1)
        wide = fetch if self.is_lossless else min(REFINE * fetch, alive.count)
        D, I = self.index.search(xq, wide, params=self._parameters(alive))  # noqa: N806, E741
        return (D, I) if self.is_lossless else self._score_again(xq, I, fetch)

    def search_exactly(self, xq: Float32, fetch: int, alive: Alive) -> tuple[Float32, Int64]:
        """As `search`, by scanning all vectors."""
        return search_exactly(xq, self.vectors, fetch, alive)

    def score_all(self, query: Float32) -> Float32:
        """(n,) inner products of `query` (d,) with every row."""
        return score_all(query, self.vectors)

    def _parameters(self, alive: Alive) -> Any:
        inner = inner_index(self.index)
        parameters = _search_parameters(inner, alive.selector)
        if inner is not self.index and parameters is not None:
            return faiss.SearchParametersPreTransform(index_params=parameters)
        return parameters

    def _score_again(self, xq: Float32, positions: Int64, fetch: int) -> tuple[Float32, Int64]:
        scores = np.einsum("nd,nfd->nf", xq, self.vectors[positions].astype(np.float32))
        scores[positions < 0] = -np.inf
        order = np.argsort(-scores, axis=1, kind="stable")[:, :fetch]
        return np.take_along_axis(scores, order, axis=1), np.take_along_axis(positions, order, axis=1)


def is_lossless(index: Any) -> bool:
    """Whether the index keeps its vectors in float32, so that they can be read back from it."""
    if isinstance(index, faiss.IndexHNSW):
        return isinstance(faiss.downcast_index(index.storage), faiss.IndexFlat)
    return isinstance(index, faiss.IndexFlat)


@dataclass(frozen=True, slots=True)
class Build:
    """How to build: the collection's `index` setting, OpenMP threads, and a way to be told to stop."""

    setting: str
    threads: int = 1
    is_cancelled: Callable[[], bool] = lambda: False


def empty_main(d: int) -> MainIndex:
    """A main index of no rows."""
    ids = np.empty(0, dtype=np.int64)
    index = new_index("Flat", d)
    return MainIndex("Flat", index, np.empty((0, d), dtype=np.float32), ids, ids, 0, 1.0)


def build_main(
    vectors: Float32 | Float16, passage_ids: Int64, document_ids: Int64, build: Build
) -> MainIndex:
    """A new main index over `vectors` (n, d). Raises BuildCancelled."""
    n, d = vectors.shape
    factory = choose_factory(build.setting, n, d)
    use_threads(build.threads)
    index = new_index(factory, d)
    _prepare(index)
    if not index.is_trained:
        index.train(np.ascontiguousarray(vectors, dtype=np.float32))
    _add(index, vectors, build)
    kept = stored_vectors(index) if is_lossless(index) else np.asarray(vectors, dtype=np.float16)
    return MainIndex(factory, index, kept, passage_ids, document_ids, n)


def extend_main(
    main: MainIndex, vectors: Float32, passage_ids: Int64, document_ids: Int64, build: Build
) -> MainIndex:
    """A copy of `main` with rows `vectors` (m, d) at its end; `main` is only read. Raises BuildCancelled."""
    use_threads(build.threads)
    index = faiss.clone_index(main.index)
    _add(index, vectors, build)
    if is_lossless(index):
        kept: Float32 | Float16 = stored_vectors(index)
    else:
        kept = np.concatenate([main.vectors, vectors.astype(np.float16)])
    return replace(
        main,
        index=index,
        vectors=kept,
        passage_ids=np.concatenate([main.passage_ids, passage_ids]),
        document_ids=np.concatenate([main.document_ids, document_ids]),
        recall_at_10=None,
    )


def stored_vectors(index: Any) -> Float32:
    """(n, d) float32 view of the vectors inside a lossless index; valid while the index lives."""
    flat = faiss.downcast_index(index.storage) if isinstance(index, faiss.IndexHNSW) else index
    if flat.ntotal == 0:
        return np.empty((0, flat.d), dtype=np.float32)
    stored: Float32 = faiss.rev_swig_ptr(flat.get_xb(), flat.ntotal * flat.d).reshape(flat.ntotal, flat.d)
    stored.flags.writeable = False
    return stored


def _prepare(index: Any) -> None:
    inner = inner_index(index)
    if isinstance(inner, faiss.IndexHNSW):
        inner.hnsw.efConstruction = EF_CONSTRUCTION


def _add(index: Any, vectors: Float32 | Float16, build: Build) -> None:
    """Adds in blocks, so that a stopping service waits for one block and not for the whole graph."""
    for start in range(0, len(vectors), ADD_ROWS):
        if build.is_cancelled():
            raise BuildCancelled
        index.add(np.ascontiguousarray(vectors[start : start + ADD_ROWS], dtype=np.float32))


def _search_parameters(inner: Any, selector: Any) -> Any:
    if isinstance(inner, faiss.IndexHNSW):
        return faiss.SearchParametersHNSW(efSearch=EF_SEARCH, sel=selector)
    if isinstance(inner, faiss.IndexIVF):
        nprobe = min(inner.nlist, max(16, inner.nlist // 16))
        kind = faiss.SearchParametersIVF
        if isinstance(inner, faiss.IndexIVFPQ):
            kind = faiss.IVFPQSearchParameters
        return kind(nprobe=nprobe, sel=selector)
    return faiss.SearchParameters(sel=selector) if selector is not None else None
