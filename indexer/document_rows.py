"""Which rows of an array belong to a document."""

from __future__ import annotations

import math

import numpy as np

from core.types import Int64

# Where documents have x rows more than one on average, so many times x are fetched beyond k.
CROWD = 8
# Up to here more rows cost next to nothing.
FREE_ROWS = 16


class DocumentRows:
    """Looks rows up by document, over `document_ids` (n,), which must not change.

    The order by document is made when first asked for. Two threads that ask at once both make it, and
    either result serves.
    """

    __slots__ = ("_crowding", "_document_ids", "_sorted")

    def __init__(self, document_ids: Int64) -> None:
        self._document_ids = document_ids
        self._crowding: float | None = None
        self._sorted: tuple[Int64, Int64] | None = None

    def enough(self, k: int) -> int:
        """How many of the best rows are likely to hold those of k documents and one that is worse than they.

        With one row a document, k + 1; where some have more, they stand together among the best of a search.
        """
        most = max(2 * k, FREE_ROWS)
        return max(k + 1, min(k + 1 + math.ceil(CROWD * k * self.crowding), most))

    @property
    def crowding(self) -> float:
        """How many rows more than one a document has on average."""
        if self._crowding is None:
            documents = 1 + np.count_nonzero(self._document_ids[1:] != self._document_ids[:-1])
            self._crowding = len(self._document_ids) / documents - 1
        return self._crowding

    def find(self, document_ids: Int64) -> Int64:
        """(m,) int64: all rows of the given documents (which must be different), document by document."""
        if self._sorted is None:
            order = np.argsort(self._document_ids, kind="stable")  # nearly sorted already, so fast
            self._sorted = (self._document_ids[order], order)
        documents, order = self._sorted
        first = np.searchsorted(documents, document_ids, side="left")
        counts = np.searchsorted(documents, document_ids, side="right") - first
        ends = np.cumsum(counts)
        places = np.arange(ends[-1] if len(ends) else 0) + np.repeat(first - (ends - counts), counts)
        rows: Int64 = order[places]
        return rows
