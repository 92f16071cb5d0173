"""Names and quotes are found as a reader would find them."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.facts import missing_names, names, quotes, squeezed, stutter


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("The cat saw Tom in New York. She left.", {"tom", "new", "york"}),
        ("NASA said that I may.", {"nasa"}),
        ('He said: "You know José\'s car?"', {"jose"}),
        ("my iPhone and McDonald's", {"iphone", "mcdonald"}),
        ("A Title In Which Every Word Is Capital", set()),
        ("¿Está aquí? ¡Él es de París!", {"paris"}),
        ("Obama visited. After that Ann's dog left. Running there, Tom'll fall.", {"obama", "ann", "tom"}),
        ("Unfortunately we didn't. Don't go! \"Everyone\" left.", set()),
        ("日本語の文", set()),
    ],
)
def test_names_are_capitals_but_for_common_words_that_begin_a_sentence(text: str, found: set[str]) -> None:
    assert set(names(text)) == found


def test_a_name_may_stand_anywhere_in_any_case() -> None:
    assert missing_names("He met Tom and Ann.", ["tom went", "ANN's house"]) == []
    assert missing_names("He met Tom and Zoë.", ["Tom alone"]) == ["Zoë"]
    assert missing_names("in O'Brien-Smith", ["o'brien and smith"]) == []
    assert missing_names("Obama visited Paris.", ["Trump visited Paris."]) == ["Obama"]


@pytest.mark.parametrize("apostrophe", "’´`ʼ‘′＇")
def test_a_name_is_the_same_by_whatever_apostrophe(apostrophe: str) -> None:
    assert missing_names("We met Ann O'Brien.", [f"We met Ann O{apostrophe}Brien."]) == []
    assert missing_names(f"We met Ann O{apostrophe}Brien.", ["We met Ann O'Brien."]) == []
    assert len(missing_names(f"We met O{apostrophe}Brien.", ["We met Brien."])) == 1


def test_a_word_that_begins_a_sentence_may_stand_elsewhere_in_the_other_number() -> None:
    assert missing_names("Dogs bark. A cat does not.", ["any dog barks"]) == []
    assert missing_names("He saw Adams.", ["he saw adam"]) == ["Adams"]


@pytest.mark.parametrize(
    ("text", "other", "missing"),
    [
        ("Beijing hosted it.", "Boeing hosted it.", ["Beijing"]),
        ("Kipling wrote it.", "Rowling wrote it.", ["Kipling"]),
        ("Browning wrote it.", "Brown wrote it.", ["Browning"]),
        ("Kimberly went home.", "Beverly went home.", ["Kimberly"]),
        ("Beijing hosted it.", "It was hosted by Beijing.", []),
        ("Running home, he fell.", "He fell when he ran home.", []),
        ("Recognising it took long.", "It took him long.", []),
        ("Overeating is bad.", "To overeat is bad.", []),
        ("Consequently, approximately all fell.", "So nearly all fell.", []),
        ("Conversely, he rose.", "But he rose.", []),
        ("Repairs were made.", "He repaired it.", []),
        ("Transmission is blocked.", "Transcription is blocked.", ["Transmission"]),
    ],
)
def test_a_word_in_ing_or_ly_that_begins_a_sentence_may_be_a_name(
    text: str, other: str, missing: list[str]
) -> None:
    assert missing_names(text, [other]) == missing


def test_quotes_are_what_stands_between_marks() -> None:
    assert quotes('It says "a cat" and “two dogs” and «ein Satz».') == ["a cat", "two dogs", "ein Satz"]
    assert quotes("it's Tom's") == []


def test_texts_that_differ_in_marks_and_case_are_the_same_squeezed() -> None:
    assert squeezed("¿Qué, Tom's?") == squeezed("que tom")
    assert squeezed("a cat") != squeezed("a dog")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("he came came home", "came came"),
        ("known for the old book known for the old house", "known for the old"),
        ("the old book and the old house", ""),
        ("that had had effect", ""),
        ("a very very long day", ""),
        ("there were 5,000,000 of them", ""),
    ],
)
def test_a_text_stutters_where_it_says_again_what_its_source_says_once(text: str, said: str) -> None:
    assert stutter(text, "he had had a very very old book for the house") == said


def test_a_text_of_32_kb_is_looked_at_in_a_fraction_of_a_second() -> None:
    text = " ".join(f"came w{chr(97 + i % 26)}x by N{chr(97 + i % 17)}v" for i in range(1900))
    started_s = time.process_time()
    assert len(names(text)) == 17
    assert stutter(text, text) == ""
    assert time.process_time() - started_s < 0.5


@given(st.text())
def test_any_text_can_be_looked_at_and_misses_nothing_of_itself(text: str) -> None:
    assert missing_names(text, [text]) == []
    assert stutter(text, text) == ""
    assert all(quote in text for quote in quotes(text))
