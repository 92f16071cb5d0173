"""Highlights are exact."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from core.highlighting import highlights, query_stems


def plural(word: str) -> str:
    """A stem: lower case without a plural s; none for a stop word."""
    return "" if word.lower() == "the" else word.lower().removesuffix("s")


def found(query: str, text: str) -> list[str]:
    spans = highlights(text, query_stems(query, plural), plural, keeps_beginnings=True)
    return [text[span.start : span.end] for span in spans]


def test_words_of_the_same_stem_are_highlighted_whatever_their_case() -> None:
    assert found("the Cats mat", "The cat sat on its MATS; catalogue.") == ["cat", "MATS"]


def test_offsets_are_right_behind_letters_that_grow_when_lowered() -> None:
    assert found("istanbul", "İİİ Istanbul") == ["Istanbul"]


@given(st.text("aBßé_1 -s", max_size=60), st.text("abßé_1 ", max_size=20))
def test_highlights_are_the_whole_words_of_the_query_in_order(text: str, query: str) -> None:
    stems = {plural(word) for word in re.findall(r"[^\W_]+", query)} - {""}
    expected = [word for word in re.findall(r"[^\W_]+", text) if plural(word) in stems]
    assert found(query, text) == expected
