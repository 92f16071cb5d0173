"""A plain reading of metadata, filters and facets, one document after the other; and random ones of them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from fractions import Fraction
from typing import Any

import numpy as np
from hypothesis import strategies as st

from core.filters import And, AnyOf, Bound, Exists, Filter, Not, Or, Range
from core.index_types import LogEntry

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
Documents = Mapping[int, Mapping[str, Any]]


def entry(document_id: int, metadata: Mapping[str, Any] | None) -> LogEntry:
    """None removes the document."""
    count = 0 if metadata is None else 1
    vectors = np.zeros((count, 4), dtype=np.float16)
    passage_ids = np.full(count, document_id, dtype=np.int64)
    return LogEntry(document_id, 1, passage_ids, vectors, metadata=metadata or {})


def values_of(metadata: Any, field: str, path: str = "") -> list[Any]:
    """All values of a field, however deep in objects and lists; null is none."""
    if isinstance(metadata, dict):
        found = [values_of(inner, field, f"{path}.{key}" if path else key) for key, inner in metadata.items()]
        return [value for values in found for value in values]
    if isinstance(metadata, list):
        return [value for inner in metadata for value in values_of(inner, field, path)]
    return [metadata] if path == field and metadata is not None else []


def kind_of(value: Any) -> str:
    return {bool: "bool", str: "keyword"}.get(type(value), "number")


def instant(text: Any) -> datetime | None:
    if not isinstance(text, str) or not re.match(r"\d{4}-\d{2}-\d{2}", text):
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def matches(filter_: Filter, metadata: Mapping[str, Any]) -> bool:
    """Of inferred fields."""
    if isinstance(filter_, And):
        return all(matches(part, metadata) for part in filter_.parts)
    if isinstance(filter_, Or):
        return any(matches(part, metadata) for part in filter_.parts)
    if isinstance(filter_, Not):
        return not matches(filter_.part, metadata)
    values = values_of(metadata, filter_.field)
    if isinstance(filter_, Exists):
        return bool(values)
    if isinstance(filter_, AnyOf):
        wanted = [*filter_.keywords, *filter_.numbers, *filter_.bools]
        return any(kind_of(v) == kind_of(w) and v == w for v in values for w in wanted)
    return any(within(filter_, value) for value in values)


def within(wanted: Range, value: Any) -> bool:
    return holds(wanted.lower, value, 1) and holds(wanted.upper, value, -1)


def holds(bound: Bound | None, value: Any, sign: int) -> bool:
    if bound is None:
        return True
    limit: Any = bound.value
    if kind_of(limit) != kind_of(value) or isinstance(value, bool):
        return False
    if isinstance(limit, str):
        value, limit = instant(value), instant(limit)
        if value is None:
            return False
        order = sign * ((value > limit) - (value < limit))
    else:
        order = sign * ((Fraction(value) > Fraction(limit)) - (Fraction(value) < Fraction(limit)))
    return order > 0 or (order == 0 and bound.is_inclusive)


def selected(filter_: Filter, documents: Documents) -> list[int]:
    return sorted(id_ for id_, metadata in documents.items() if matches(filter_, metadata))


def facet_of(field: str, documents: Documents, limit: int) -> tuple[tuple[Any, int], ...]:
    ranks = ("bool", "number", "keyword")
    counts: Counter[tuple[int, Any]] = Counter()
    for metadata in documents.values():
        counts.update({(ranks.index(kind_of(value)), value) for value in values_of(metadata, field)})
    top = sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:limit]
    return tuple((value, count) for (_, value), count in top)


def kinds_in(documents: Documents, field: str) -> set[str]:
    return {kind_of(v) for metadata in documents.values() for v in values_of(metadata, field)}


NUMBERS: Sequence[Any] = (
    0, 1, -1, 3, 2**53, 2**53 + 1, 2**63 - 1, -(2**63) + 1, 0.5, -2.25, 1e300, -1e300, 2.0**63,
    9007199254740992.0, 2.5e9,
)  # fmt: skip
TEXTS = (
    "", "x", "X", "ünï", "1", "true", "2024-02-30",
    "2024-01-31", "2024-01-31T00:00:00Z", "2024-01-31T01:00:00+01:00",
    "0001-01-01", "9999-12-31T23:59:59.999999", "日本", "😀", "2024-01-30T23:59:59.5",
)  # fmt: skip
numbers = st.sampled_from(NUMBERS) | st.integers(-4, 4) | st.floats(-4, 4, width=16)
texts = st.sampled_from(TEXTS)
scalars = st.booleans() | numbers | texts
leaves = scalars | st.none() | st.lists(scalars | st.none() | st.lists(scalars, max_size=2), max_size=3)
metadata = st.dictionaries(
    st.sampled_from(("a", "b")),
    leaves | st.dictionaries(st.sampled_from(("x", "y")), leaves, max_size=2),
    max_size=2,
) | st.fixed_dictionaries(
    {}, optional={"a": numbers, "b": texts, "é": st.dictionaries(st.just("x"), leaves), "o": leaves}
)
FIELDS = ("a", "b", "é.x", "o", "a.x", "b.y")
