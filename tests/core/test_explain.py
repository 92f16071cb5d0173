"""Explanations add up, on every level and to any given score."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import InvalidInput
from core.explain import ExplainService, adding_up_to, highlights_of
from core.token_types import TokenField
from core.types import PassageText
from indexer.chunking import sentence_starts
from tests.fakes import FAKE_INFO, FakeEncoder, word_vector

SERVICE = ExplainService(FakeEncoder(), None, sentence_starts)  # type: ignore[arg-type]  # texts only
PASSAGE = PassageText("On cats", "The cat sat. A dog barked at the cat! Nothing else happened.")
WORDS = st.text(alphabet="abc ", min_size=1, max_size=40).filter(str.strip)


def test_every_level_adds_up_to_the_similarity() -> None:
    explanation = SERVICE.explain_text("which cat sat", PASSAGE).explanation
    expected = float(word_vector("which cat sat") @ word_vector(f"{PASSAGE.title} {PASSAGE.text}"))
    assert explanation.score == pytest.approx(expected, abs=1e-5)
    for level in (explanation.tokens, explanation.words, explanation.sentences, explanation.query_tokens):
        assert sum(c.contribution for c in level) == pytest.approx(explanation.score, abs=1e-5)
    assert explanation.matrix.sum() == pytest.approx(explanation.score, abs=1e-5)
    assert explanation.matrix.shape == (len(explanation.query_tokens), len(explanation.tokens))


def test_sentences_and_title_are_told_apart_with_their_places() -> None:
    explanation = SERVICE.explain_text("cat", PASSAGE).explanation
    title, *sentences = [s for s in explanation.sentences if s.field is not TokenField.SPECIAL]
    assert (title.field, title.text) == (TokenField.TITLE, "On cats")
    assert [s.text for s in sentences] == ["The cat sat", "A dog barked at the cat", "Nothing else happened"]
    assert all(PASSAGE.text[s.start : s.end] == s.text for s in sentences)


def test_an_explanation_says_whether_all_was_read() -> None:
    long = "cat " * (FAKE_INFO.max_tokens + 1)
    assert not SERVICE.explain_text("cat", PASSAGE).explanation.is_truncated
    assert SERVICE.explain_text("cat", PassageText("", long)).explanation.is_truncated
    assert SERVICE.explain_text(long, PASSAGE).explanation.is_truncated


def test_what_is_too_large_is_refused_before_it_is_read() -> None:
    unread = replace(SERVICE, encoder=None, documents=None)  # type: ignore[arg-type]  # neither is asked
    with pytest.raises(InvalidInput, match="'title' has 4,097 bytes; the limit is 4,096"):
        unread.explain_text("cat", PassageText("t" * 4097, "a cat"))
    with pytest.raises(InvalidInput, match="'text' has 1,048,577 bytes; the limit is 1,048,576"):
        unread.explain_text("cat", PassageText("", "t" * (2**20 + 1)))
    collection: Any = None
    with pytest.raises(InvalidInput, match="'query' has 32,769 bytes; the limit is 32,768"):
        unread.explain_document("q" * 32_769, collection, "a")


def test_highlights_are_the_words_that_carry_most() -> None:
    explanation = SERVICE.explain_text("dog barked", PASSAGE).explanation
    assert [PASSAGE.text[h.start : h.end] for h in highlights_of(explanation)] == ["dog", "barked"]


@given(query=WORDS, text=WORDS, title=WORDS, score=st.floats(-1, 1))
def test_an_explanation_of_a_stored_score_adds_up_to_it(
    query: str, text: str, title: str, score: float
) -> None:
    (explanation,) = SERVICE.explain_passages(query, [PassageText(title, text)], [score])
    assert explanation.score == pytest.approx(score, abs=1e-5)
    assert sum(c.contribution for c in explanation.words) == pytest.approx(score, abs=1e-5)


def test_rounding_is_spread_by_size() -> None:
    matrix = np.array([[0.3, -0.1], [0.0, 0.2]], dtype=np.float32)
    assert np.allclose(adding_up_to(matrix, 0.46), [[0.33, -0.09], [0.0, 0.22]], atol=1e-6)
