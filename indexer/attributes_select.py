"""Evaluates filters over attribute columns: which rows match."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np

from core.errors import InvalidInput
from core.filters import And, AnyOf, Bound, Exists, Filter, Not, Or, Range, Scalar, is_number
from indexer.attributes_columns import ColumnView, FieldView, Mask, Values
from indexer.attributes_keywords import NO_DATE
from indexer.attributes_values import Kind, Stored, date_of, day_of, keyword_of

FieldOf = Callable[[str], tuple[str | None, FieldView]]

NUMBERS: Final = (Kind.INTEGER, Kind.FLOAT)
KINDS_OF: Final[Mapping[str, tuple[Kind, ...]]] = {
    "keyword": (Kind.KEYWORD,),
    "number": NUMBERS,
    "bool": (Kind.BOOL,),
    "date": (Kind.DATE,),
}
LEAST, GREATEST = -(2**63), 2**63 - 1


def rows_matching(filter_: Filter, field_of: FieldOf, n: int) -> Mask:
    """(n,) bool over all rows, dead ones too. `field_of` gives the declared type, if any, and the columns.

    Raises InvalidInput for a value of a type that its field does not hold.
    """
    if isinstance(filter_, And | Or):
        join = np.logical_and if isinstance(filter_, And) else np.logical_or
        found = rows_matching(filter_.parts[0], field_of, n)
        for part in filter_.parts[1:]:
            found = join(found, rows_matching(part, field_of, n))
        return found
    if isinstance(filter_, Not):
        return ~rows_matching(filter_.part, field_of, n)
    declared, columns = field_of(filter_.field)
    if isinstance(filter_, Exists):
        return _union([part.has_rows(n) for part in columns.values()], n)
    if isinstance(filter_, Range):
        return _within(filter_, declared, columns, n)
    wanted = _wanted(filter_, declared, columns)
    hits = [columns[kind].mask(_equal(columns[kind], v), n) for kind, v in wanted.items() if kind in columns]
    return _union(hits, n)


def _union(masks: list[Mask], n: int) -> Mask:
    if len(masks) == 1:
        return masks[0]
    return np.logical_or.reduce(masks) if masks else np.zeros(n, dtype=np.bool_)


def _wanted(filter_: AnyOf, declared: str | None, columns: FieldView) -> dict[Kind, list[Stored]]:
    """What to look for in which column."""
    wanted: dict[Kind, list[Stored]] = {}
    for value in (*filter_.keywords, *filter_.numbers, *filter_.bools):
        kind, stored = _sought(value, filter_.field, declared, columns)
        wanted.setdefault(kind, []).append(stored)
    return wanted


def _sought(value: Scalar, field: str, declared: str | None, columns: FieldView) -> tuple[Kind, Stored]:
    if declared == "keyword":
        return Kind.KEYWORD, keyword_of(value)
    if declared == "date" and (instant := date_of(value)) is not None:
        return Kind.DATE, instant
    kind = _kind_of(value)
    is_held = declared is None and not columns.keys().isdisjoint(KINDS_OF[kind])
    if kind != declared and not is_held:
        raise _wrong_type(value, field, declared, columns)
    if is_number(value):
        return (Kind.INTEGER if isinstance(value, int) else Kind.FLOAT), value
    return KINDS_OF[kind][0], value


def _kind_of(value: Scalar) -> str:
    if isinstance(value, bool):
        return "bool"
    return "keyword" if isinstance(value, str) else "number"


def _wrong_type(value: Scalar, field: str, declared: str | None, columns: FieldView) -> InvalidInput:
    found = {"bool": "a boolean", "keyword": "a string", "number": "a number"}[_kind_of(value)]
    held = "date (an ISO 8601 date, or epoch milliseconds)" if declared == "date" else declared
    return InvalidInput(
        f"Field {field!r} is of type {held or kinds_text(columns)}, but the filter compares it with"
        f" {found}: {str(value)[:60]!r}."
    )


def kinds_text(columns: FieldView) -> str:
    """The types of the values in a field's columns; "unindexed" if no column holds any of them."""
    held = [name for name, kinds in KINDS_OF.items() if not columns.keys().isdisjoint(kinds)]
    return " or ".join(held) or "unindexed"


def _equal(column: ColumnView, wanted: list[Any]) -> Mask:
    values = column.values
    if column.keywords is not None:
        wanted = column.keywords.find(wanted, column.keyword_count)
        if len(wanted) > 1:
            is_wanted = np.zeros(column.keyword_count, dtype=np.bool_)
            is_wanted[wanted] = True
            return is_wanted[values]
    if len(wanted) == 1:
        equal: Mask = values == wanted[0]
        return equal
    return np.isin(values, np.array(wanted, dtype=values.dtype))


def _within(filter_: Range, declared: str | None, columns: FieldView, n: int) -> Mask:
    bounds = [bound for bound in (filter_.lower, filter_.upper) if bound is not None]
    if declared in ("keyword", "bool"):
        raise InvalidInput(
            f"Field {filter_.field!r} is of type {declared}; gt, gte, lt and lte need a number or a date."
        )
    if declared == "date":
        instants = [_instant(bound.value, filter_.field, date_of, declared, columns) for bound in bounds]
        return _between(columns, (Kind.DATE,), _replaced(filter_, instants), n)
    if all(is_number(bound.value) for bound in bounds):
        if declared is None and columns.keys().isdisjoint(NUMBERS):
            raise _wrong_type(bounds[0].value, filter_.field, declared, columns)
        return _between(columns, NUMBERS, filter_, n)
    if declared == "number" or Kind.KEYWORD not in columns:
        text = next(bound.value for bound in bounds if not is_number(bound.value))
        raise _wrong_type(text, filter_.field, declared, columns)
    if any(is_number(bound.value) for bound in bounds):
        raise InvalidInput(
            f"Field {filter_.field!r} is compared with a number and a string in one range; give two numbers,"
            " or two ISO 8601 dates (2026-01-31)."
        )
    instants = [_instant(bound.value, filter_.field, day_of, declared, columns) for bound in bounds]
    return _dated(columns[Kind.KEYWORD], _replaced(filter_, instants), n)


def _instant(
    value: Scalar,
    field: str,
    read: Callable[[Any], int | None],
    declared: str | None,
    columns: FieldView,
) -> int:
    instant = read(value)
    if instant is not None:
        return instant
    if declared == "date":
        raise _wrong_type(value, field, declared, columns)
    raise InvalidInput(
        f"Field {field!r} is of type {kinds_text(columns)}; of strings, gt, gte, lt and lte compare only ISO"
        f" 8601 dates (2026-01-31), and {str(value)[:60]!r} is none. Declare the field as date or number if"
        " it holds other forms of them."
    )


def _replaced(filter_: Range, values: list[int]) -> Range:
    """The range with these values in place of its bounds', in their order."""
    rest = iter(values)
    lower, upper = (
        Bound(next(rest), bound.is_inclusive) if bound else None for bound in (filter_.lower, filter_.upper)
    )
    return Range(filter_.field, lower, upper)


def _between(columns: FieldView, kinds: tuple[Kind, ...], wanted: Range, n: int) -> Mask:
    parts = [columns[kind] for kind in kinds if kind in columns]
    return _union([part.mask(_in_range(part.values, wanted), n) for part in parts], n)


def _dated(column: ColumnView, wanted: Range, n: int) -> Mask:
    """Over text: each distinct text is read as a date once."""
    assert column.keywords is not None
    dates = column.keywords.dates(column.keyword_count)
    is_wanted = _in_range(dates, wanted) & (dates != NO_DATE)
    return column.mask(is_wanted[column.values], n)


def _in_range(values: Values, wanted: Range) -> Mask:
    """(m,) bool; numbers are compared exactly, whatever their types."""
    bounds = [(bound, is_lower) for bound, is_lower in ((wanted.lower, True), (wanted.upper, False)) if bound]
    compare = _compare_floats if values.dtype == np.float64 else _compare_integers
    masks = [compare(values, bound, is_lower) for bound, is_lower in bounds]
    return masks[0] if len(masks) == 1 else masks[0] & masks[1]


def _compare_integers(values: Values, bound: Bound, is_lower: bool) -> Mask:
    """The bound becomes the outermost integer that is still within."""
    assert not isinstance(bound.value, str)
    if is_lower:
        limit = math.ceil(bound.value) if bound.is_inclusive else math.floor(bound.value) + 1
    else:
        limit = math.floor(bound.value) if bound.is_inclusive else math.ceil(bound.value) - 1
    if not LEAST <= limit <= GREATEST:
        return np.full(len(values), is_lower == (limit < LEAST), dtype=np.bool_)
    within: Mask = values >= limit if is_lower else values <= limit
    return within


def _compare_floats(values: Values, bound: Bound, is_lower: bool) -> Mask:
    """A bound that no float equals lies between two floats; then the nearer decides which side it is on."""
    assert not isinstance(bound.value, str)
    limit, is_inclusive = float(bound.value), bound.is_inclusive
    if limit != bound.value:  # exact in Python, also between int and float
        is_inclusive = (limit > bound.value) == is_lower
    if is_lower:
        within: Mask = values >= limit if is_inclusive else values > limit
    else:
        within = values <= limit if is_inclusive else values < limit
    return within
