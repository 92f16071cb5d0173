"""The cased vocabulary: every text survives it, and its tokens stand at the right word pieces."""

from __future__ import annotations

import pytest
import tokenizers
from hypothesis import example, given
from hypothesis import strategies as st

from core.errors import InvalidInput
from encoder.checkpoint import read_tokenizer
from encoder.generator_config import END, PAD
from encoder.generator_tokenizer import GeneratorTokenizer, SourceTokens, train_tokenizer
from encoder.service import shipped_model
from encoder.tokenizer import load_tokenizer

TEXTS = ["The cat sat on the mat.", "El niño se sentó en la alfombra.", "In 1984 Ångström met José."] * 4
CASED = GeneratorTokenizer(train_tokenizer(TEXTS, 320, ["ask", "split"]))
PIECES = load_tokenizer(read_tokenizer(shipped_model()))  # uncased, strips accents
WRITTEN = st.text(st.characters(exclude_categories=["Cs"]))


def aligned(text: str) -> tuple[SourceTokens, tokenizers.Encoding]:
    encoding = PIECES.encode(text)
    (found,) = CASED.align([text], [encoding])
    return found, encoding


@given(WRITTEN)
@example(" two spaces before")
@example("  ")
@example("<pad><end><task:ask>")
@example("e\u0301 ﬁ İ ß 😀‍😀 \x00\r\n")
def test_every_text_survives(text: str) -> None:
    (ids,) = CASED.encode([text])
    assert CASED.decode(ids.tolist()) == text


@given(WRITTEN)
def test_special_tokens_never_come_of_a_text(text: str) -> None:
    for given_text in (text, f"<task:ask>{text}<pad> <end>"):
        (ids,) = CASED.encode([given_text])
        assert not set(ids.tolist()) & {PAD, END, CASED.task_id("ask"), CASED.task_id("split")}


def test_special_tokens_are_left_out_of_what_is_decoded() -> None:
    (ids,) = CASED.encode(["the cat"])
    task = CASED.task_id("ask")
    assert task is not None
    assert CASED.decode([task, *ids.tolist(), END, PAD]) == "the cat"


def test_a_tokenizer_survives_its_file() -> None:
    again = GeneratorTokenizer(CASED.to_json())
    text = "El niño <end> 😀"
    assert again.encode([text])[0].tolist() == CASED.encode([text])[0].tolist()
    assert (again.vocab_size, again.task_id("split")) == (CASED.vocab_size, CASED.task_id("split"))
    assert again.task_id("sing") is None


def test_half_a_surrogate_pair_is_read_as_a_sign_for_what_is_no_character() -> None:
    (ids,) = CASED.encode(["a\ud83d"])
    assert CASED.decode(ids.tolist()) == "a\ufffd"


def test_a_single_text_is_refused() -> None:
    with pytest.raises(InvalidInput, match="found a single string"):
        CASED.encode("text")


@pytest.mark.parametrize(
    "text",
    [
        "The cat sat on the mat.",
        "El NIÑO se sentó; Ångström, İstanbul.",
        "Unbelievably 😀 fine 👩‍👩‍👧 family",
        "  spaces   before and\tbetween ",
        "日本語 and 1,234.5 km²",
        "cafe\u0301 x",
    ],
)
def test_each_cased_token_stands_at_the_piece_of_its_characters(text: str) -> None:
    found, encoding = aligned(text)
    assert len(found.places) == len(found.token_ids)
    offsets = CASED._tokenizer.encode(f" {text}" if text.startswith(" ") else text).offsets
    added = int(text.startswith(" "))
    wrong = []
    for place, (start, end) in zip(found.places, offsets, strict=True):
        begin, until = encoding.offsets[place]
        characters = set(range(start - added, end - added))
        covered = {i for one in encoding.offsets for i in range(*one)}
        if characters & covered and not characters & set(range(begin, until)):
            wrong.append((text[max(0, start - added) : end - added], text[begin:until]))
    assert not wrong
    assert found.pieces.tolist() == encoding.ids
    assert 0 not in found.places  # CLS is no word


def test_a_word_split_otherwise_in_both_vocabularies_is_joined_by_its_characters() -> None:
    text = "Tokyo unbelievable"
    found, encoding = aligned(text)
    words = [encoding.word_ids[place] for place in found.places]
    assert words == sorted(words)
    assert set(words) == {0, 1}


def test_a_text_without_a_piece_stands_at_the_first_token() -> None:
    found, _ = aligned("\u200b")
    assert found.places.tolist() == [0] * len(found.token_ids)


@given(WRITTEN)
def test_places_are_in_order_and_of_words(text: str) -> None:
    found, encoding = aligned(text)
    assert (found.places[1:] >= found.places[:-1]).all()
    words = [i for i, special in enumerate(encoding.special_tokens_mask) if not special]
    assert set(found.places.tolist()) <= (set(words) or {0})


def test_characters_behind_the_last_piece_that_was_kept_stand_at_it() -> None:
    short = load_tokenizer(read_tokenizer(shipped_model()))
    short.enable_truncation(4)
    encoding = short.encode("one two three four")
    (found,) = CASED.align(["one two three four"], [encoding])
    assert found.places.max() == 2
    assert found.places[-1] == 2
