"""A set of documents, as filters select them and indexes are told to keep to."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from core.types import Int64

Mask = npt.NDArray[np.bool_]


SPARSE_FROM = 64  # ids a member between the least and the greatest, from which they are kept as a list
SMALL_TABLE = 1_000_000  # ids of which a table is always kept


@dataclass(frozen=True, slots=True, eq=False)
class DocumentSet:
    """An immutable set of document ids.

    The ids of one collection mostly lie close together: a table `is_member` (m,) bool of the ids `first` to
    `first + m - 1` is small, and looking rows up in it is one gather. Where others took most ids between, it
    is a sorted list `listed` (n,), and looking up is a binary search.
    """

    first: int
    is_member: Mask
    listed: Int64 | None = None

    @classmethod
    def of(cls, document_ids: Int64) -> DocumentSet:
        """The set of the ids (n,) int64, in any order, repeated or not."""
        if not len(document_ids):
            return cls(0, np.zeros(0, dtype=np.bool_))
        first = int(document_ids.min())
        span = int(document_ids.max()) - first + 1
        if span > max(SMALL_TABLE, SPARSE_FROM * len(document_ids)):
            return cls(first, np.zeros(0, dtype=np.bool_), np.unique(document_ids))
        is_member = np.zeros(span, dtype=np.bool_)
        is_member[document_ids - first] = True
        return cls(first, is_member)

    @property
    def count(self) -> int:
        return int(np.count_nonzero(self.is_member)) if self.listed is None else len(self.listed)

    @property
    def nbytes(self) -> int:
        return self.is_member.nbytes if self.listed is None else self.listed.nbytes

    def ids(self) -> Int64:
        """(count,) int64, ascending."""
        return np.flatnonzero(self.is_member) + self.first if self.listed is None else self.listed

    def mask(self, document_ids: Int64) -> Mask:
        """(n,) bool: which of the ids (n,) are members."""
        if self.listed is not None:
            places = np.searchsorted(self.listed, document_ids)
            return np.asarray(self.listed[np.minimum(places, len(self.listed) - 1)] == document_ids)
        if not len(self.is_member):
            return np.zeros(len(document_ids), dtype=np.bool_)
        places = document_ids - self.first
        is_inside = (places >= 0) & (places < len(self.is_member))
        found = self.is_member[np.where(is_inside, places, 0)]
        return found & is_inside
