"""How text becomes terms: stemming by language, normalisation, scripts without spaces."""

from __future__ import annotations

import pytest

from core.errors import InvalidInput
from indexer.lexical_analyzer import LANGUAGES, STEMMERS, Analyzer, check_language


@pytest.mark.parametrize(
    ("language", "one", "other"),
    [
        ("en", "Running boats", "run BOAT"),
        ("de", "Häuser", "Häusern"),
        ("fr", "continuellement", "continuel"),
        ("ru", "книги", "книга"),
        ("es", "corriendo", "corrieron"),
        ("tr", "KITAPLIK", "kıtaplık"),
    ],
)
def test_forms_of_a_word_are_one_term(language: str, one: str, other: str) -> None:
    assert Analyzer(language).terms(one) == Analyzer(language).terms(other)


def test_a_language_without_stemmer_keeps_its_words() -> None:
    assert Analyzer("pl").terms("Biblioteki książek") == ["biblioteki", "książek"]


def test_composed_decomposed_and_compatible_characters_are_the_same() -> None:
    terms = Analyzer("en").terms
    assert terms("cafe\u0301 ﬁne Ｆｕｌｌ") == terms("café fine full")
    assert len(terms("हिन्दी")) == 1  # vowel signs belong to their word


@pytest.mark.parametrize(
    ("text", "query"),
    [
        ("東京都に住む", "京都"),
        ("私の子犬", "犬"),
        ("กรุงเทพมหานคร", "กรุงเทพ"),
        ("서울특별시에서", "서울"),
        ("ភ្នំពេញ", "ពេញ"),
    ],
)
def test_scripts_without_spaces_are_found_by_their_characters(text: str, query: str) -> None:
    terms = Analyzer("ja").terms
    assert terms(query)
    assert set(terms(query)) <= set(terms(text))


def test_a_word_of_a_spaced_script_is_found_whole_beside_them() -> None:
    assert "python" in Analyzer("zh").terms("学习Python语言")


def test_lone_surrogates_and_long_words_do_no_harm() -> None:
    assert Analyzer("en").terms("boat\ud800storm " + "x" * 1_000_000) == ["boat", "storm"]
    assert Analyzer("en").terms("a" * 255) == ["a" * 255]


def test_every_language_of_the_standard_has_an_analyzer() -> None:
    assert set(STEMMERS) <= LANGUAGES
    for language in LANGUAGES:
        assert Analyzer(language).terms("boat 7")


@pytest.mark.parametrize("code", ["", "xx", "EN", "eng", "en-GB"])
def test_an_unknown_language_is_refused_with_what_is_known(code: str) -> None:
    with pytest.raises(InvalidInput, match="ISO 639-1"):
        check_language(code)
