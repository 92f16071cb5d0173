"""Only what a speaker takes back is free to go; ordinary words take nothing back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.repairs import MOST_WORDS_BACK, signs, tries_of, without_repaired, without_signs


@pytest.mark.parametrize(
    ("spoken", "stands"),
    [
        ("When did Tom sorry no Ann arrive in 2019?", "Ann arrive in 2019?"),
        ("fly to Boston or rather Denver on 5 May", "Denver on 5 May"),
        ("take 400 mg, no 500 mg ibuprofen", "500 mg ibuprofen"),
        ("who, no wait, where was Tom", "where was Tom"),
        ("fly to Boston I mean Denver", "Denver"),
        ("fly to Boston no Denver", "Denver"),
        ("fly to Boston uh Denver", "Denver"),
        ("fly to Boston, actually to Denver", "to Denver"),
        ("where is uh no when is it", "when is it"),
    ],
)
def test_what_is_said_before_a_repair_is_taken_back(spoken: str, stands: str) -> None:
    assert without_repaired(spoken) == stands


@pytest.mark.parametrize(
    "text",
    [
        "is it safe to take 400 mg ibuprofen or 500 mg paracetamol",
        "is 400 mg ibuprofen um safe for children",
        "Is there no cure for 3 of them as well?",
        "what can 5 men, or 6 women, instead of 7 do",
        "the 3 men, well known in Paris",
        "the 3 men, no more than 5",
        "do I feel sorry for the 3 men",
        "after 3 days should I wait or see a doctor",
        "with 3 spoons of sugar or no sugar",
        "the ER or 2 clinics",
        "",
    ],
)
def test_ordinary_words_take_nothing_back(text: str) -> None:
    assert without_repaired(text) == text


def test_a_repair_takes_back_a_few_words_and_not_all_that_was_said() -> None:
    long = " ".join(f"w{i}" for i in range(MOST_WORDS_BACK))
    assert without_repaired(f"for 3 men {long} no wait 4 women") == "for 3 men 4 women"


@given(st.text() | st.text("no, rwait"))
def test_any_text_can_be_looked_at_and_nothing_is_added(text: str) -> None:
    assert all(0 <= start < end <= len(text) for start, end in signs(text))
    assert set(without_repaired(text).split()) <= set(text.split())


@pytest.mark.parametrize(
    ("spoken", "tries"),
    [
        ("Why no wait how is it not safe?", ["Why", "how is it not safe?"]),
        ("Is the east no west side old?", ["Is the east", "west side old?"]),
        ("Is it hot no not that is it cold?", ["Is it hot", "is it cold?"]),
        ("Why is there no cure for it?", ["Why is there no cure for it?"]),
        ("Why does no one like it?", ["Why does no one like it?"]),
    ],
)
def test_what_is_tried_again_is_told_from_what_is_denied(spoken: str, tries: list[str]) -> None:
    assert [" ".join(one.split()) for one in tries_of(spoken) if one.strip()] == tries


def test_without_signs_all_else_is_left() -> None:
    assert without_signs("Why is it no wait how is it not safe?").split() == [
        "Why",
        "is",
        "it",
        "how",
        "is",
        "it",
        "not",
        "safe?",
    ]
    assert without_signs("It is not safe.") == "It is not safe."
