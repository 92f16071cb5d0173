"""Attributes agree with a plain reading of the same metadata, whatever the program of changes was."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.document_set import DocumentSet
from core.errors import InvalidInput
from core.filters import And, AnyOf, Bound, Exists, Filter, Not, Or, Range
from indexer import attributes
from indexer.attributes import AttributeIndex
from indexer.attributes_values import Kind
from indexer.attributes_view import AttributeView
from tests.indexer.attributes_reference import (
    FIELDS,
    Documents,
    entry,
    facet_of,
    instant,
    kinds_in,
    metadata,
    numbers,
    selected,
    texts,
)


def index_of(documents: Documents, declared: Mapping[str, str] | None = None) -> AttributeIndex:
    index = AttributeIndex(declared or {})
    index.apply([entry(id_, found) for id_, found in documents.items()])
    return index


def ids(found: DocumentSet) -> list[int]:
    return [int(id_) for id_ in found.ids()]


@st.composite
def conditions(draw: st.DrawFn, documents: Documents) -> Filter:
    """A condition that fits the types of the values that are there."""
    known = [field for field in FIELDS if kinds_in(documents, field)]
    field = draw(st.sampled_from(known))
    kinds = kinds_in(documents, field)
    if draw(st.integers(0, 4)) == 0:
        return Exists(field)
    is_ranged = draw(st.booleans()) and kinds != {"bool"}
    if is_ranged:
        values = numbers if draw(st.sampled_from(sorted(kinds - {"bool"}))) == "number" else dates
        bounds = st.none() | st.builds(Bound, values, st.booleans())
        lower, upper = draw(st.tuples(bounds, bounds).filter(any))
        return Range(field, lower, upper)
    return AnyOf(
        field,
        tuple(draw(st.lists(texts, max_size=3))) if "keyword" in kinds else (),
        tuple(map(whole, draw(st.lists(numbers, max_size=3)))) if "number" in kinds else (),
        tuple(draw(st.lists(st.booleans(), max_size=1))) if "bool" in kinds else (),
    )


def whole(value: float) -> float:
    return int(value) if value == int(value) and -(2.0**63) <= value < 2.0**63 else value


dates = texts.filter(lambda text: instant(text) is not None)


def filters(documents: Documents) -> st.SearchStrategy[Filter]:
    def grouped(inner: st.SearchStrategy[Filter]) -> st.SearchStrategy[Filter]:
        some = st.lists(inner, min_size=1, max_size=3).map(tuple)
        return st.builds(Not, inner) | st.builds(And, some) | st.builds(Or, some)

    return st.recursive(conditions(documents), grouped, max_leaves=5)


libraries = st.dictionaries(st.integers(1, 40), metadata, min_size=1, max_size=12)
with_values = libraries.filter(lambda documents: any(kinds_in(documents, field) for field in FIELDS))


@given(documents=with_values, data=st.data())
def test_a_filter_selects_what_a_plain_reading_selects(documents: Documents, data: st.DataObject) -> None:
    view = index_of(documents).publish()
    filter_ = data.draw(filters(documents))
    assert ids(view.select(filter_)) == selected(filter_, documents)
    assert ids(view.documents) == sorted(documents)


@given(documents=with_values, limit=st.integers(1, 5), data=st.data())
def test_facets_count_what_a_plain_reading_counts(
    documents: Documents, limit: int, data: st.DataObject
) -> None:
    view = index_of(documents).publish()
    known = [field for field in FIELDS if kinds_in(documents, field)]
    chosen = data.draw(st.sets(st.sampled_from(sorted(documents))) | st.none())
    among = documents if chosen is None else {id_: documents[id_] for id_ in chosen}
    asked = None if chosen is None else DocumentSet.of(np.array(sorted(chosen), dtype=np.int64))
    found = view.facets(known, limit, asked)
    assert {field: facet.values for field, facet in found.items()} == {
        field: facet_of(field, among, limit) for field in known
    }
    assert all(facet.distinct == len(facet_of(f, among, 10**6)) for f, facet in found.items())


steps = st.lists(
    st.dictionaries(st.integers(1, 15), st.none() | metadata, min_size=1, max_size=6)
    | st.sampled_from(["compact", "restart"]),
    max_size=10,
)


def contents(view: AttributeView) -> Any:
    fields = [field for field in FIELDS if field in view.fields]
    unindexed = (view.unindexed, view.beyond_limits)
    return ids(view.documents), view.fields, unindexed, view.facets(fields, 100)


@given(program=steps, data=st.data())
def test_any_program_of_changes_ends_as_a_fresh_build_does(program: list[Any], data: st.DataObject) -> None:
    index, documents, seen = AttributeIndex({}), dict[int, Mapping[str, Any]](), []
    for step in program:
        if step == "compact":
            index.compact()
        elif step == "restart":
            index = AttributeIndex({}, index.publish().arrays())
        else:
            index.apply([entry(id_, found) for id_, found in step.items()])
            documents |= step
            documents = {id_: found for id_, found in documents.items() if found is not None}
        view = index.publish()
        seen.append((view, contents(view)))
    view, fresh = index.publish(), index_of(documents).publish()
    assert contents(view) == contents(fresh)
    if view.fields:
        filter_ = data.draw(filters(documents))
        assert ids(view.select(filter_)) == ids(fresh.select(filter_)) == selected(filter_, documents)
    for old, told in seen:  # by other objects: what was kept of the first answers does not count
        again = AttributeView(old._declared, old._rows, old._columns)
        assert contents(again) == told


def test_big_whole_numbers_are_told_apart() -> None:
    view = index_of(
        {1: {"n": 2**53}, 2: {"n": 2**53 + 1}, 3: {"n": float(2**53)}, 4: {"n": 2.0**63}}
    ).publish()
    assert ids(view.select(AnyOf("n", numbers=(2**53,)))) == [1, 3]
    assert ids(view.select(AnyOf("n", numbers=(2**53 + 1,)))) == [2]
    assert ids(view.select(Range("n", Bound(2**53, is_inclusive=False)))) == [2, 4]
    assert ids(view.select(Range("n", Bound(2**63 - 1, is_inclusive=False)))) == [4]
    assert ids(view.select(Range("n", None, Bound(2**63 - 1, is_inclusive=True)))) == [1, 2, 3]


def test_an_unknown_field_is_refused_with_the_known_ones() -> None:
    view = index_of({1: {"year": 2020, "tag": ["a", 1]}}, {"day": "date"}).publish()
    with pytest.raises(InvalidInput, match=r"'yaer' is unknown.*'day' \(date\), 'tag' \(keyword or number\)"):
        view.select(Exists("yaer"))
    with pytest.raises(InvalidInput, match="'nope' is unknown"):
        view.facets(["nope"], 10)
    with pytest.raises(InvalidInput, match="Known fields: none"):
        AttributeIndex({}).publish().select(Exists("a"))


@pytest.mark.parametrize(
    ("filter_", "reason"),
    [
        (AnyOf("year", keywords=("2020",)), "'year' is of type number.*a string: '2020'"),
        (AnyOf("tag", numbers=(1,)), "'tag' is of type keyword.*a number: '1'"),
        (AnyOf("ok", numbers=(1,)), "'ok' is of type bool.*a number"),
        (AnyOf("tag", bools=(True,)), "'tag' is of type keyword.*a boolean"),
        (Range("tag", Bound(1, is_inclusive=True)), "'tag' is of type keyword.*a number"),
        (Range("tag", Bound("b", is_inclusive=True)), "compare only ISO 8601 dates.*'b' is none"),
        (Range("year", Bound("2020-01-01", is_inclusive=True)), "'year' is of type number.*a string"),
        (Range("tag", Bound(0, True), Bound("2021-01-01", False)), "a number and a string in one range"),
        (Range("tag", Bound("2021-01-01", True), Bound(0.5, False)), "a number and a string in one range"),
        (Range("kind", Bound(1, is_inclusive=True)), "'kind' is of type keyword; gt, gte, lt and lte"),
        (AnyOf("day", keywords=("soon",)), r"'day' is of type date \(an ISO 8601 date.*'soon'"),
        (AnyOf("day", bools=(True,)), "'day' is of type date.*a boolean"),
        (Range("day", Bound("soon", is_inclusive=True)), "'day' is of type date.*'soon'"),
        (AnyOf("price", keywords=("5",)), "'price' is of type number.*a string"),
    ],
)
def test_a_value_of_another_type_is_refused_with_the_expected_one(filter_: Filter, reason: str) -> None:
    declared = {"kind": "keyword", "day": "date", "price": "number"}
    view = index_of({1: {"year": 2020, "tag": "a", "ok": True}}, declared).publish()
    with pytest.raises(InvalidInput, match=reason):
        view.select(filter_)


def test_a_field_is_known_as_long_as_a_living_document_has_it() -> None:
    index = index_of({1: {"a": 1}, 2: {"b": "x"}})
    index.apply([entry(1, {"a": "one"})])
    assert index.publish().fields == {"a": "keyword", "b": "keyword"}
    index.apply([entry(2, None)])
    view = index.publish()
    assert view.fields == {"a": "keyword"}
    with pytest.raises(InvalidInput, match="'b' is unknown"):
        view.select(Exists("b"))


def test_declared_fields_take_what_says_the_same() -> None:
    documents: Documents = {
        1: {"n": "12", "k": 5, "b": "true", "d": "2026-01-31"},
        2: {"n": 12.0, "k": "5", "b": True, "d": "2026-01-31T01:00:00+01:00"},
        3: {"n": "1.2e1", "k": 5.0, "b": "yes", "d": 1769817600000},
        4: {"n": "12 kg", "k": True, "b": 1, "d": "31.1.2026"},
        5: {"n": True, "k": "true", "d": "2026-01"},
    }
    view = index_of(documents, {"n": "number", "k": "keyword", "b": "bool", "d": "date"}).publish()
    assert ids(view.select(AnyOf("n", numbers=(12,)))) == [1, 2, 3]
    assert ids(view.select(AnyOf("k", numbers=(5,)))) == [1, 2, 3]
    assert ids(view.select(AnyOf("k", bools=(True,)))) == [4, 5]
    assert ids(view.select(AnyOf("b", bools=(True,)))) == [1, 2]
    assert ids(view.select(AnyOf("d", keywords=("2026-01-31",)))) == [1, 2, 3]
    assert ids(view.select(Range("d", None, Bound("2026-01-31", is_inclusive=False)))) == [5]
    assert view.unindexed == {"b": 2, "d": 1, "n": 2}
    assert ids(view.select(Exists("d"))) == [1, 2, 3, 4, 5]
    facets = view.facets(["d", "n"], 10)
    assert facets["d"].values == (("2026-01-31T00:00:00Z", 3), ("2026-01-01T00:00:00Z", 1))
    assert (facets["d"].minimum, facets["d"].maximum) == ("2026-01-01T00:00:00Z", "2026-01-31T00:00:00Z")
    assert (facets["n"].values, facets["n"].minimum) == (((12, 3),), 12)


def test_a_declared_field_that_nobody_has_matches_nothing() -> None:
    view = index_of({1: {"a": 1}}, {"d": "date"}).publish()
    assert ids(view.select(AnyOf("d", keywords=("2026-01-01",)))) == []
    assert ids(view.select(Not(Exists("d")))) == [1]
    assert view.facets(["d"], 5)["d"].values == ()


def test_both_bounds_of_a_range_hold_for_the_same_value() -> None:
    view = index_of({1: {"n": [1, 9]}, 2: {"n": [5]}}).publish()
    lower, upper = Bound(4, is_inclusive=True), Bound(6, is_inclusive=True)
    assert ids(view.select(Range("n", lower, upper))) == [2]
    assert ids(view.select(And((Range("n", lower), Range("n", None, upper))))) == [1, 2]


def test_long_strings_are_counted_and_exist_but_are_not_indexed() -> None:
    view = index_of({1: {"a": "x" * 1025}, 2: {"a": "é" * 512}, 3: {"only": "y" * 2000}}).publish()
    assert ids(view.select(AnyOf("a", keywords=("é" * 512,)))) == [2]
    assert ids(view.select(Exists("a"))) == [1, 2]
    assert ids(view.select(Not(AnyOf("a", keywords=("x",))))) == [1, 2, 3]
    assert view.unindexed == {"a": 1, "only": 1}
    assert view.fields == {"a": "keyword", "only": "unindexed"}


def test_fields_beyond_the_limit_are_counted_and_declared_ones_always_have_room(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(attributes, "MAX_FIELDS", 2)
    index = index_of({1: {"a": 1, "b": 1, "c": 1, "d": 1}, 2: {"z": 3, "x" * 513: 1, "": 5}}, {"z": "number"})
    view = index.publish()
    assert view.fields == {"a": "number", "b": "number", "z": "number"}
    assert (view.unindexed, view.beyond_limits) == ({}, 2)
    again = AttributeIndex({"z": "number"}, view.arrays()).publish()
    assert (again.fields, again.beyond_limits) == (view.fields, 2)
    found = r"Field 'd' is unknown: .* or it is one of .* not indexed \(documents that have such fields: 2\)"
    for ask in (lambda: view.select(Exists("d")), lambda: view.facets(["d"], 1)):
        with pytest.raises(InvalidInput, match=f"{found}.* attributes of the collection"):
            ask()
    with pytest.raises(InvalidInput, match=r"Field '' is unknown: .* without a name"):
        view.facets([""], 1)
    index.apply([entry(1, None), entry(2, None)])
    assert index.publish().beyond_limits == 0
    with pytest.raises(InvalidInput, match=r"no searchable document has a value in it\. Known"):
        index.publish().select(Exists("d"))
    index.compact()
    index.apply([entry(3, {"c": 1})])
    assert index.publish().fields == {"c": "number", "z": "number"}


def test_recent_filters_are_not_mixed_up() -> None:
    view = index_of({1: {"a": True}, 2: {"a": 1}, 3: {"a": "1"}}).publish()
    for _ in range(2):
        assert ids(view.select(AnyOf("a", bools=(True,)))) == [1]
        assert ids(view.select(AnyOf("a", numbers=(1,)))) == [2]
        assert ids(view.select(AnyOf("a", keywords=("1",)))) == [3]
    for i in range(100):
        assert ids(view.select(AnyOf("a", numbers=(i,)))) == ([2] if i == 1 else [])


def test_many_different_texts_are_found_again_after_they_were_packed() -> None:
    index, views = AttributeIndex({}), []
    for start in range(0, 6_000, 500):
        index.apply([entry(i, {"url": f"https://example.org/é/{i}"}) for i in range(start + 1, start + 501)])
        views.append((start + 500, index.publish()))
    for count, view in views:
        for i in (1, 499, 1025, count, count + 1, 6_000):
            found = ids(view.select(AnyOf("url", keywords=(f"https://example.org/é/{i}",))))
            assert found == ([i] if i <= count else [])
        assert view.facets(["url"], 2)["url"].values[0] == ("https://example.org/é/1", 1)
    again = AttributeIndex({}, views[-1][1].arrays()).publish()
    assert ids(again.select(AnyOf("url", keywords=("https://example.org/é/77", "no")))) == [77]


def test_dead_rows_are_compacted_away_by_themselves() -> None:
    index = AttributeIndex({})
    for turn in range(40):
        index.apply([entry(i, {"turn": turn, "text": f"{turn} {i}"}) for i in range(200)])
    view = index.publish()
    assert ids(view.select(AnyOf("turn", numbers=(39,)))) == list(range(200))
    assert index.bytes < 400_000


@pytest.mark.parametrize(
    "name", ["header", "document_ids", "rows", "integer", "texts", "text_lengths", "keyword"]
)
def test_arrays_that_are_not_whole_are_refused(name: str) -> None:
    arrays = index_of({1: {"a": 1, "b": "x"}, 2: {"a": 2, "b": "y"}}).publish().arrays()
    with pytest.raises(ValueError, match=r"attributes|delimiter|in order"):
        AttributeIndex({}, arrays | {name: arrays[name][:-1]})
    with pytest.raises(ValueError, match=f"lack the arrays {name}"):
        AttributeIndex({}, {key: array for key, array in arrays.items() if key != name})


def test_arrays_of_other_declarations_are_refused() -> None:
    arrays = index_of({1: {"a": 1}}).publish().arrays()
    with pytest.raises(ValueError, match="declared"):
        AttributeIndex({"a": "keyword"}, arrays)
    with pytest.raises(ValueError, match="in order"):
        AttributeIndex({}, arrays | {"rows": arrays["rows"] + np.int32(7)})


def test_views_share_their_arrays_so_that_ingest_is_not_quadratic() -> None:
    """The arrays are replaced as often as they double, not as often as they are published."""
    index, count = AttributeIndex({}), 20_000
    arrays: dict[str, set[int]] = {"ids": set(), "rows": set(), "values": set()}
    kept = []  # so that no address is used twice
    for start in range(0, count, 100):
        index.apply([entry(i, {"n": i}) for i in range(start, start + 100)])
        view = index.publish()
        column = view._columns["n"][Kind.INTEGER]
        named: dict[str, Any] = {"ids": view._rows.document_ids, "rows": column.rows, "values": column.values}
        for name, array in named.items():
            arrays[name].add(array.__array_interface__["data"][0])
        kept.append(view)
    assert max(len(found) for found in arrays.values()) <= math.log2(count) + 1


@pytest.mark.integration
def test_the_last_of_200_000_documents_cost_as_much_as_the_first() -> None:
    index, times = AttributeIndex({}), []
    for start in range(0, 200_000, 1_000):
        page = [entry(i, {"n": i, "tag": f"t{i % 50}", "url": f"u{i}"}) for i in range(start, start + 1_000)]
        page += [entry(i, {"n": -i, "url": f"v{i}"}) for i in range(max(0, start - 1_000), start, 10)]
        began = time.process_time()
        index.apply(page)
        index.publish()
        times.append(time.process_time() - began)
    view = index.publish()
    assert view.documents.count == 200_000
    assert view.select(AnyOf("tag", keywords=("t7",))).count == 200_000 // 50
    assert sum(times[100:]) < 5 * sum(times[:100])


def test_searches_in_an_old_view_agree_while_another_thread_writes() -> None:
    index = AttributeIndex({})
    index.apply([entry(i, {"url": f"u{i}", "n": i % 7}) for i in range(1_000)])
    view, done = index.publish(), threading.Event()

    def write() -> None:
        for start in range(1_000, 9_000, 250):
            index.apply([entry(i % 5_000, {"url": f"u{i}", "n": 8}) for i in range(start, start + 250)])
            index.publish()
        done.set()

    writer = threading.Thread(target=write)
    writer.start()
    while not done.is_set():
        view._recent.clear()
        for i in (0, 999, 1_000, 4_000):
            assert ids(view.select(AnyOf("url", keywords=(f"u{i}",)))) == ([i] if i < 1_000 else [])
        assert view.select(AnyOf("n", numbers=(3,))).count == 143
        assert view.facets(["url"], 1)["url"].distinct == 1_000
    writer.join()
