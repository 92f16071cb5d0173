"""Values of metadata as attribute columns hold them: paths, kinds, exact numbers, dates as instants."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, TypeAlias

from core.filters import MAX_FIELD_BYTES, MAX_KEYWORD_BYTES, exact_number, is_number, joined_path

Stored: TypeAlias = str | bool | int | float
TypedValue: TypeAlias = "tuple[Kind, Stored]"

_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}(?:[T ][0-9]{2}:[0-9]{2}.*)?")
_YEAR_OR_MONTH = re.compile(r"[0-9]{4}(?:-[0-9]{2})?")
_NUMBER = re.compile(r"[+-]?[0-9]{1,400}(?:\.[0-9]{0,400})?(?:[eE][+-]?[0-9]{1,4})?")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FIRST_MS, _LAST_MS = -62_135_596_800_000, 253_402_300_799_999  # years 1 to 9999
_MICROSECOND = timedelta(microseconds=1)


class Kind(StrEnum):
    """What one column of a field holds. OTHER: values of the field that are in no other column."""

    BOOL = "bool"
    INTEGER = "integer"
    FLOAT = "float"  # only what is no whole number of 64 bits
    DATE = "date"  # microseconds since 1970, UTC
    KEYWORD = "keyword"
    OTHER = "other"


def typed_values(metadata: Mapping[str, Any], declared: Mapping[str, str]) -> dict[str, set[TypedValue]]:
    """The distinct values of each field; nested objects are fields of dotted paths, lists several values.

    Null is no value. Values that do not fit the declared type of their field, or that no column holds, are
    one value of kind OTHER. Fields of longer names than 512 bytes, or of none, are the field without a name.
    """
    found: dict[str, set[TypedValue]] = {}
    for path, value in _leaves(metadata, ""):
        if len(path) <= MAX_FIELD_BYTES // 4 or len(path.encode()) <= MAX_FIELD_BYTES:
            found.setdefault(path, set()).add(_typed(value, declared.get(path)))
        else:
            found[""] = {(Kind.OTHER, False)}
    return found


def _leaves(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _leaves(inner, joined_path(path, key))
    elif isinstance(value, list):
        for inner in value:
            yield from _leaves(inner, path)
    elif value is not None:
        yield path, value


def _typed(value: Any, declared: str | None) -> TypedValue:
    typed = inferred(value) if declared is None else _fitted(value, declared)
    return typed or (Kind.OTHER, False)


def inferred(value: Any) -> TypedValue | None:
    """A value by its own JSON type; None for what no column holds."""
    if isinstance(value, bool):
        return Kind.BOOL, value
    if isinstance(value, str):
        return _keyword(value)
    return _number(value) if is_number(value) else None


def _fitted(value: Any, declared: str) -> TypedValue | None:
    """A document's value as its field is declared; text that says a number, boolean or date is one."""
    if declared == "keyword":
        return _keyword(keyword_of(value))
    if declared == "date":
        instant = date_of(value)
        return None if instant is None else (Kind.DATE, instant)
    if declared == "bool":
        value = {"true": True, "false": False}.get(value) if isinstance(value, str) else value
        return (Kind.BOOL, value) if isinstance(value, bool) else None
    if isinstance(value, str) and _NUMBER.fullmatch(value):
        value = int(value) if value.lstrip("+-").isdigit() else float(value)
    return _number(value) if is_number(value) else None


def keyword_of(value: Stored) -> str:
    """A scalar as text, as JSON writes it; whole numbers without a fraction."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, str) else str(exact_number(value))


def date_of(value: Any) -> int | None:
    """Microseconds since 1970 UTC of an ISO 8601 date, with or without a time, or of epoch milliseconds.

    A year ("2026") and a month ("2026-01") are dates too, and a date is its first instant. A time without
    zone is UTC. None for anything else.
    """
    if is_number(value):
        is_possible = math.isfinite(value) and _FIRST_MS <= value <= _LAST_MS
        return round(value * 1000) if is_possible else None
    if not isinstance(value, str):
        return None
    if _YEAR_OR_MONTH.fullmatch(value):
        value = f"{value}-01-01"[: len("2000-01-01")]
    return day_of(value)


def day_of(text: str) -> int | None:
    """Microseconds since 1970 UTC if the text is a full ISO 8601 date, with or without a time."""
    if len(text) > 64 or text[4:5] != "-" or not _DAY.fullmatch(text):
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return (moment - _EPOCH) // _MICROSECOND


def date_text(instant: int) -> str:
    """ISO 8601 in UTC of microseconds since 1970; instants before year 1 or after 9999 are numbers."""
    try:
        moment = _EPOCH + timedelta(microseconds=instant)
    except OverflowError:
        return str(instant)
    return moment.replace(tzinfo=None).isoformat() + "Z"


def _keyword(text: str) -> TypedValue | None:
    is_short = len(text) <= MAX_KEYWORD_BYTES // 4 or len(text.encode()) <= MAX_KEYWORD_BYTES
    return (Kind.KEYWORD, text) if is_short else None


def _number(value: int | float) -> TypedValue | None:
    value = exact_number(value)
    if isinstance(value, int):
        return (Kind.INTEGER, value) if -(2**63) <= value < 2**63 else None
    return (Kind.FLOAT, value) if math.isfinite(value) else None
