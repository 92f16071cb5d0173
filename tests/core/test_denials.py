"""A text and its other wording deny both, or neither, and as often."""

from __future__ import annotations

import time

import pytest

from core.denials import affirms, denials, differ_in_denials, disagree, says_denied


@pytest.mark.parametrize("text", ["It is not so.", "It isn’t so.", "He cant come.", "Nobody came.", "NEVER!"])
def test_denials_are_told_however_they_are_written(text: str) -> None:
    assert denials(text)
    assert not denials("It is so, notably; a knot.")


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("It is not hot and not cold.", 2),
        ("It is neither hot nor cold.", 1),
        ("Nor is it.", 1),
        ("It is not only hot, but no. 1 of all.", 0),
        ("Nothing but peace helps, whether it comes or not.", 0),
    ],
)
def test_denials_are_counted(text: str, count: int) -> None:
    assert denials(text) == count


@pytest.mark.parametrize(
    ("one", "other", "differ"),
    [
        ("It is not safe.", "It is safe.", True),
        ("It is not safe.", "It isn't safe.", False),
        ("It is not safe.", "It is unsafe.", False),
        ("It is not unsafe.", "It is unsafe.", True),
        ("He could not come.", "He was unable to come.", False),
        ("It is safe until May.", "It is not safe until May.", True),
        ("There is no wait for it.", "There is a long wait for it.", True),
    ],
)
def test_an_affirmed_denial_is_told_in_both_directions(one: str, other: str, differ: bool) -> None:
    assert disagree(one, other) is disagree(other, one) is differ


@pytest.mark.parametrize(
    ("denying", "plain"),
    [
        ("The team did not come to the city.", "The team came into the city."),
        ("The nations will not sign it.", "The nations, a unit, sign it."),
        ("He did not come.", "He came to an income."),
        ("They did not play.", "They display it."),
        ("The drug is not safe for children.", "The drug is only safe for children."),
        ("It is not safe.", "It is by far safe."),
        ("It is not safe.", "It is a little safe."),
        ("It is not safe.", "It is rather safe."),
        ("It is not safe.", "It is safe for a few."),
        ("They did not play.", "They played against us."),
    ],
)
def test_words_that_only_look_like_denials_make_up_for_none(denying: str, plain: str) -> None:
    assert disagree(denying, plain)
    assert disagree(plain, denying)


@pytest.mark.parametrize(
    ("denying", "plain"),
    [
        ("He does not agree with it.", "He disagrees with it."),
        ("It is not at all possible.", "It is impossible."),
        ("He is not married.", "He remains unmarried."),
        ("It is not problem-free.", "It is far from it."),
        ("We do not use beef.", "We use fish instead of beef."),
        ("Not many came.", "Few came."),
        ("She told him not to buy it.", "She warned him against buying it."),
        ("He did not come.", "He failed to come."),
    ],
)
def test_words_that_say_as_much_agree_with_a_denial(denying: str, plain: str) -> None:
    assert not disagree(denying, plain)
    assert not disagree(plain, denying)


@pytest.mark.parametrize(
    ("one", "other", "differ"),
    [
        ("It is not hot and it is not cold.", "It is hot and it is not cold.", True),
        ("It is not hot and it is not cold.", "It is neither hot nor cold.", True),
        ("It is neither hot nor cold.", "It is not hot or cold.", False),
        ("The drug is unsafe.", "The drug is safe.", True),
        ("He disagrees with her.", "He agrees with her.", True),
        ("It is not hot and it is unsafe.", "It is not hot and it is safe.", True),
        ("He is unmarried and not happy.", "He is not married and unhappy.", False),
        ("He formed it.", "He informed her.", False),
        ("He is unmarried.", "He is single.", False),
        ("He cannot come and has no time.", "He is unable to come and has no time.", False),
        ("He cannot come and has no time.", "He has no time and can't come.", False),
    ],
)
def test_one_of_two_denials_may_not_be_lost(one: str, other: str, differ: bool) -> None:
    assert differ_in_denials(one, other) is differ_in_denials(other, one) is differ


@pytest.mark.parametrize(
    ("text", "source", "is_affirmed"),
    [
        ("Aspirin prevents attacks.", "Aspirin does not prevent attacks.", True),
        ("Aspirin prevents attacks.", "There is no evidence that aspirin prevents attacks.", True),
        (
            "Aspirin lowers fever and prevents attacks.",
            "Aspirin does not prevent attacks, but lowers fever.",
            True,
        ),
        ("Aspirin is for attacks.", "Aspirin for attacks is not useful.", True),
        ("Eggs are safe.", "Eggs are safe for nobody.", True),
        ("Aspirin lowers fever.", "Aspirin does not prevent attacks, but lowers fever.", False),
        ("Aspirin lowers fever.", "It lowers fever. Aspirin does not prevent attacks.", False),
        ("Eggs are safe.", "Eggs are unsafe.", True),
        ("Eggs are unsafe.", "Eggs are not safe.", False),
        ("Eggs are not safe.", "Eggs are not safe.", False),
        ("Eggs are safe.", "Eggs are safe.", False),
    ],
)
def test_what_a_source_denies_is_told_from_what_it_says_beside(
    text: str, source: str, is_affirmed: bool
) -> None:
    assert affirms(text, source) is is_affirmed


def test_a_telling_word_behind_a_denial_is_denied() -> None:
    assert says_denied("What did Tom eat?", "Tom did not eat the fish.")
    assert not says_denied("Who is Tom?", "Tom did not eat the fish.")
    assert not says_denied("What did Tom not eat?", "Tom did not eat the fish.")


@pytest.mark.parametrize("apostrophe", "'’´`ʼ‘′＇")
def test_a_denial_is_one_by_whatever_apostrophe(apostrophe: str) -> None:
    text = f"He doesn{apostrophe}t know it."
    assert denials(text) == 1
    assert differ_in_denials(text, "He knows it.")
    assert not differ_in_denials(text, "He does not know it.")
    assert affirms("He knows it.", text)


def test_a_text_of_32_kb_is_looked_at_in_a_fraction_of_a_second() -> None:
    text = "not safe but unsafe and in it " * 1100
    started_s = time.process_time()
    assert not differ_in_denials(text, text)
    affirms("Unsafe.", text)
    assert time.process_time() - started_s < 1.0
