"""Facets: how many documents of a set have each value of a field."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from heapq import nsmallest
from itertools import islice

import numpy as np

from core.index_types import Facet, FacetValue
from core.types import Int64
from indexer.attributes_columns import ColumnView, FieldView, Mask, Values
from indexer.attributes_values import Kind, date_text

RANKS = {Kind.BOOL: 0, Kind.INTEGER: 1, Kind.FLOAT: 1, Kind.DATE: 2, Kind.KEYWORD: 3}  # between equal counts
DENSE_SPAN = 4  # integers are counted in a table when its length is at most so many times their number


@dataclass(frozen=True, slots=True, eq=False)
class _Counts:
    """Of one column: `values` (m,) distinct, ascending unless they are codes, and `counts` (m,) > 0."""

    column: ColumnView
    values: Values
    counts: Int64

    def top(self, limit: int) -> Iterable[tuple[int, int, FacetValue]]:
        """(-count, rank of the kind, value) of the first `limit`, in any order."""
        counts, values = self.counts, self.values
        if len(counts) <= limit:
            return self._shown(values, counts)
        least = np.partition(counts, len(counts) - limit)[len(counts) - limit]
        is_more = counts > least
        tied = self._shown(values[counts == least], counts[counts == least])
        missing = limit - int(np.count_nonzero(is_more))
        first = islice(tied, missing) if self.column.keywords is None else nsmallest(missing, tied)
        return [*self._shown(values[is_more], counts[is_more]), *first]

    def _shown(self, values: Values, counts: Int64) -> Iterator[tuple[int, int, FacetValue]]:
        keywords, rank = self.column.keywords, RANKS[self.column.kind]
        shown = iter(values.tolist()) if keywords is None else keywords.texts(values.tolist())
        return ((-count, rank, value) for count, value in zip(counts.tolist(), shown, strict=True))


def facet(columns: FieldView, rows: Mask, limit: int) -> Facet:
    """The values of most documents, equal counts in order of value: booleans, numbers, dates, texts.

    `rows` (n,) bool are the rows counted.
    """
    counted = [_count(columns[kind], rows) for kind in RANKS if kind in columns]
    top = sorted(one for counts in counted for one in counts.top(limit))[:limit]
    is_date = RANKS[Kind.DATE]
    values = tuple((date_text(int(v)) if rank == is_date else v, -minus) for minus, rank, v in top)
    ordered = [one for one in counted if RANKS[one.column.kind] in (1, is_date) and len(one.values)]
    least = min((one.values[0].item() for one in ordered), default=None)
    greatest = max((one.values[-1].item() for one in ordered), default=None)
    if Kind.DATE in columns and least is not None and greatest is not None:
        least, greatest = date_text(least), date_text(greatest)
    return Facet(values, sum(len(one.values) for one in counted), least, greatest)


def _count(column: ColumnView, rows: Mask) -> _Counts:
    """How many of the rows have each value; a row has a value at most once."""
    is_counted = rows if column.row_count == len(rows) == len(column.rows) else rows[column.rows]
    values = column.values if is_counted.all() else column.values[is_counted]
    if column.keywords is not None:
        counts = np.bincount(values, minlength=column.keyword_count)
        found = np.flatnonzero(counts)
        return _Counts(column, found, counts[found])
    if values.dtype == np.int64 and len(values):
        least, span = int(values.min()), int(values.max()) - int(values.min()) + 1
        if span <= DENSE_SPAN * len(values):
            counts = np.bincount(values - least)
            found = np.flatnonzero(counts)
            return _Counts(column, found + least, counts[found])
    found, counts = np.unique(values, return_counts=True)
    return _Counts(column, found, counts)
