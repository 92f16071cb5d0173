"""Filters are read exactly, or refused with the place that is wrong."""

from __future__ import annotations

import re
from contextlib import nullcontext
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import InvalidInput
from core.filters import And, AnyOf, Bound, Exists, Filter, Not, Or, Range, parse_filter

A = AnyOf("a", numbers=(1,))


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"field": "a", "eq": 1}, A),
        ({"field": "a", "eq": 1.0}, A),
        ({"field": "a", "eq": True}, AnyOf("a", bools=(True,))),
        ({"field": "a", "eq": "1"}, AnyOf("a", keywords=("1",))),
        ({"field": "a", "ne": "x"}, Not(AnyOf("a", keywords=("x",)))),
        ({"field": "a", "in": ["x", 2, "x", True, 1.5]}, AnyOf("a", ("x",), (1.5, 2), (True,))),
        ({"field": "a", "in": []}, AnyOf("a")),
        ({"field": "a", "gte": 1, "lt": 2.5}, Range("a", Bound(1, True), Bound(2.5, False))),
        ({"field": "a", "gt": 0}, Range("a", Bound(0, False))),
        ({"field": "a", "lte": "2026-01-31"}, Range("a", None, Bound("2026-01-31", True))),
        ({"field": "a", "exists": True}, Exists("a")),
        ({"field": "a", "exists": False}, Not(Exists("a"))),
        (
            {"field": "a", "gte": 1, "ne": 5, "exists": True},
            And((Not(AnyOf("a", numbers=(5,))), Exists("a"), Range("a", Bound(1, True)))),
        ),
        ({"and": [{"field": "a", "eq": 1}, {"field": "b", "exists": True}]}, And((A, Exists("b")))),
        ({"or": [{"field": "a", "eq": 1}, {"not": {"field": "a", "eq": 1}}]}, Or((A, Not(A)))),
        ({"and": [{"field": "a", "eq": 1}]}, A),
        ({"field": "a", "eq": 2**63 - 1}, AnyOf("a", numbers=(2**63 - 1,))),
        ({"field": "a", "eq": 1e300}, AnyOf("a", numbers=(1e300,))),
    ],
)
def test_a_filter_is_read(body: object, expected: Filter) -> None:
    found = parse_filter(body)
    assert found == expected
    assert hash(found) == hash(expected)


def test_true_and_one_are_different_filters() -> None:
    assert parse_filter({"field": "a", "eq": True}) != parse_filter({"field": "a", "eq": 1})


def nested(levels: int) -> dict[str, Any]:
    body: dict[str, Any] = {"field": "a", "eq": 1}
    for _ in range(levels):
        body = {"not": body}
    return body


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (None, "filter is null; expected an object"),
        ([], "filter is an empty array"),
        ({}, "filter is an empty object"),
        ("year > 3", "filter is the string 'year > 3'"),
        ({"and": []}, "filter.and is an empty array; expected an array of one or more filters"),
        ({"or": []}, "filter.or is an empty array"),
        ({"or": {"field": "a", "eq": 1}}, "filter.or is an object; expected an array"),
        ({"and": [{"field": "a", "eq": 1}, {"eq": 1}]}, "filter.and[1].field is missing"),
        ({"must": [{"key": "a"}]}, "filter.field is missing; found 'must', expected and, or, not, or field"),
        ({"and": [{"field": "a", "eq": 1}, 5]}, "filter.and[1] is a number"),
        ({"not": []}, "filter.not is an empty array"),
        ({"not": {"or": [{"field": 3, "eq": 1}]}}, "filter.not.or[0].field is a number; expected the name"),
        ({"and": [{"field": "a", "eq": 1}], "or": []}, "filter has 'and' and 'or'; 'and' stands alone"),
        ({"field": "a", "eq": 1, "not": {}}, "'not' stands alone"),
        ({"field": "a"}, "filter has no operator; expected one or more of eq, ne, in, gt"),
        ({"field": "a", "equals": 1}, "filter has the unknown operator 'equals'"),
        ({"field": "", "eq": 1}, "filter.field is the string ''"),
        ({"field": "a\0", "eq": 1}, "filter.field has a NUL character"),
        ({"field": "a", "eq": None}, 'filter.eq is null; expected a string, a number or a boolean ("exists"'),
        ({"field": "a", "eq": [1]}, "filter.eq is an array; expected a string, a number or a boolean"),
        ({"field": "a", "ne": {"b": 1}}, "filter.ne is an object"),
        ({"field": "a", "eq": float("nan")}, "filter.eq is nan; numbers must be finite"),
        ({"field": "a", "lt": float("inf")}, "filter.lt is inf; numbers must be finite"),
        ({"field": "a", "eq": 2**63}, "filter.eq is an integer beyond 64 bits"),
        ({"field": "a", "in": [-(2**63) - 1]}, "filter.in[0] is an integer beyond 64 bits"),
        ({"field": "a", "in": 5}, "filter.in is a number; expected an array of values"),
        ({"field": "a", "in": "abc"}, "filter.in is the string 'abc'; expected an array"),
        ({"field": "a", "in": [1, [2]]}, "filter.in[1] is an array"),
        ({"field": "a", "in": list(range(10_001))}, "filter.in has 10,001 values; the limit is 10,000"),
        ({"field": "a", "gt": True}, "filter.gt is true; expected a number or an ISO 8601 date"),
        ({"field": "a", "gt": 1, "gte": 2}, "filter has both gt and gte; use one"),
        ({"field": "a", "lt": 1, "lte": 2}, "filter has both lt and lte"),
        ({"field": "a", "exists": 1}, "filter.exists is a number; expected true or false"),
        ({"field": "a", "eq": "é" * 513}, "filter.eq has 1,026 bytes; longer strings than 1,024"),
        ({"field": "a", "eq": "\ud800"}, "filter.eq has a lone surrogate"),
        (nested(16), "nested deeper than 16 levels"),
        ({"or": [{"field": "a", "eq": 1}] * 257}, "filter.or has 257 filters; the limit is 256"),
        ({"or": [{"or": [{"field": "a", "eq": 1}] * 129}] * 2}, "more than 256 conditions"),
    ],
)
def test_a_wrong_filter_is_refused_with_its_place(body: object, reason: str) -> None:
    with pytest.raises(InvalidInput, match=re.escape(reason)):
        parse_filter(body)


def test_what_is_within_the_limits_is_taken() -> None:
    parse_filter(nested(15))
    parse_filter({"or": [{"field": "a", "in": list(range(10_000))}] * 256})


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["and", "or", "not", "field", "eq", "in", "gt", "exists"]) | st.text(max_size=2),
            inner,
            max_size=3,
        )
    ),
    max_leaves=12,
)


@given(body=values)
def test_anything_is_read_or_refused_with_a_reason(body: object) -> None:
    with nullcontext() if is_read(body) else pytest.raises(InvalidInput, match=r"^filter"):
        assert hash(parse_filter(body)) == hash(parse_filter(body))


def is_read(body: object) -> bool:
    try:
        parse_filter(body)
    except InvalidInput:
        return False
    return True
