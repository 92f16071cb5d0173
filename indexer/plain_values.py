"""Values of any reader as plain JSON values: what numpy, pandas and Parquet hold becomes Python's own."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

import numpy as np

from core.documents import check_text, count_characters
from core.errors import TooLarge

MAX_ROW_CHARACTERS = 8 * 1024 * 1024
MAX_COLUMNS = 2_000
MAX_NAME_CHARACTERS = 500
MAX_DEPTH = 16


class WrittenNaN(float):
    """NaN written out in JSON, which has no such number. In other formats NaN is a value that is missing."""


_MISSING_TYPES = ("NAType", "NaTType")


@dataclass(frozen=True, slots=True)
class UnreadableCell:
    """Stands for a value that its reader could not read, and says why."""

    reason: str


def plain_cells(row: Mapping[str, object]) -> tuple[dict[str, Any], dict[str, str]]:
    """The cells of a row that are plain JSON values, and of the others why they cannot be."""
    values: dict[str, Any] = {}
    problems: dict[str, str] = {}
    for column, value in row.items():
        try:
            values[column] = to_plain(value)
        except ValueError as error:
            problems[column] = why_unreadable(error)
    return values, problems


def is_too_long(values: Mapping[str, Any]) -> bool:
    """Whether plain values are more than a row may hold."""
    return count_characters(values) > MAX_ROW_CHARACTERS


def why_unreadable(error: Exception) -> str:
    """What is wrong with a value, for whoever sent it."""
    if isinstance(error, UnicodeDecodeError):
        return f"found bytes that are no UTF-8 text (0x{error.object[error.start]:02x} at {error.start})"
    return str(error)


def check_names(columns: Sequence[str]) -> None:
    """Raises InvalidInput for a column name that no database can store, TooLarge beyond a limit."""
    if len(columns) > MAX_COLUMNS:
        raise TooLarge(f"found {len(columns):,} columns; the limit is {MAX_COLUMNS:,}")
    for name in columns:
        if len(name) > MAX_NAME_CHARACTERS:
            raise TooLarge(
                f"column name {name[:50]!r}… has {len(name):,} characters; the limit is {MAX_NAME_CHARACTERS}"
            )
        check_text(name, f"column name {name!r}")


TOO_LONG = f"longer than {MAX_ROW_CHARACTERS:,} characters, which is the limit for one row; split the text"


def to_plain(value: Any, depth: int = MAX_DEPTH) -> Any:
    """A JSON value equal to `value`; None for NaN, NaT and NA, but a `WrittenNaN` stays, to be refused.

    Dates become ISO 8601 text, durations seconds, bytes text. Raises ValueError for bytes that are no UTF-8,
    for an UnreadableCell, and for arrays and objects within each other more than `depth` levels deep.
    """
    if value is None or isinstance(value, str | bool | int | WrittenNaN):
        return value
    if type(value).__name__ in _MISSING_TYPES:
        return None
    if isinstance(value, np.generic | np.ndarray):
        return _from_numpy(value, depth)
    if isinstance(value, float | Decimal):
        return None if math.isnan(value) else _number(value)
    if isinstance(value, Mapping | list | tuple | set | frozenset):
        return _from_container(value, depth)
    return _from_other(value)


def to_text(value: Any) -> str | None:
    """A plain value as text for an id, a text or a title; 3.0 is "3": some tools turn ids into floats.

    Raises ValueError for lists and objects, which are no text.
    """
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, list | dict):
        raise ValueError(f"{'a list' if isinstance(value, list) else 'an object'}, which is no text")
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, WrittenNaN):
        return None
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)


def _number(value: float | Decimal) -> int | float:
    """Whole decimals stay exact: databases write integers, ids too, as decimals without a fraction."""
    is_whole = isinstance(value, Decimal) and value.is_finite() and value == value.to_integral_value()
    return int(value) if is_whole else float(value)


def _from_container(value: Any, depth: int) -> Any:
    if depth == 0:
        raise ValueError(f"nested deeper than {MAX_DEPTH} levels; flatten it")
    if isinstance(value, Mapping):
        return {str(key): to_plain(item, depth - 1) for key, item in value.items()}
    return [to_plain(item, depth - 1) for item in value]


def _from_numpy(value: Any, depth: int) -> Any:
    if isinstance(value, np.datetime64):
        return None if np.isnat(value) else str(value)
    if isinstance(value, np.timedelta64):
        return None if np.isnat(value) else float(value / np.timedelta64(1, "s"))
    return to_plain(value.tolist(), depth)


def _from_other(value: Any) -> Any:
    if isinstance(value, UnreadableCell):
        raise ValueError(value.reason)
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value).decode()
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    return str(value)
