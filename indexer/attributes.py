"""The attribute index of one collection: typed columns of its documents' metadata, following the log."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from core.filters import MAX_FIELDS
from core.index_types import LogEntry
from indexer.attributes_columns import (
    BEYOND,
    Column,
    Columns,
    ColumnView,
    Growing,
    Rows,
    compacted,
)
from indexer.attributes_snapshot import Arrays, unpack
from indexer.attributes_values import Kind, Stored, TypedValue, typed_values
from indexer.attributes_view import AttributeView
from indexer.upkeep import has_many_dead

_Pending = dict[tuple[str, Kind], tuple[list[int], list[Stored]]]


class AttributeIndex:
    """Applies log entries; `publish` gives views that later entries leave as they are. One thread writes.

    A document is a row, numbered in the order of arrival; a change of it is a new row and ends the old one.
    Columns share their arrays with the views, because they only grow at their end; dead rows are compacted
    away into new arrays when they are a fifth of all. A collection has at most 1,000 fields that were not
    declared, the first to come; documents with values in further fields are counted under BEYOND.
    """

    _document_ids: Growing
    _alive: Growing
    _row_of: dict[int, int]
    _columns: dict[str, dict[Kind, Column]]
    _inferred: int  # how many of the fields were not declared
    _published: dict[str, dict[Kind, ColumnView]]  # the fields that have not changed since

    def __init__(self, declared: Mapping[str, str], arrays: Arrays | None = None) -> None:
        """`declared`: field -> keyword, number, bool or date. `arrays` as a view gave them.

        Raises ValueError if the arrays are no whole state of an index with these declarations.
        """
        self._declared = dict(declared)
        nothing = Rows(np.empty(0, dtype=np.int64), np.empty(0, dtype=np.bool_), 0)
        rows, columns = (nothing, {}) if arrays is None else unpack(arrays, declared)
        self._take(rows, columns)

    @property
    def bytes(self) -> int:
        """Memory, about: of a row its id, its flag and its entry in a dictionary; and all columns."""
        columns = sum(column.bytes for parts in self._columns.values() for column in parts.values())
        return self._document_ids.bytes + self._alive.bytes + 110 * len(self._row_of) + columns

    def apply(self, entries: Sequence[LogEntry]) -> None:
        """An entry replaces its document's metadata; one without passages removes the document."""
        latest = {entry.document_id: entry for entry in entries}
        self._end(latest)
        living = [entry for entry in latest.values() if len(entry.passage_ids)]
        pending: _Pending = {}
        for row, entry in enumerate(living, start=len(self._document_ids.values)):
            self._row_of[entry.document_id] = row
            self._collect(row, typed_values(entry.metadata, self._declared), pending)
        self._document_ids.append(np.array([entry.document_id for entry in living], dtype=np.int64))
        self._alive.append(np.ones(len(living), dtype=np.bool_))
        for (field, kind), (rows, values) in pending.items():
            self._columns[field].setdefault(kind, Column(kind)).append(rows, values)
            self._published.pop(field, None)
        total = len(self._document_ids.values)
        if has_many_dead(total - len(self._row_of), total):
            self.compact()

    def publish(self) -> AttributeView:
        """The present state, which later entries leave as it is."""
        return AttributeView(self._declared, self._rows(), self._views())

    def compact(self) -> None:
        """Leaves dead rows out of all columns; views keep the arrays they have."""
        self._take(*compacted(self._rows(), self._views()))

    def _end(self, document_ids: Mapping[int, LogEntry]) -> None:
        """Marks the rows of the documents dead, in a new array: views may have the old one."""
        rows = [row for id_ in document_ids if (row := self._row_of.pop(id_, None)) is not None]
        if rows:
            alive = self._alive.values.copy()
            alive[rows] = False
            self._alive = Growing(alive)

    def _collect(self, row: int, values: Mapping[str, set[TypedValue]], pending: _Pending) -> None:
        for field, typed in values.items():
            if not self._is_open(field):
                field, typed = BEYOND, {(Kind.OTHER, False)}
                self._columns.setdefault(field, {})
            for kind, value in typed:
                rows, stored = pending.setdefault((field, kind), ([], []))
                if field != BEYOND or rows[-1:] != [row]:
                    rows.append(row)
                    stored.append(value)

    def _is_open(self, field: str) -> bool:
        """Whether there is a field of that name, made now if there is room."""
        if field == BEYOND or field in self._columns:
            return field != BEYOND
        is_declared = field in self._declared
        if not is_declared and self._inferred >= MAX_FIELDS:
            return False
        self._inferred += not is_declared
        self._columns[field] = {}
        return True

    def _rows(self) -> Rows:
        return Rows(self._document_ids.values, self._alive.values, len(self._row_of))

    def _views(self) -> Columns:
        for field, parts in self._columns.items():
            if field not in self._published:
                self._published[field] = {kind: column.view() for kind, column in parts.items()}
        return dict(self._published)

    def _take(self, rows: Rows, columns: Columns) -> None:
        """Makes these, of which all rows live, the present state."""
        self._document_ids, self._alive = Growing(rows.document_ids), Growing(rows.alive)
        self._row_of = {id_: row for row, id_ in enumerate(rows.document_ids.tolist())}
        self._columns = {
            field: {kind: Column(kind, part) for kind, part in parts.items()}
            for field, parts in columns.items()
        }
        self._inferred = len(columns.keys() - self._declared.keys() - {BEYOND})
        self._published = {}
