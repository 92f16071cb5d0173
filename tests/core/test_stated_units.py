"""Units beside numbers, places in an order and tens in words are those of the source."""

from __future__ import annotations

import pytest

from core.generation_types import GenerationTask
from core.rewrite_rules import DropReason, altered
from core.stated_units import missing_places, missing_tens, new_units


@pytest.mark.parametrize(
    ("text", "source", "found"),
    [
        ("It costs 50 dollars.", "It costs 50 euros.", ["dollar"]),
        ("It costs $50.", "It costs 50 dollars.", []),
        ("a fee of €20", "a fee of £20", ["euro"]),
        ("He ran 10 miles.", "He ran 10 km.", ["mile"]),
        ("He ran 10 km.", "He ran 10 kilometres.", []),
        ("Wait 30 hours.", "Wait thirty minutes.", ["hour"]),
        ("a 30-minute walk", "a walk of thirty minutes", []),
        ("It grew by 5 %.", "It grew by 5 per cent.", []),
        ("Come at 5 a.m.", "Come at 5 pm.", ["am"]),
        ("Come at 5 pm.", "Come at five in the afternoon.", []),
        ("Five dogs and many dollars", "Five dogs", []),
        ("It is 30 °C.", "It is 30 °F.", ["celsius"]),
    ],
)
def test_new_units_are_those_beside_numbers_that_the_source_has_nowhere(
    text: str, source: str, found: list[str]
) -> None:
    assert new_units(text, source) == found


@pytest.mark.parametrize(
    ("wanted", "text", "missing"),
    [
        ("He came third.", "He came second.", ["third"]),
        ("He came third.", "He came in 3rd.", []),
        ("on October 10th", "on October 10", []),
        ("the 5th floor of the sixth house", "the fifth floor", ["sixth"]),
        ("the 13th", "nothing", []),
    ],
)
def test_places_may_be_written_in_other_ways(wanted: str, text: str, missing: list[str]) -> None:
    assert missing_places(wanted, text) == missing


@pytest.mark.parametrize(
    ("wanted", "text", "missing"),
    [
        ("fifty euros", "sixty euros", ["fifty"]),
        ("Thirteen people", "fourteen people", ["thirteen"]),
        ("twenty-five people", "25 people", []),
        ("twenty people", "people in their twenties, thirteen of them", ["twenty"]),
    ],
)
def test_tens_in_words_may_be_written_in_digits(wanted: str, text: str, missing: list[str]) -> None:
    assert missing_tens(wanted, text) == missing


@pytest.mark.parametrize(
    ("source", "text", "reason"),
    [
        ("It costs 50 euros.", "You pay 50 dollars.", DropReason.NEW_NUMBERS),
        ("He came third.", "He was first.", DropReason.LOST_NUMBERS),
        ("They live on the second floor.", "They live on the third floor.", DropReason.NEW_NUMBERS),
        ("Fifty people came.", "Sixty people came.", DropReason.LOST_NUMBERS),
        ("I can hardly see it.", "I can see it.", DropReason.DENIAL),
        ("I can see it.", "I can barely see it.", DropReason.DENIAL),
        ("I can hardly hear you.", "I can only hear you.", DropReason.DENIAL),
        ("He rarely comes here.", "He seldom comes here.", None),
        ("I hardly have any money.", "I have very little money.", None),
        ("It takes 2 hours.", "You need 2 hrs.", None),
    ],
)
def test_a_paraphrase_keeps_units_places_tens_and_what_is_almost_denied(
    source: str, text: str, reason: DropReason | None
) -> None:
    found = altered(GenerationTask.PARAPHRASE, source, text)
    assert (found and found.reason) == reason


def test_a_translation_has_its_own_words_for_them() -> None:
    source = "The third house costs twenty pounds a week."
    assert altered(GenerationTask.TRANSLATE_EN_ES, source, "La tercera casa cuesta veinte libras.") is None
