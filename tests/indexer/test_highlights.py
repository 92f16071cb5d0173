"""Highlights by the stems of the lexical index, in scripts with and without spaces."""

from __future__ import annotations

from functools import partial
from unicodedata import normalize

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.highlighting import highlights, query_stems
from indexer.lexical_analyzer import STEMMERS
from indexer.lexical_words import keeps_beginnings, shown_stem


def found(query: str, text: str, language: str = "en") -> list[str]:
    stem = partial(shown_stem, language)
    spans = highlights(text, query_stems(query, stem), stem, keeps_beginnings(language))
    return [text[span.start : span.end] for span in spans]


@pytest.mark.parametrize(
    ("query", "text", "language", "expected"),
    [
        ("言語", "日本の言語とPython言語です。", "ja", ["言語", "言語"]),
        ("機械学習", "これは機械学習の本で、学習は楽しい。", "ja", ["機械学習", "学習"]),
        ("猫", "黒猫が二匹、猫。", "ja", ["猫", "猫"]),
        ("Python言語", "python は言語", "ja", ["python", "言語"]),
        ("검색", "의미검색 엔진", "ko", ["검색"]),
        ("ภาษา", "เรียนภาษาไทย", "th", ["ภาษา"]),
        ("language", "日本の言語 language", "en", ["language"]),
        ("言語", "İ言語İstanbul", "en", ["言語"]),
        ("言語 学習", "İİİİ言語と学習", "ja", ["言語", "学習"]),
        ("İstanbul 言語", "言語İstanbul", "en", ["言語İstanbul"]),
        ("言", "no Han letters", "ja", []),
        ("カタカナ", "ｶﾀｶﾅとカタカナ", "ja", ["ｶﾀｶﾅ", "カタカナ"]),
        ("ガス", "都市ｶﾞｽと水", "ja", ["ｶﾞｽ"]),
        ("한국어", normalize("NFD", "우리 한국어를"), "ko", [normalize("NFD", "한국어")]),
        ("がく", normalize("NFD", "日本のがくもん"), "ja", [normalize("NFD", "がく")]),
    ],
)
def test_runs_without_spaces_are_highlighted_by_what_they_share_with_the_query(
    query: str, text: str, language: str, expected: list[str]
) -> None:
    assert found(query, text, language) == expected


@pytest.mark.parametrize(
    ("query", "text", "language", "expected"),
    [
        ("हिन्दी", "हिन्दी भाषा में मौसम", "hi", ["हिन्दी"]),
        ("मौसम", "हिन्दी भाषा में मौसम", "en", ["मौसम"]),
        ("தமிழ்", "தமிழ் மொழி", "ta", ["தமிழ்"]),
        ("مُحَمَّد", "هذا مُحَمَّد هنا", "ar", ["مُحَمَّد"]),
        ("שָׁלוֹם", "שָׁלוֹם לך", "he", ["שָׁלוֹם"]),
        ("สวัสดี", "สวัสดีครับ", "th", ["สวัสดี"]),
        ("𑄌𑄋𑄴𑄟𑄳𑄦", "a 𑄌𑄋𑄴𑄟𑄳𑄦 b", "en", ["𑄌𑄋𑄴𑄟𑄳𑄦"]),
    ],
)
def test_words_are_highlighted_whole_with_their_marks(
    query: str, text: str, language: str, expected: list[str]
) -> None:
    assert found(query, text, language) == expected


@pytest.mark.parametrize("query", ["caf\u00e9", "cafe\u0301", "CAF\u00c9"])
@pytest.mark.parametrize("word", ["caf\u00e9", "cafe\u0301"])
def test_words_are_highlighted_in_whatever_form_their_accents_are_written(query: str, word: str) -> None:
    assert found(query, f"le {word}, l\u00e0") == [word]


@given(st.text("İ言語Aß学ŉ", max_size=20))
def test_highlights_stand_within_the_passage_in_order_without_overlap(text: str) -> None:
    stem = partial(shown_stem, "en")
    spans = highlights(text, query_stems("İ 言語 語学 aß", stem), stem)
    places = [place for span in spans for place in (span.start, span.end)]
    assert places == sorted(set(places)) or not places
    assert all(0 <= place <= len(text) for place in places)


@pytest.mark.parametrize("word", ["dying", "lying", "tying", "skies", "ponies", "gently", "early"])
def test_a_word_is_highlighted_though_its_stem_begins_otherwise(word: str) -> None:
    text = f"The {word} one; dice, lie-detectors and others."
    assert word in found(word, text)
    assert word.capitalize() in found(word, text.replace(word, word.capitalize()))


@pytest.mark.parametrize(
    ("query", "text", "language", "expected"),
    [
        ("gewerkt", "Hij heeft hard gewerkt", "nl", ["gewerkt"]),
        ("werken", "Hij heeft hard gewerkt", "nl", ["gewerkt"]),
        ("Haeuser", "Die Haeuser in Muenchen", "de", ["Haeuser"]),
        ("M\u00fcnchen", "Die Haeuser in Muenchen", "de", ["Muenchen"]),
        ("ISPARTA", "ISPARTA bir il", "tr", ["ISPARTA"]),
        ("IP", "IP adresi", "az", ["IP"]),
    ],
)
def test_words_of_english_letters_are_highlighted_where_stems_begin_otherwise(
    query: str, text: str, language: str, expected: list[str]
) -> None:
    assert found(query, text, language) == expected


@pytest.mark.parametrize("language", [*STEMMERS, "az", "ja"])
@given(st.text("aeioubdgklmnrstvwyGIU", min_size=2, max_size=9))
def test_a_word_that_is_searched_for_is_highlighted(language: str, word: str) -> None:
    expected = [word] if shown_stem(language, word) else []
    assert found(word, f"1 {word} 2", language) == expected
