"""Validation of single documents and of batches."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.documents import DocumentLimits, validate_batch, validate_document
from core.errors import InvalidInput
from core.types import NewDocument

LIMITS = DocumentLimits(max_text_bytes=1000)
DEEP: Any = {"a": {"b": {"c": {"d": {"e": {"f": {"g": {"h": {"i": 1}}}}}}}}}


@pytest.mark.parametrize(
    ("item", "reason"),
    [
        ("text", "must be an object"),
        (None, "not null"),
        ({"text": "x"}, "'id' is missing"),
        ({"id": "a"}, "'text' is missing"),
        ({"id": 1, "text": "x"}, "'id' must be a string, not a number"),
        ({"id": "", "text": "x"}, "'id' is empty"),
        ({"id": "é" * 300, "text": "x"}, "'id' has 600 bytes; the limit is 512"),
        ({"id": "a", "text": " \t\n "}, "empty or white space"),
        ({"id": "a", "text": ""}, "empty or white space"),
        ({"id": "a", "text": "x" * 1001}, "the limit is 1,000"),
        ({"id": "a", "text": "a\x00b"}, "NUL character at position 1"),
        ({"id": "a", "text": "ab\ud800"}, "lone surrogate (half of a UTF-16 pair) at position 2"),
        ({"id": "a\ud800", "text": "x"}, "lone surrogate"),
        ({"id": "a", "text": ["x"]}, "'text' must be a string, not an array"),
        ({"id": "a", "text": "x", "title": 3}, "'title' must be a string"),
        ({"id": "a", "text": "x", "titel": "t"}, "Unknown field 'titel'"),
        ({"id": "a", "text": "x", "metadata": []}, "'metadata' must be an object, not an array"),
        ({"id": "a", "text": "x", "metadata": {"n": float("nan")}}, "'metadata.n' is nan"),
        ({"id": "a", "text": "x", "metadata": {"n": [1.0, float("inf")]}}, "'metadata.n[1]' is inf"),
        ({"id": "a", "text": "x", "metadata": {"n": 2**63}}, "beyond 64 bits"),
        ({"id": "a", "text": "x", "metadata": {"n": -(2**63) - 1}}, "beyond 64 bits"),
        ({"id": "a", "text": "x", "metadata": {"n": "\x00"}}, "NUL"),
        ({"id": "a", "text": "x", "metadata": DEEP}, "deeper than 8 levels"),
        ({"id": "a", "text": "x", "metadata": {"n": "y" * 70_000}}, "the limit is 65,536"),
    ],
)
def test_a_bad_document_is_refused_with_what_is_wrong(item: object, reason: str) -> None:
    with pytest.raises(InvalidInput) as error:
        validate_document(item, LIMITS)
    assert reason in str(error.value)


def test_a_good_document_keeps_everything_it_came_with() -> None:
    item = {
        "id": "a/b c",
        "text": " Text ",
        "title": "T",
        "metadata": {"year": 2026, "tags": ["x", None, True]},
    }
    assert validate_document(item, LIMITS) == NewDocument("a/b c", " Text ", "T", item["metadata"])  # type: ignore[arg-type]  # a dict of mixed values


def test_null_title_and_metadata_mean_none() -> None:
    assert validate_document(
        {"id": "a", "text": "x", "title": None, "metadata": None}, LIMITS
    ) == NewDocument("a", "x")


def test_one_bad_item_of_a_thousand_is_refused_alone() -> None:
    items: list[object] = [{"id": str(i), "text": "fine"} for i in range(1000)]
    items[500] = {"id": "500", "text": "\x00"}
    documents, rejected = validate_batch(items, LIMITS)
    assert [item.id for item in rejected] == ["500"]
    assert len(documents) == 999


def test_a_batch_with_nothing_good_is_refused_with_all_reasons() -> None:
    with pytest.raises(InvalidInput) as error:
        validate_batch([{"id": "a", "text": ""}, 7], LIMITS)
    assert [e["id"] for e in error.value.errors] == ["a", None]


def test_two_documents_of_one_id_in_a_batch_are_refused() -> None:
    with pytest.raises(InvalidInput, match="'a'"):
        validate_batch([{"id": "a", "text": "1"}, {"id": "a", "text": "2"}, {"id": "b", "text": "3"}], LIMITS)


@pytest.mark.parametrize("bad", [{"text": ""}, {"text": 7}, {}, {"text": "fine", "titel": "T"}])
def test_one_id_twice_is_refused_also_where_one_item_or_both_are_bad(bad: dict[str, object]) -> None:
    good, other = {"id": "a", "text": "fine"}, {"id": "b", "text": "fine"}
    for items in (
        [{"id": "a", **bad}, good, other],
        [good, {"id": "a", **bad}],
        [{"id": "a", **bad}] * 2 + [other],
    ):
        with pytest.raises(InvalidInput, match="'a'") as error:
            validate_batch(items, LIMITS)
        assert error.value.errors == [{"id": "a", "reason": "duplicate id"}]


@pytest.mark.parametrize("id_", ["", "x" * 513, "\ud800", 7])
def test_an_id_that_no_document_can_have_is_no_duplicate(id_: object) -> None:
    bad = {"id": id_, "text": "fine"}
    documents, rejected = validate_batch([bad, bad, {"id": "a", "text": "fine"}], LIMITS)
    assert (len(documents), len(rejected)) == (1, 2)


def test_title_and_text_cannot_be_exchanged_without_changing_the_hash() -> None:
    assert NewDocument("a", "bc", "a").content_hash != NewDocument("a", "abc", "").content_hash
    assert NewDocument("a", "x", "t").content_hash == NewDocument("b", "x", "t").content_hash


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


@given(item=st.dictionaries(st.sampled_from(["id", "text", "title", "metadata", "more"]), JSON))
def test_any_json_is_accepted_or_refused_but_never_breaks(item: dict[str, Any]) -> None:
    try:
        document = validate_document(item, LIMITS)
    except InvalidInput as error:
        str(error).encode()
    else:
        assert (document.external_id, document.text) == (item["id"], item["text"])
        document.content_hash, document.metadata_hash  # noqa: B018  # must not raise
