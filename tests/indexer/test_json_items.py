"""Arrays of JSON read item by item: the same as the standard library reads whole."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import InvalidInput
from indexer import json_items as module
from indexer.json_items import json_items

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


def pieces(text: str, size: int) -> Iterator[str]:
    return (text[i : i + size] for i in range(0, len(text), size))


def read(text: str, size: int = 5) -> list[Any]:
    return list(json_items(pieces(text, size)))


@pytest.fixture(autouse=True)
def _read_little_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BLOCK_CHARACTERS", 1)


@given(
    st.lists(VALUES, max_size=6),
    st.integers(1, 40),
    st.sampled_from([None, 2]),
    st.booleans(),
    st.booleans(),
)
def test_any_array_cut_anywhere_is_read_as_the_standard_library_reads_it(
    items: list[Any], size: int, indent: int | None, is_ascii: bool, is_wrapped: bool
) -> None:
    whole = {"a": [1, {"documents": 2}], "documents": items, "z": None} if is_wrapped else items
    text = json.dumps(whole, indent=indent, ensure_ascii=is_ascii)
    found = read(f" \n{text}\t ", size)
    assert found == items
    assert json.dumps(found) == json.dumps(items), "1 is not 1.0, and true is not 1"


@pytest.mark.parametrize("number", ["0.5", "-1.25", "1e-7", "2E+10", "12.5e3"])
def test_a_number_cut_anywhere_is_read_whole(number: str) -> None:
    for size in range(1, 12):
        assert read(f"[{number}, [{number}]]", size) == [float(number), [float(number)]]
        assert read(f'{{"took": {number}, "documents": [1], "seconds": {number}}}', size) == [1]


@given(st.text(alphabet='[]{}",:1e-. tn\\u', max_size=30), st.integers(1, 8))
def test_what_the_standard_library_refuses_is_refused(text: str, size: int) -> None:
    try:
        expected = json.loads(text)
    except ValueError:
        with pytest.raises(InvalidInput):
            read(text, size)
        return
    if isinstance(expected, list):
        assert read(text, size) == expected


@pytest.mark.parametrize(
    ("text", "items", "words"),
    [
        ('[{"id": 1}, nonsense, {"id": 2}' + " " * 100, 1, "Expecting value at character 12"),
        ('[1 2]', 1, "expected ',' at character 3"),
        ('[1, 2] x', 2, "more follows after the end at character 7"),
        ('[1, {"a": "never ends', 1, "Unterminated string"),
        ('{"documents": [1], "documents": [2]}', 1, "twice"),
        ('{"documents": {"id": 1}}', 0, 'an object as "documents"'),
        ('{"documents": [1]', 1, "expected ','"),
        ('[' + "[" * 100_000, 0, "no valid JSON"),
    ],
)  # fmt: skip
def test_items_before_the_damage_are_given_and_then_its_place_is_told(
    text: str, items: int, words: str
) -> None:
    seen: list[Any] = []
    with pytest.raises(InvalidInput) as refused:
        seen.extend(json_items(pieces(text, 1000)))
    assert words in str(refused.value)
    assert len(seen) == items


def test_a_bad_item_is_told_at_once_and_not_after_all_of_the_file_was_read() -> None:
    blocks = iter(["[nonsense, ", " " * 100, *["1, " * 1000] * 1000])
    with pytest.raises(InvalidInput, match="character 1"):
        list(json_items(blocks))
    assert sum(1 for _ in blocks) > 900
