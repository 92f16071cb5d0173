"""Two texts that say contrary things are told by their words; a comparison may be turned round."""

from __future__ import annotations

import pytest

from core.contraries import contrary
from core.generation_types import GenerationTask
from core.rewrite_rules import DropReason, altered


@pytest.mark.parametrize(
    ("source", "text", "found"),
    [
        ("He was the first to come.", "He came second.", ("second", "first")),
        ("He left before Ann came.", "He left after Ann came.", ("after", "before")),
        ("He died before the big war.", "He died after the war.", ("after", "before")),
        ("Ann is older than Tom.", "Ann is younger than Tom.", ("younger", "older")),
        ("Tom won against Ann.", "Tom lost to Ann.", ("lost", "won")),
        ("Turn to the left.", "Turn to the right.", ("the right", "the left")),
        ("Prices rose in May.", "In May prices fell.", ("fell", "rose")),
        ("We meet on monday.", "We meet on friday.", ("friday", "monday")),
        ("The house lies in the north.", "The house lies in the west.", ("west", "north")),
        ("Don’t go there if it’s hot.", "Don’t go there if it’s cold.", ("cold", "hot")),
    ],
)
def test_a_word_and_its_contrary_in_the_others_place_are_found(
    source: str, text: str, found: tuple[str, str]
) -> None:
    assert contrary(source, text) == found


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("He left before Ann came.", "Ann came after he left."),
        ("Before he left, he ate.", "After he ate, he left."),
        ("Ann is older than Tom.", "Tom is younger than Ann."),
        ("Tom won against Ann.", "Ann lost to Tom."),
        ("Oslo lies north of Rome.", "Rome lies south of Oslo."),
        ("The first day was hot, the second cold.", "On the second day it was cold, hot on the first."),
        ("He died soon after.", "Before long he died."),
        ("More than five people came.", "No fewer than five people came."),
        ("They love red apples.", "Red apples are what they like."),
        ("He left at once.", "He went away right now."),
        ("Not everyone came.", "Some did not come."),
    ],
)
def test_what_says_the_same_is_no_contrary(source: str, text: str) -> None:
    assert contrary(source, text) is None


@pytest.mark.parametrize("task", ["split", "simplify", "paraphrase"])
@pytest.mark.parametrize(
    ("source", "contrary", "same"),
    [
        ("The first bridge fell.", "The second bridge fell.", "It was the first bridge that fell."),
        ("He ate before dinner.", "He ate after dinner.", "Before dinner he ate."),
        ("They sold more tea than milk.", "They sold less tea than milk.", "More tea was sold than milk."),
        ("It's not open on rainy days.", "It's not open on sunny days.", "On rainy days it isn't open."),
    ],
)
def test_a_rewrite_that_says_the_contrary_is_dropped(
    task: str, source: str, contrary: str, same: str
) -> None:
    found = altered(GenerationTask(task), source, contrary)
    assert found is not None
    assert found.reason is DropReason.CONTRARY
    assert altered(GenerationTask(task), source, same) is None


def test_of_a_spoken_query_what_was_meant_counts() -> None:
    spoken = "Who was the first no sorry the second queen of Norway?"
    found = altered(GenerationTask.CLEAN_QUERY, spoken, "Who was the first queen of Norway?")
    assert found is not None
    assert found.reason in (DropReason.CONTRARY, DropReason.LIMIT)
    assert altered(GenerationTask.CLEAN_QUERY, spoken, "Who was the second queen of Norway?") is None


def test_a_question_does_not_ask_for_the_contrary() -> None:
    source = "The first bridge was built in 1910."
    found = altered(GenerationTask.ASK, source, "When was the second bridge built?")
    assert found is not None
    assert found.reason is DropReason.CONTRARY
    assert altered(GenerationTask.ASK, source, "When was the first bridge built?") is None
