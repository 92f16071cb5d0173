"""The main part of a view: an immutable FAISS index over positions, and how it is built and extended."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import faiss
import numpy as np
import numpy.typing as npt

from core.fusion import WINDOW
from core.types import Float16, Float32, Int64
from indexer.ann_search import REFINE, AnnIndex
from indexer.document_rows import DocumentRows
from indexer.exact import Alive, score_rows, search_exactly, search_rows, use_threads
from indexer.factory import choose_factory, inner_index, new_index
from indexer.gpu import MOST_CHOSEN, GpuCopy, copied_to_gpu
from indexer.huge_pages import use_huge_pages

EF_CONSTRUCTION = 80
ADD_ROWS = 1_024
# Of an index whose found rows are scored again, at least so many are fetched.
MIN_FETCH = 16
# Training rows, evenly spaced: so many a centroid, and at least what product quantizers learn from.
TRAINING_POINTS = 64
MIN_TRAINING_ROWS = 32_768


class BuildCancelled(Exception):
    """A build was told to stop; nothing was published."""


@dataclass(frozen=True, slots=True, eq=False)
class MainIndex:
    """n rows: `vectors` (n, d), `passage_ids` and `document_ids` (n,), searched through `index`.

    `vectors` is a float32 view into the index where that keeps the vectors unchanged (Flat, HNSW over Flat),
    else a float16 copy from which found rows are scored again. `effort` is a multiple of what a search
    usually takes; `gpu` searches the same rows, if there is one. Nothing in here changes after construction.
    """

    factory: str
    index: Any
    vectors: Float32 | Float16
    passage_ids: Int64
    document_ids: Int64
    trained_rows: int
    recall_at_10: float | None = None
    effort: float = 1.0
    gpu: GpuCopy | None = None
    is_exact: bool = field(init=False)
    is_lossless: bool = field(init=False)
    by_document: DocumentRows = field(init=False)
    ann: AnnIndex = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "is_exact", isinstance(self.index, faiss.IndexFlat))
        object.__setattr__(self, "is_lossless", is_lossless(self.index))
        object.__setattr__(self, "by_document", DocumentRows(self.document_ids))
        object.__setattr__(self, "ann", AnnIndex(self.index, self.effort, not self.is_lossless))

    @property
    def n(self) -> int:
        return len(self.passage_ids)

    def reaches(self, recall: float) -> bool:
        """Whether the measured recall is so high; true while none was measured."""
        return self.recall_at_10 is None or self.recall_at_10 >= recall

    @property
    def bytes(self) -> int:
        """Memory of vectors, graph or lists of codes, and ids."""
        total = self.vectors.nbytes + self.passage_ids.nbytes + self.document_ids.nbytes
        codes = inner_index(self.index)
        if isinstance(codes, faiss.IndexHNSW):
            total += _links(codes).nbytes
            codes = faiss.downcast_index(codes.storage)
        if isinstance(codes, faiss.IndexIVF):
            total += self.n * 8 + codes.nlist * codes.d * 4
        return int(total) if self.is_lossless else int(total + self.n * codes.code_size)

    def search(self, xq: Float32, fetch: int, alive: Alive, breadth: int = 0) -> tuple[Float32, Int64]:
        """Scores and positions, both (n, fetch), best first; `fetch` is at most `alive.count`.

        `breadth`: how many near rows a graph is to find, where that is more than those of 50 documents.
        No place is left empty: where the index finds too few living rows, all of them are scored, as they
        are when so few live that this takes less time.
        """
        wide = fetch if self.is_lossless else min(max(fetch, int(self.effort * REFINE * fetch)), alive.count)
        if self.gpu is not None and alive.selector is None and self._fits_gpu(wide):
            found = self.gpu.search(xq, wide, self.ann.probes)
            if found is not None:
                return self._completed(xq, *found, fetch, alive)
        is_whole = alive.selector is None
        near = breadth if breadth or is_whole else self.by_document.enough(WINDOW)
        if self.ann.is_scan_cheaper(wide if is_whole else near, alive):
            return search_rows(xq, self.vectors, fetch, alive.rows)
        if self.is_exact:
            return self.search_exactly(xq, fetch, alive)
        use_threads(1)
        D, I = self.ann.search(xq, fetch, wide, alive, near)  # noqa: N806, E741
        return self._completed(xq, D, I, fetch, alive)

    def _fits_gpu(self, wide: int) -> bool:
        """Whether so many rows, of so many lists, are within what FAISS chooses on a GPU."""
        return wide <= MOST_CHOSEN and self.ann.probes <= MOST_CHOSEN

    def search_exactly(self, xq: Float32, fetch: int, alive: Alive) -> tuple[Float32, Int64]:
        """As `search`, by scanning all vectors."""
        return search_exactly(xq, self.vectors, fetch, alive)

    def score_rows(self, query: Float32, rows: Int64) -> Float32:
        """(m,) inner products of `query` (d,) with the given rows (m,)."""
        return score_rows(query, self.vectors, rows)

    def enough(self, k: int) -> int:
        """How many rows to fetch for k documents; of what is scored again, more also mean more recall."""
        return self.by_document.enough(k) if self.is_lossless else max(2 * k, MIN_FETCH)

    @property
    def is_steady(self) -> bool:
        """Whether a search for few rows finds the first of those that one for 50 documents finds.

        Not where found rows are scored again.
        """
        return self.is_lossless

    def _completed(
        self, xq: Float32, scores: Float32, positions: Int64, fetch: int, alive: Alive
    ) -> tuple[Float32, Int64]:
        """The best `fetch` of the found rows by their true scores; of all rows where too few were found."""
        if self.is_lossless and positions[:, -1].min() >= 0:  # missing places are last
            return scores, positions
        scores, positions = scores[:, :fetch], positions.copy()
        for query, found in enumerate(positions):
            is_short = found[fetch - 1] < 0
            if is_short or not self.is_lossless:
                rows = alive.rows if is_short else found[found >= 0]
                best = search_rows(xq[query : query + 1], self.vectors, fetch, rows)
                scores[query], positions[query, :fetch] = best[0][0], best[1][0]
        return scores, positions[:, :fetch]


def is_lossless(index: Any) -> bool:
    """Whether the index keeps its vectors in float32, so that they can be read back from it."""
    if isinstance(index, faiss.IndexHNSW):
        return isinstance(faiss.downcast_index(index.storage), faiss.IndexFlat)
    return isinstance(index, faiss.IndexFlat)


@dataclass(frozen=True, slots=True)
class Build:
    """How to build: the collection's `index` setting, OpenMP threads, and a way to be told to stop.

    `report` is told now and then which share (0 to 1) of the rows is in the index.
    """

    setting: str
    threads: int = 1
    is_cancelled: Callable[[], bool] = lambda: False
    report: Callable[[float], None] = lambda share: None


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
        index.train(_training_sample(index, vectors))
    _add(index, vectors, build, in_huge_pages=True)
    kept = stored_vectors(index) if is_lossless(index) else np.asarray(vectors, dtype=np.float16)
    return MainIndex(factory, index, kept, passage_ids, document_ids, n, gpu=copied_to_gpu(index))


def extend_main(
    main: MainIndex, vectors: Float32, passage_ids: Int64, document_ids: Int64, build: Build
) -> MainIndex:
    """A copy of `main` with rows `vectors` (m, d) at its end; `main` is only read. Raises BuildCancelled."""
    use_threads(build.threads)
    index = faiss.clone_index(main.index)
    _add(index, vectors, build, in_huge_pages=False)  # to move all that is there costs more than it gains
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
        gpu=copied_to_gpu(index),
    )


def stored_vectors(index: Any) -> Float32:
    """(n, d) float32 view of the vectors inside a lossless index; valid while the index lives."""
    flat = faiss.downcast_index(index.storage) if isinstance(index, faiss.IndexHNSW) else index
    if flat.ntotal == 0:
        return np.empty((0, flat.d), dtype=np.float32)
    stored: Float32 = faiss.rev_swig_ptr(flat.get_xb(), flat.ntotal * flat.d).reshape(flat.ntotal, flat.d)
    stored.flags.writeable = False
    return stored


def use_huge_pages_for_graph(index: Any, at_once: bool = True) -> None:
    """Asks for huge pages for the vectors and links of a graph; lists have theirs all over the memory."""
    if isinstance(index, faiss.IndexHNSW) and is_lossless(index):
        use_huge_pages(stored_vectors(index), at_once)
        use_huge_pages(_links(index), at_once)


def _links(index: Any) -> npt.NDArray[np.int32]:
    """View of the rows that a graph's rows are linked to, one after the other."""
    neighbours = index.hnsw.neighbors
    links: npt.NDArray[np.int32] = faiss.rev_swig_ptr(neighbours.data(), neighbours.size())
    return links


def _prepare(index: Any) -> None:
    inner = inner_index(index)
    if isinstance(inner, faiss.IndexHNSW):
        inner.hnsw.efConstruction = EF_CONSTRUCTION


def _training_sample(index: Any, vectors: Float32 | Float16) -> Float32:
    """(m, d) float32: what the index is trained on; all of a million rows would double the memory."""
    lists = inner_index(index)
    centroids = lists.nlist if isinstance(lists, faiss.IndexIVF) else 0
    m = min(len(vectors), max(MIN_TRAINING_ROWS, TRAINING_POINTS * centroids))
    rows = np.linspace(0, len(vectors) - 1, m).astype(np.int64)
    return np.ascontiguousarray(vectors[rows], dtype=np.float32)


def _add(index: Any, vectors: Float32 | Float16, build: Build, in_huge_pages: bool) -> None:
    """Adds in blocks, so that a stopping service waits for one block and not for the whole graph.

    With `in_huge_pages` all of the graph lies in such at once, else whenever the system gets to it.
    """
    for start in range(0, len(vectors), ADD_ROWS):
        if build.is_cancelled():
            raise BuildCancelled
        build.report(start / len(vectors))
        index.add(np.ascontiguousarray(vectors[start : start + ADD_ROWS], dtype=np.float32))
        use_huge_pages_for_graph(index, at_once=in_huge_pages)
