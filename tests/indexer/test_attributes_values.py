"""Dates and numbers of metadata are read as documented, and what is none is none."""

from __future__ import annotations

import copy
import math
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from core.annotations import annotated
from indexer.attributes_values import Kind, date_of, date_text, day_of, typed_values


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("2026-01-31", datetime(2026, 1, 31)),
        ("2026-01-31T10:20", datetime(2026, 1, 31, 10, 20)),
        ("2026-01-31 10:20:30.5", datetime(2026, 1, 31, 10, 20, 30, 500_000)),
        ("2026-01-31T10:20:30Z", datetime(2026, 1, 31, 10, 20, 30)),
        ("2026-01-31T00:00:00+02:00", datetime(2026, 1, 30, 22)),
        ("2026-01", datetime(2026, 1, 1)),
        ("2026", datetime(2026, 1, 1)),
        (1769817600000, datetime(2026, 1, 31)),
        (-0.5, datetime(1969, 12, 31, 23, 59, 59, 999_500)),
    ],
)
def test_a_date_is_an_instant(value: Any, expected: datetime) -> None:
    instant = (expected.replace(tzinfo=UTC) - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds()
    assert date_of(value) == round(instant * 1_000_000)


@pytest.mark.parametrize(
    "value",
    [
        "", "soon", "31.01.2026", "2026-02-30", "2026-13", "2026-01-31T25:00", "20260131", "2026-W05-6",
        "٢٠٢٦-01-31", "2026-01-31T10:20+99:00", "2026-01-31 " * 100, True, None, 10**18,
        -(10**18), math.inf, math.nan,
    ],
)  # fmt: skip
def test_what_is_no_date_is_none(value: Any) -> None:
    assert date_of(value) is None


def test_dates_at_the_ends_of_the_calendar_are_read_and_written() -> None:
    early, late = day_of("0001-01-01T00:00:00+14:00"), day_of("9999-12-31T23:59:59-14:00")
    assert early is not None
    assert late is not None
    assert date_text(early) == str(early)
    assert date_text(late) == str(late)


@given(moment=st.datetimes(timezones=st.just(UTC)))
def test_an_instant_is_written_as_it_was_read(moment: datetime) -> None:
    instant = day_of(moment.isoformat())
    assert instant is not None
    assert day_of(date_text(instant)) == instant


@given(text=st.text())
def test_any_text_is_a_date_or_none(text: str) -> None:
    assert date_of(text) is None or isinstance(date_of(text), int)


def test_objects_are_paths_lists_are_values_and_null_is_nothing() -> None:
    metadata: dict[str, Any] = {
        "a": {"b": [{"c": 1}, {"c": [2.0, None, [1]]}]},
        "n": None,
        "e": [],
        "a.b": "x",
        "o": {},
    }
    assert typed_values(metadata, {}) == {
        "a.b.c": {(Kind.INTEGER, 1), (Kind.INTEGER, 2)},
        "a.b": {(Kind.KEYWORD, "x")},
    }


KEYS = st.sampled_from(["a", "b", "a.b", "b.a", ""])
SCALARS = st.sampled_from([None, 1, "orig"])
NESTED = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(KEYS, inner))


@given(st.dictionaries(KEYS, NESTED), st.sampled_from(["a", "b", "a.b", "a.b.a", "b.a.b"]))
@example({"a": {"b": "orig"}}, "a.b")
@example({"a": [{"b": "orig"}, "orig"], "a.b": 1}, "a.b")
@example({"": {"a": {"b.a": "orig"}}}, "a.b.a")
def test_an_annotation_is_the_only_value_of_its_field_and_leaves_the_others(
    metadata: dict[str, Any], field: str
) -> None:
    before = copy.deepcopy(metadata)
    found = typed_values(annotated(metadata, {field: "label"}), {})
    assert found.pop(field) == {(Kind.KEYWORD, "label")}
    others = {name: values for name, values in typed_values(metadata, {}).items() if name != field}
    assert {n: v for n, v in others.items() if not n.startswith(f"{field}.")} == {
        n: v for n, v in found.items() if not n.startswith(f"{field}.")
    }
    assert metadata == before


def test_true_is_not_one() -> None:
    assert typed_values({"a": [True, 1, 1.0, "1"]}, {})["a"] == {
        (Kind.BOOL, True), (Kind.INTEGER, 1), (Kind.KEYWORD, "1"),
    }  # fmt: skip


@pytest.mark.parametrize("value", ["1" * 400, "1e999", "-9e30", "-9" + "0" * 30, "١", " 1", "0x1", "nan"])
def test_numbers_of_text_stay_within_bounds(value: str) -> None:
    [(kind, _)] = typed_values({"n": value}, {"n": "number"})["n"]
    assert kind is (Kind.FLOAT if value == "-9e30" else Kind.OTHER)
