"""Which tables a backup of a collection holds, found from the schema: a table is in, or named as left out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import Any, Final

from sqlalchemy import (
    JSON,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Integer,
    LargeBinary,
    MetaData,
    Select,
    String,
    Table,
    select,
)

from storage.schema import Base, Collections, Documents, Revisions, UtcDateTime

ROOT: Final = Collections.__tablename__
DOCUMENTS: Final = Documents.__tablename__
REVISIONS: Final = Revisions.__tablename__

LEFT_OUT: Final[Mapping[str, str]] = MappingProxyType(
    {
        "jobs": "history of this instance's requests",
        "job_errors": "belongs to jobs",
        "batches": "leases of this instance's workers; a restore cuts new ones from what was pending",
        "classifiers": "of the instance, not of a collection; storage/backup_classifiers.py copies them",
        "classifier_examples": "belong to classifiers",
        "classifier_versions": "belong to classifiers",
        "labeling_rules": "belong to classifiers",
        "revision_jobs": "says which jobs wait; after a restore one new job waits for all that was pending",
    }
)
# Columns that a restore fills itself, though they must not be null.
_MADE_ANEW: Final = frozenset({(REVISIONS, "batch_id")})
_NOT_KEPT: Final = frozenset({(DOCUMENTS, "job_id")})  # names a job that is left out
_KNOWN_TYPES = (String, Integer, Boolean, JSON, Float, LargeBinary, UtcDateTime)


@dataclass(frozen=True)
class TablePlan:
    """How the rows of one table are found, and what their columns mean.

    `shifts` maps a column to the table whose ids it holds: restored, they all move by one number.
    `home` is the column that holds the collection's own id.
    """

    table: Table
    columns: tuple[Column[Any], ...]
    shifts: Mapping[str, str]
    home: str | None
    way: tuple[ForeignKey, ...]

    @property
    def name(self) -> str:
        return str(self.table.name)

    @cached_property
    def id_column(self) -> str | None:
        """The column whose ids other rows of the backup refer to; None when there is none."""
        return next((column for column, of in self.shifts.items() if of == self.name), None)

    def rows(self, collection_id: int) -> Select[Any]:
        """All rows of the collection, in no certain order."""
        query = select(*self.columns).select_from(self.table)
        for key in self.way[:-1]:
            query = query.join(key.column.table, key.parent == key.column)
        return query.where(self.way[-1].parent == collection_id)


def plan_tables(metadata: MetaData = Base.metadata) -> tuple[TablePlan, ...]:
    """The tables of a backup, parents first.

    Raises ValueError for a table or column of which nobody has decided how it is copied.
    """
    ways = {table.name: _way(table) for table in metadata.sorted_tables if _is_copied(table)}
    stray = sorted(name for name, way in ways.items() if not way)
    if stray:
        raise ValueError(f"tables {stray} lead to no collection; name them in LEFT_OUT, or back them up")
    targets = {key.column.table.name for name in ways for key in metadata.tables[name].foreign_keys}
    return tuple(
        _plan(metadata.tables[name], way, frozenset(targets & set(ways))) for name, way in ways.items()
    )


def _is_copied(table: Table) -> bool:
    return table.name != ROOT and table.name not in LEFT_OUT


def _way(table: Table) -> tuple[ForeignKey, ...]:
    """Foreign keys from the table to its collection; empty when there is no way."""
    keys = sorted(
        (key for key in table.foreign_keys if not key.parent.nullable),
        key=lambda key: (key.column.table.name != ROOT, key.parent.name),
    )
    for key in keys:
        parent = key.column.table
        if parent.name == ROOT:
            return (key,)
        if parent is not table and _is_copied(parent) and (rest := _way(parent)):
            return (key, *rest)
    return ()


def _plan(table: Table, way: tuple[ForeignKey, ...], referenced: frozenset[str]) -> TablePlan:
    shifts, home, columns = {}, None, []
    for column in table.columns:
        target = next((key.column.table.name for key in column.foreign_keys), None)
        if target in LEFT_OUT or (table.name, column.name) in _NOT_KEPT:
            _require(
                column.nullable or (table.name, column.name) in _MADE_ANEW,
                column,
                "refers to what is left out",
            )
            continue
        if _is_surrogate(column):
            if table.name not in referenced:
                continue  # the database gives a new one
            _require(bool(table.kwargs.get("sqlite_autoincrement")), column, "may give an id out twice")
            shifts[column.name] = table.name
        elif target == ROOT:
            home = column.name
        elif target is not None:
            shifts[column.name] = target
        _require(isinstance(column.type, _KNOWN_TYPES), column, f"is of the unknown type {column.type!r}")
        columns.append(column)
    keys = table.primary_key.columns
    is_of_collection = any(c.name == home or c.name in shifts or _is_surrogate(c) for c in keys)
    _require(is_of_collection, next(iter(keys)), "could be taken already where it is restored")
    return TablePlan(table, tuple(columns), MappingProxyType(shifts), home, way)


def _is_surrogate(column: Column[Any]) -> bool:
    """Whether the database numbers the rows by this column."""
    return column is column.table.autoincrement_column and not column.foreign_keys


def _require(is_so: bool, column: Column[Any], problem: str) -> None:
    if not is_so:
        raise ValueError(f"column {column} {problem}: decide in storage/backup_tables.py how it is copied")
