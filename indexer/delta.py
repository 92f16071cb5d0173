"""The delta part of a view: rows appended since the last compaction, searched exactly."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from core.types import Float16, Float32, Int64
from indexer.document_rows import DocumentRows
from indexer.exact import Alive, score_rows, search_exactly

INITIAL_ROWS = 256


@dataclass(frozen=True, slots=True, eq=False)
class DeltaRows:
    """The first n rows of a buffer: `vectors` (n, d), `passage_ids` and `document_ids` (n,)."""

    vectors: Float32
    passage_ids: Int64
    document_ids: Int64
    by_document: DocumentRows = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "by_document", DocumentRows(self.document_ids))

    @property
    def n(self) -> int:
        return len(self.passage_ids)

    @property
    def is_exact(self) -> bool:
        return True

    def search(self, xq: Float32, fetch: int, alive: Alive, breadth: int = 0) -> tuple[Float32, Int64]:
        """Scores and positions, both (n, fetch), best first; missing places have position -1."""
        return search_exactly(xq, self.vectors, fetch, alive)

    def score_rows(self, query: Float32, rows: Int64) -> Float32:
        """(m,) inner products of `query` (d,) with the given rows (m,)."""
        return score_rows(query, self.vectors, rows)

    def enough(self, k: int) -> int:
        """How many rows to fetch for k documents."""
        return self.by_document.enough(k)

    @property
    def is_steady(self) -> bool:
        """True: whatever is found is exact."""
        return True


class DeltaBuffer:
    """Preallocated arrays that only grow at their end, so rows already published never change.

    When full, the rows move into arrays of twice the size; views keep the old ones. One writer at a time.
    """

    def __init__(self, d: int) -> None:
        self.count = 0
        self._vectors = np.empty((INITIAL_ROWS, d), dtype=np.float32)
        self._passage_ids = np.empty(INITIAL_ROWS, dtype=np.int64)
        self._document_ids = np.empty(INITIAL_ROWS, dtype=np.int64)

    @property
    def bytes(self) -> int:
        return self._vectors.nbytes + self._passage_ids.nbytes + self._document_ids.nbytes

    def append(self, vectors: Float32 | Float16, passage_ids: Int64, document_ids: Int64 | int) -> None:
        """Adds m rows: `vectors` (m, d), `passage_ids` (m,), and the document of each or of all."""
        stop = self.count + len(passage_ids)
        self._reserve(stop)
        self._vectors[self.count : stop] = vectors
        self._passage_ids[self.count : stop] = passage_ids
        self._document_ids[self.count : stop] = document_ids
        self.count = stop

    def rows(self, start: int = 0) -> DeltaRows:
        """The rows from `start` on that are there now; appending does not change them."""
        part = slice(start, self.count)
        return DeltaRows(self._vectors[part], self._passage_ids[part], self._document_ids[part])

    def _reserve(self, rows: int) -> None:
        capacity = len(self._passage_ids)
        if rows <= capacity:
            return
        size = max(rows, 2 * capacity)
        old = self.rows()
        self._vectors = np.empty((size, self._vectors.shape[1]), dtype=np.float32)
        self._passage_ids = np.empty(size, dtype=np.int64)
        self._document_ids = np.empty(size, dtype=np.int64)
        self._vectors[: old.n] = old.vectors
        self._passage_ids[: old.n] = old.passage_ids
        self._document_ids[: old.n] = old.document_ids
