"""A set of documents, as filters select them and indexes are told to keep to."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from core.types import Int64

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class DocumentSet:
    """An immutable set of document ids: `is_member` (m,) bool tells of ids `first` to `first + m - 1`.

    The ids of one collection lie close together, so a table of all ids between the least and the greatest
    is small, and looking rows up in it is one gather.
    """

    first: int
    is_member: Mask

    @classmethod
    def of(cls, document_ids: Int64) -> DocumentSet:
        """The set of the ids (n,) int64, in any order, repeated or not."""
        if not len(document_ids):
            return cls(0, np.zeros(0, dtype=np.bool_))
        first = int(document_ids.min())
        is_member = np.zeros(int(document_ids.max()) - first + 1, dtype=np.bool_)
        is_member[document_ids - first] = True
        return cls(first, is_member)

    @property
    def count(self) -> int:
        return int(np.count_nonzero(self.is_member))

    def ids(self) -> Int64:
        """(count,) int64, ascending."""
        return np.flatnonzero(self.is_member) + self.first

    def mask(self, document_ids: Int64) -> Mask:
        """(n,) bool: which of the ids (n,) are members."""
        if not len(self.is_member):
            return np.zeros(len(document_ids), dtype=np.bool_)
        places = document_ids - self.first
        is_inside = (places >= 0) & (places < len(self.is_member))
        found = self.is_member[np.where(is_inside, places, 0)]
        return found & is_inside
