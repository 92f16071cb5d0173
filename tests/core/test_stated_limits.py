"""What limits a statement is kept: bounds of numbers, "only", "almost", "perhaps", first and second."""

from __future__ import annotations

import pytest

from core.generation_types import GenerationTask
from core.rewrite_rules import DropReason, altered
from core.stated_limits import lost_first, lost_limit, new_bound, new_limit, one_asks


@pytest.mark.parametrize(
    ("source", "text", "lost"),
    [
        ("At least 5 people came.", "5 people came.", "At least 5"),
        ("At least 5 people came.", "No fewer than five people came.", ""),
        ("At least 5 people came.", "5 people or more came.", ""),
        ("At most ten cars fit in.", "At least ten cars fit in.", "At most t"),
        ("Up to 3 kg are free.", "3 kg or less are free.", ""),
        ("It takes more than two hours.", "It takes over 2 hours.", ""),
        ("It takes more than two hours.", "It takes two hours.", "more than two"),
        ("It takes no more than two hours.", "It takes more than two hours.", "no more than two"),
        ("Come before 5 pm.", "Come at 5 pm.", "before 5"),
        ("Come before 5 pm.", "Come by 5 pm.", ""),
        ("He left after 1990.", "He left in 1990.", "after 1"),
        ("Only Tom came.", "Tom came.", "Only"),
        ("Only Tom came.", "Tom was the sole guest.", ""),
        ("He has only to ask.", "He has to ask.", ""),
        ("He almost died.", "He died.", "almost"),
        ("Almost 1000 people came.", "1000 people came.", ""),
        ("It will probably rain.", "It will rain.", "probably"),
        ("It will probably rain.", "It may rain.", ""),
        ("He will be back in a second.", "He will be back soon.", ""),
        ("The second door is open.", "The door is open.", "second"),
        ("The second door is open.", "Door 2 is open.", ""),
    ],
)
def test_what_is_lost_of_limits_is_told(source: str, text: str, lost: str) -> None:
    assert lost_limit(source, text).startswith(lost)
    assert bool(lost_limit(source, text)) == bool(lost)


def test_new_limits_are_told() -> None:
    assert new_bound("At least 5 people came.", "5 people came.") == "At least 5"
    assert new_bound("Come before 5.", "Come at 5.") == ""
    assert new_limit("Come before 5.", "Come at 5.") == "before 5"
    assert new_limit("Only Tom came.", "Tom came, and nobody else.") == ""


def test_a_text_that_is_first_may_be_called_so_in_other_words() -> None:
    assert lost_first("The first edition", "The edition") == "first"
    assert lost_first("The first edition", "The original edition") == ""


@pytest.mark.parametrize(
    ("source", "text", "reason"),
    [
        ("At least five people came.", "At most five people came.", DropReason.LIMIT),
        ("Five people came.", "At most five people came.", DropReason.LIMIT),
        ("Only my brother saw it.", "My brother saw it.", DropReason.LIMIT),
        ("At least five people came.", "There came five people or more.", None),
        ("It opens at 5 pm.", "It opens at 5.", DropReason.LOST_NUMBERS),
        ("It opens at 5 pm.", "It opens at 5 in the afternoon.", None),
        ("It is open from 9 am to 5 pm.", "It is open from 9 pm to 5 am.", DropReason.NEW_NUMBERS),
        ("It is 3 km long and 5 feet wide.", "It is 3 feet wide and 5 km long.", DropReason.NEW_NUMBERS),
        ("It is 3 km long and 5 feet wide.", "It is 5 feet wide and 3 km long.", None),
        ("She died when she was 54 years old.", "She died at the age of 54.", None),
    ],
)
def test_a_paraphrase_keeps_limits_and_the_units_of_its_numbers(
    source: str, text: str, reason: DropReason | None
) -> None:
    found = altered(GenerationTask.PARAPHRASE, source, text)
    assert (found and found.reason) == reason


def test_a_question_may_leave_limits_out_but_has_none_of_its_own() -> None:
    source = "At least five people came on Sunday."
    assert altered(GenerationTask.ASK, source, "How many people came on Sunday?") is None
    found = altered(GenerationTask.ASK, source, "Why did at most five people come?")
    assert found is not None
    assert found.reason is DropReason.LIMIT


def test_one_of_two_texts_asks_only_where_the_other_tells() -> None:
    assert one_asks("Is it here?", "It is here.")
    assert one_asks('He said: "It is here."', "Did he say it?")
    assert not one_asks("Is it here?", "Here is it, is it not?")
    assert not one_asks("who is here", "Who is here?")
