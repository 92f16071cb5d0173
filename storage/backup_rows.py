"""Rows of a collection as lines of JSON, and lines as rows of another collection."""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any, Final

import orjson
from sqlalchemy import Boolean, Column, Connection, Float, Integer, LargeBinary, String, Table, Text, text

from core.errors import InvalidInput
from storage.backup_tables import TablePlan
from storage.schema import UtcDateTime

# Types of columns, and of their values in JSON.
_KINDS: Final = ((Boolean, (bool,)), (Integer, (int,)), (Float, (float, int)), (String, (str,)))
_WIDE_PAGE, _NARROW_PAGE = 50, 1000  # rows in memory at once; a text may have a mebibyte


def read_rows(connection: Connection, plan: TablePlan, collection_id: int) -> Generator[dict[str, Any]]:
    """Rows as plain mappings, a page of them in memory at a time; to be closed when left early."""
    is_wide = any(isinstance(column.type, Text) for column in plan.columns)
    page = _WIDE_PAGE if is_wide else _NARROW_PAGE
    names = [str(column.name) for column in plan.columns]
    with connection.execution_options(yield_per=page).execute(plan.rows(collection_id)) as rows:
        for row in rows:
            yield dict(zip(names, row, strict=True))


def to_line(row: Mapping[str, Any]) -> bytes:
    """One line: moments in RFC 3339, bytes in base64."""
    return orjson.dumps(row, default=_plain, option=orjson.OPT_APPEND_NEWLINE)


def _plain(value: object) -> str:
    if isinstance(value, bytes | memoryview):
        return b64encode(value).decode()
    raise TypeError(f"{type(value).__name__} cannot be backed up")


@dataclass(frozen=True, slots=True)
class Placement:
    """Where rows go: id and later name of the new collection, and by how much the ids of each table move."""

    collection_id: int
    name: str
    moved_by: Mapping[str, int]


def from_line(line: bytes, plan: TablePlan) -> dict[str, Any]:
    """The row as it was. Raises InvalidInput when it is not of this table."""
    return table_row(line, plan.table, {column.name for column in plan.columns})


def table_row(line: bytes, table: Table, expected: set[str]) -> dict[str, Any]:
    """The row of these columns as it was. Raises InvalidInput when it is not of this table."""
    row = orjson.loads(line)
    if not isinstance(row, dict):
        raise InvalidInput(f"A row of {table.name} is no JSON object.")
    return decoded(row, table, expected)


def decoded(row: Mapping[str, Any], table: Table, expected: set[str]) -> dict[str, Any]:
    """JSON values as those of the columns. Raises InvalidInput for columns that are missing or not known."""
    if unknown := sorted(row.keys() - expected):
        raise InvalidInput(
            f"The backup has columns {unknown} of table {table.name}, which this version of Cognate does not"
            " know; restore it with the version that made it, or a newer one."
        )
    columns = {name: table.columns[name] for name in expected}
    missing = sorted(name for name in expected - row.keys() if not _may_be_absent(columns[name]))
    if missing:
        raise InvalidInput(
            f"The backup has no columns {missing} of table {table.name}, which this version of Cognate needs."
        )
    return {
        name: None if value is None else _value(table, columns[name], value) for name, value in row.items()
    }


def place(row: dict[str, Any], plan: TablePlan, placement: Placement) -> dict[str, Any]:
    """The row with the ids it gets in its new collection."""
    for name, target in plan.shifts.items():
        if row[name] is not None:
            row[name] += placement.moved_by[target]
    if plan.home is not None:
        row[plan.home] = placement.collection_id
    return row


def reserve_ids(connection: Connection, table: str, column: str, count: int) -> int:
    """The first of `count` ids in a row that nobody else gets, now or later."""
    if connection.dialect.name == "sqlite":
        return _reserve_sqlite(connection, table, count)
    # Whoever inserts holds a weaker lock, so between the two calls nobody takes a number.
    connection.execute(text(f'LOCK TABLE "{table}" IN SHARE ROW EXCLUSIVE MODE'))
    sequence = {
        "sequence": connection.execute(
            text("SELECT pg_get_serial_sequence(:table, :column)"), {"table": table, "column": column}
        ).scalar_one()
    }
    first = int(connection.execute(text("SELECT nextval(:sequence)"), sequence).scalar_one())
    connection.execute(text("SELECT setval(:sequence, :last)"), sequence | {"last": first + count - 1})
    return first


def _reserve_sqlite(connection: Connection, table: str, count: int) -> int:
    name = {"name": table}
    query = text("SELECT seq FROM sqlite_sequence WHERE name = :name")
    last = connection.execute(query, name).scalar_one_or_none()
    if last is None:  # nothing was ever inserted
        connection.execute(text("INSERT INTO sqlite_sequence (name, seq) VALUES (:name, 0)"), name)
    change = text("UPDATE sqlite_sequence SET seq = seq + :count WHERE name = :name")
    connection.execute(change, name | {"count": count})
    return int(last or 0) + 1


def _may_be_absent(column: Column[Any]) -> bool:
    return bool(column.nullable) or column.server_default is not None


def _value(table: Table, column: Column[Any], value: Any) -> Any:
    """A value of JSON as the column's. SQLite would take any: a text in a column of numbers, say."""
    kinds, convert = _kinds_of(column)
    if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
        raise InvalidInput(
            f"Column {column.name} of table {table.name} holds {type(value).__name__} {str(value)[:50]!r};"
            f" expected {' or '.join(kind.__name__ for kind in kinds)}."
        )
    try:
        return value if convert is None else convert(value)
    except ValueError as error:
        raise InvalidInput(
            f"Column {column.name} of table {table.name} holds {str(value)[:50]!r}: {error}."
        ) from None


@cache
def _kinds_of(column: Column[Any]) -> tuple[tuple[type, ...], Callable[[Any], Any] | None]:
    """Types that JSON has for the column's values, and what makes one of them the column's."""
    if isinstance(column.type, UtcDateTime):
        return (str,), datetime.fromisoformat
    if isinstance(column.type, LargeBinary):
        return (str,), _bytes
    for of, kinds in _KINDS:
        if isinstance(column.type, of):
            return kinds, None
    return (object, bool), None


def _bytes(encoded: str) -> bytes:
    return b64decode(encoded, validate=True)
