"""An immutable state of a collection's attributes: filters, facets, and what fields there are."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from core.document_set import DocumentSet
from core.errors import InvalidInput
from core.filters import MAX_FIELD_BYTES, MAX_FIELDS, Filter
from core.index_types import Facet
from indexer.attributes_columns import BEYOND, Columns, ColumnView, FieldView, Mask, Rows
from indexer.attributes_facets import facet
from indexer.attributes_select import kinds_text, rows_matching
from indexer.attributes_snapshot import pack
from indexer.attributes_values import Kind

MAX_RECENT = 32
MAX_RECENT_BYTES = 32 * 1024 * 1024
MAX_LISTED = 50


class AttributeView:
    """Safe for any number of threads. Field names are paths with dots; a field may hold several types."""

    def __init__(self, declared: Mapping[str, str], rows: Rows, columns: Columns) -> None:
        self._declared = declared
        self._rows = rows
        self._columns = columns
        self._recent: dict[Filter, DocumentSet] = {}
        self._recent_lock = threading.Lock()

    @cached_property
    def documents(self) -> DocumentSet:
        """All living documents."""
        return self._documents(self._rows.alive)

    @cached_property
    def fields(self) -> dict[str, str]:
        """Name -> type, in order of name: as declared, else the types of the values ("keyword or number")."""
        living = {field: self._living(field) for field in self._columns if field != BEYOND}
        types = {field: kinds_text(columns) for field, columns in living.items() if columns}
        return dict(sorted({**types, **self._declared}.items()))

    @cached_property
    def unindexed(self) -> dict[str, int]:
        """Field -> in how many documents it has values that are in no column, where there are any.

        They do not fit the declared type, or are strings longer than 1,024 bytes.
        """
        return {
            field: count for field in sorted(self._columns.keys() - {BEYOND}) if (count := self._other(field))
        }

    @cached_property
    def beyond_limits(self) -> int:
        """How many documents have values in fields without a column: too many, of no or too long a name."""
        return self._other(BEYOND)

    def select(self, filter_: Filter) -> DocumentSet:
        """The documents that match, exactly; the sets of recent filters are kept.

        A document without a field matches no comparison of it, so `not` and `ne` take it in. Raises
        InvalidInput for an unknown field, naming the known ones, and for a value of another type than the
        field's.
        """
        with self._recent_lock:
            found = self._recent.get(filter_)
        if found is None:
            found = self._documents(rows_matching(filter_, self._field, self._rows.n) & self._rows.alive)
            self._keep(filter_, found)
        return found

    def facets(
        self, fields: Sequence[str], limit: int, documents: DocumentSet | None = None
    ) -> dict[str, Facet]:
        """Of each field at most `limit` values, over `documents` or all. Raises InvalidInput."""
        rows = self._rows.alive
        if documents is not None:
            rows = rows & documents.mask(self._rows.document_ids)
        return {field: facet(self._field(field)[1], rows, limit) for field in fields}

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """The whole state as one-dimensional arrays for a snapshot; `AttributeIndex` takes them back."""
        return pack(self._rows, self._columns, self._declared)

    def _field(self, field: str) -> tuple[str | None, FieldView]:
        """The declared type, if any, and the columns that have living values."""
        columns, declared = self._living(field), self._declared.get(field)
        if field == BEYOND or (declared is None and not columns):
            raise self._unknown(field)
        return declared, columns

    def _living(self, field: str) -> dict[Kind, ColumnView]:
        columns = self._columns.get(field, {})
        return {kind: part for kind, part in columns.items() if self._is_living(part)}

    def _other(self, field: str) -> int:
        """How many living documents have values of the field that no column holds."""
        part = self._columns.get(field, {}).get(Kind.OTHER)
        return int(np.count_nonzero(self._rows.alive[part.rows])) if part else 0

    def _is_living(self, column: ColumnView) -> bool:
        """Whether a living document has a value in it; no need to look if they are more than the dead."""
        return column.row_count > self._rows.dead or bool(self._rows.alive[column.rows].any())

    def _unknown(self, field: str) -> InvalidInput:
        listed = [f"{name!r} ({kind})" for name, kind in list(self.fields.items())[:MAX_LISTED]]
        more = len(self.fields) - len(listed)
        known = ", ".join(listed) + (f" and {more} more" if more else "")
        found = f"Field {field[:100]!r} is unknown: no searchable document has a value in it"
        return InvalidInput(f"{found}{self._or_left_out()}. Known fields: {known or 'none'}.")

    def _or_left_out(self) -> str:
        if not self.beyond_limits:
            return ""
        return (
            f", or it is one of those beyond {MAX_FIELDS:,} undeclared fields a collection, without a name,"
            f" or beyond {MAX_FIELD_BYTES} bytes a name, which are not indexed (documents that have such"
            f" fields: {self.beyond_limits:,}). A field that is declared in the attributes of the collection,"
            " when that is created, is always indexed"
        )

    def _documents(self, rows: Mask) -> DocumentSet:
        return DocumentSet.of(self._rows.document_ids[rows])

    def _keep(self, filter_: Filter, found: DocumentSet) -> None:
        most = min(MAX_RECENT, 1 + MAX_RECENT_BYTES // (1 + found.nbytes))
        with self._recent_lock:
            self._recent[filter_] = found
            while len(self._recent) > most:
                self._recent.pop(next(iter(self._recent)))
