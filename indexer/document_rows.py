"""Which rows of an array belong to a document."""

from __future__ import annotations

import numpy as np

from core.types import Int64


class DocumentRows:
    """Looks rows up by document, over `document_ids` (n,), which must not change.

    The order by document is made when first asked for. Two threads that ask at once both make it, and
    either result serves.
    """

    __slots__ = ("_document_ids", "_sorted")

    def __init__(self, document_ids: Int64) -> None:
        self._document_ids = document_ids
        self._sorted: tuple[Int64, Int64] | None = None

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
