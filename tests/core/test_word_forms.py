"""Words are forms of one where they differ in their endings, and others are not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.word_forms import are_forms


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("walks", "walked"),
        ("cat", "cats"),
        ("use", "using"),
        ("stop", "stopping"),
        ("study", "studies"),
        ("repair", "repairing"),
        ("operation", "operator"),
        ("prevent", "prevention"),
        ("quick", "quickly"),
        ("resident", "residence"),
        ("vaccine", "vaccination"),
        ("help", "helpful"),
        ("diagnose", "diagnosis"),
        ("ate", "eat"),
        ("written", "wrote"),
        ("made", "making"),
        ("won", "wins"),
    ],
)
def test_forms_of_one_word_are_told(one: str, other: str) -> None:
    assert are_forms(one, other)
    assert are_forms(other, one)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("contract", "contrary"),
        ("transcription", "transmission"),
        ("australia", "austria"),
        ("police", "policy"),
        ("universe", "university"),
        ("plan", "plane"),
        ("corn", "corner"),
        ("general", "generate"),
        ("statin", "static"),
        ("import", "important"),
        ("organ", "organize"),
        ("ate", "late"),
        ("saw", "sow"),
    ],
)
def test_other_words_of_the_same_beginning_are_none(one: str, other: str) -> None:
    assert not are_forms(one, other)
    assert not are_forms(other, one)


@given(st.text(), st.text())
def test_any_word_is_a_form_of_itself_whatever_the_order(one: str, other: str) -> None:
    assert are_forms(one, one)
    assert are_forms(one, other) == are_forms(other, one)
