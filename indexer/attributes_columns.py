"""Columns of attributes: the values of one kind of one field, beside the rows that have them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from core.types import Int32, Int64
from indexer.attributes_keywords import Keywords
from indexer.attributes_values import Kind, Stored

Mask = npt.NDArray[np.bool_]
Values = npt.NDArray[Any]

DTYPES: Final[Mapping[Kind, npt.DTypeLike]] = {
    Kind.BOOL: np.bool_,
    Kind.INTEGER: np.int64,
    Kind.FLOAT: np.float64,
    Kind.DATE: np.int64,
    Kind.KEYWORD: np.int32,
    Kind.OTHER: np.bool_,
}
INITIAL = 16
BEYOND: Final = ""  # no filter can name it: documents with values in fields that have no column


class Growing:
    """An array that only grows at its end: what was published of it never changes."""

    def __init__(self, values: Values) -> None:
        self._values = values
        self._count = len(values)

    @property
    def bytes(self) -> int:
        return int(self._values.nbytes)

    def append(self, values: Values) -> None:
        stop = self._count + len(values)
        if stop > len(self._values):
            grown = np.empty(max(stop, INITIAL, 2 * len(self._values)), dtype=self._values.dtype)
            grown[: self._count] = self._values[: self._count]
            self._values = grown
        self._values[self._count : stop] = values
        self._count = stop

    @property
    def values(self) -> Values:
        return self._values[: self._count]


@dataclass(frozen=True, slots=True, eq=False)
class ColumnView:
    """n values at one moment: `rows` (n,) ascending, `values` (n,) of the kind's dtype, codes for keywords.

    `row_count` is how many distinct rows there are; `keyword_count` how many codes.
    """

    kind: Kind
    rows: Int32
    values: Values
    row_count: int
    keywords: Keywords | None = None
    keyword_count: int = 0

    def mask(self, hits: Mask, n: int) -> Mask:
        """(n,) bool over all rows: those of the values that `hits` (values,) marks."""
        if self.row_count == n == len(self.rows):  # every row has one value: row i is at place i
            return hits
        found = np.zeros(n, dtype=np.bool_)
        found[self.rows[hits]] = True
        return found

    def has_rows(self, n: int) -> Mask:
        """(n,) bool: which rows have a value."""
        found = np.zeros(n, dtype=np.bool_)
        found[self.rows] = True
        return found

    def kept(self, alive: Mask, new_rows: Int32) -> ColumnView:
        """The values of living rows alone, row r as `new_rows[r]`; texts nobody has are left out."""
        is_kept = alive[self.rows]
        rows, values = new_rows[self.rows[is_kept]], self.values[is_kept]
        count = int(np.count_nonzero(np.diff(rows, prepend=np.int32(-1))))
        if self.keywords is None:
            return ColumnView(self.kind, rows, values, count)
        used = np.flatnonzero(np.bincount(values, minlength=self.keyword_count))
        new_codes = np.zeros(self.keyword_count, dtype=np.int32)
        new_codes[used] = np.arange(len(used), dtype=np.int32)
        keywords = self.keywords.kept(used)
        return ColumnView(self.kind, rows, new_codes[values], count, keywords, len(used))


class Column:
    """The growing side of a ColumnView. One thread writes."""

    def __init__(self, kind: Kind, start: ColumnView | None = None) -> None:
        self.kind = kind
        self._rows = Growing(start.rows if start else np.empty(0, dtype=np.int32))
        self._values = Growing(start.values if start else np.empty(0, dtype=DTYPES[kind]))
        self._row_count = start.row_count if start else 0
        keywords = start.keywords if start else None
        self._keywords = keywords or (Keywords() if kind is Kind.KEYWORD else None)

    @property
    def bytes(self) -> int:
        return self._rows.bytes + self._values.bytes + (self._keywords.bytes if self._keywords else 0)

    def append(self, rows: Sequence[int], values: Sequence[Stored]) -> None:
        """`rows` ascend, from a greater one than is there."""
        self._row_count += len(set(rows))
        self._rows.append(np.array(rows, dtype=np.int32))
        if self._keywords is not None:
            self._values.append(self._keywords.add([str(value) for value in values]))
        else:
            self._values.append(np.array(values, dtype=DTYPES[self.kind]))

    def view(self) -> ColumnView:
        count = self._keywords.count if self._keywords else 0
        rows, values = self._rows.values, self._values.values
        return ColumnView(self.kind, rows, values, self._row_count, self._keywords, count)


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """Documents in the order they came: `document_ids` (n,), and which rows are their present state."""

    document_ids: Int64
    alive: Mask
    living: int

    @property
    def n(self) -> int:
        return len(self.document_ids)

    @property
    def dead(self) -> int:
        return self.n - self.living


FieldView = Mapping[Kind, ColumnView]
Columns = Mapping[str, FieldView]


def compacted(rows: Rows, columns: Columns) -> tuple[Rows, dict[str, dict[Kind, ColumnView]]]:
    """The same documents and values in living rows alone; fields without any value are left out."""
    new_rows = (np.cumsum(rows.alive) - 1).astype(np.int32)
    kept: dict[str, dict[Kind, ColumnView]] = {}
    for field, parts in columns.items():
        living = {kind: part.kept(rows.alive, new_rows) for kind, part in parts.items()}
        living = {kind: part for kind, part in living.items() if part.row_count}
        if living:
            kept[field] = living
    ids = rows.document_ids[rows.alive]
    return Rows(ids, np.ones(len(ids), dtype=np.bool_), len(ids)), kept
