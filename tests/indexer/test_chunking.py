"""Passages cover the text, keep to the budget and end where sentences end."""

from __future__ import annotations

import time
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.types import CollectionSettings, Int64, PassageText, Span
from indexer.chunking import MAX_TITLE_TOKENS, SPECIAL_TOKENS, SentenceChunker
from tests.indexer.fakes import WordTokens

TEXTS = st.lists(
    st.sampled_from(["word", "longerword", ". ", "! ", "。", "\n\n", " ", "3.5", "e.g. a", "日本", "¿", "x"]),
    max_size=300,
).map("".join) | st.text(max_size=400)


def split(text: str, title: str = "", max_tokens: int = 32, overlap: int = 8, piece: int = 6) -> list[str]:
    settings = CollectionSettings(max_tokens=max_tokens, overlap_tokens=overlap)
    (spans,) = SentenceChunker(WordTokens(piece)).split([PassageText(title, text)], settings)
    return [text[span.start : span.end] for span in spans]


@given(TEXTS, st.text(max_size=80), st.integers(8, 64), st.integers(0, 70), st.integers(1, 12))
def test_passages_cover_the_text_in_order_and_keep_to_the_budget(
    text: str, title: str, max_tokens: int, overlap: int, piece: int
) -> None:
    tokens = WordTokens(piece)
    settings = CollectionSettings(max_tokens=max_tokens, overlap_tokens=overlap)
    (spans,) = SentenceChunker(tokens).split([PassageText(title, text)], settings)
    assert spans[0].start == 0
    assert spans[-1].end == len(text)
    for earlier, later in pairwise(spans):
        assert earlier.start < later.start <= earlier.end < later.end
    (found,) = tokens.token_spans([text])
    title_tokens = min(MAX_TITLE_TOKENS, len(tokens.token_spans([title])[0]))
    budget = max(max_tokens - SPECIAL_TOKENS - title_tokens, max_tokens // 4)
    for span in spans:
        inside = (found[:, 0] >= span.start) & (found[:, 1] <= span.end)
        assert inside.sum() <= budget
    for earlier, later in pairwise(spans):
        shared = (found[:, 0] >= later.start) & (found[:, 1] <= earlier.end)
        assert shared.sum() <= overlap


def test_a_passage_ends_at_a_sentence_end() -> None:
    text = "One two three four. " * 20
    passages = split(text, overlap=0)
    assert len(passages) > 2
    assert all(passage.endswith(". ") for passage in passages)
    assert "".join(passages) == text


@pytest.mark.parametrize("end", ["。", "！", "？", "? ", "! ", "… ", "؟ ", "। ", ".\n", "\n\n", '." ', ".) "])
def test_sentence_ends_of_several_scripts_are_known(end: str) -> None:
    passages = split(("aaa bbb ccc ddd" + end) * 20, overlap=0)
    assert len(passages) > 1
    assert all(passage.endswith(end) for passage in passages)


def test_a_full_stop_before_a_small_letter_ends_no_sentence() -> None:
    passages = split("Seen by approx. many people there yesterday. " * 20, overlap=0)
    assert all(passage.endswith("yesterday. ") for passage in passages)


def test_overlap_repeats_whole_sentences() -> None:
    passages = split("One two three. " * 30, overlap=8)
    for earlier, later in pairwise(passages):
        assert later.startswith("One two three. ")
        assert earlier.endswith("One two three. ")
    assert sum(map(len, passages)) > 30 * 15


def test_without_sentences_passages_end_at_words() -> None:
    passages = split("word " * 200, overlap=0)
    assert all(passage.endswith("word ") for passage in passages)


def test_the_title_takes_room_but_never_more_than_64_tokens() -> None:
    text = "word " * 400
    assert len(split(text, "", max_tokens=128)[0]) == 126 * 5
    assert len(split(text, "a b c d e f", max_tokens=128)[0]) == 120 * 5
    assert len(split(text, "t " * 500, max_tokens=128)[0]) == 62 * 5


@pytest.mark.parametrize("text", ["", " ", "\n\n\t ", "x"])
def test_texts_of_next_to_nothing_are_one_passage(text: str) -> None:
    assert split(text) == [text]


def test_short_texts_are_not_tokenized() -> None:
    tokens = WordTokens()
    chunker = SentenceChunker(tokens)
    settings = CollectionSettings(max_tokens=32)
    assert chunker.split([PassageText("t", "a" * 29), PassageText("", "é" * 15)], settings) == [
        (Span(0, 29),),
        (Span(0, 15),),
    ]
    assert tokens.calls == 0
    chunker.split([PassageText("", "é" * 16)], settings)
    assert tokens.calls > 0


@pytest.mark.parametrize(
    "text", ["x" * 1_000_000, "." * 1_000_000, "。" * 300_000, " ." * 300_000, "\n" * 999_999]
)
def test_a_megabyte_without_words_makes_progress_in_linear_time(text: str) -> None:
    class OneTokenACharacter:
        def token_spans(self, texts: Sequence[str]) -> list[Int64]:
            return [np.stack([np.arange(len(t)), np.arange(len(t)) + 1], axis=1) for t in texts]

    started = time.perf_counter()
    settings = CollectionSettings(max_tokens=256, overlap_tokens=32)
    (spans,) = SentenceChunker(OneTokenACharacter()).split([PassageText("", text)], settings)
    assert spans[-1].end == len(text)
    assert max(span.end - span.start for span in spans) <= 254
    assert len(spans) < len(text) / 90
    assert time.perf_counter() - started < 20  # seconds; quadratic work takes minutes


def test_a_character_of_many_tokens_is_never_cut_inside() -> None:
    class ThreeTokensACharacter:
        def token_spans(self, texts: Sequence[str]) -> list[Int64]:
            return [np.repeat([[i, i + 1] for i in range(len(t))], 3, axis=0).reshape(-1, 2) for t in texts]

    settings = CollectionSettings(max_tokens=13, overlap_tokens=4)
    (spans,) = SentenceChunker(ThreeTokensACharacter()).split([PassageText("", "가" * 50)], settings)
    assert all(span.end - span.start == 3 for span in spans[:-1])
    assert spans[-1].end == 50
    assert len(spans) < 50
