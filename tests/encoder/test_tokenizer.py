"""The tokenizer on the shipped tokenizer.json: lengths, offsets, titles, and texts no one would write."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
import tokenizers
from hypothesis import given
from hypothesis import strategies as st
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel
from tokenizers.processors import TemplateProcessing
from tokenizers.trainers import BpeTrainer
from transformers import PreTrainedTokenizerFast

from core.errors import CheckpointError, InvalidInput
from core.token_types import TokenField
from core.types import PassageText
from encoder.pair_tokenizer import PairTokenizer
from encoder.service import shipped_model
from encoder.tokenizer import TITLE_TOKENS, Tokenizer

CLS, SEP = 101, 102


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer((shipped_model() / "tokenizer.json").read_text(encoding="utf-8"), max_tokens=256)


def test_ids_are_int32_between_special_tokens(tokenizer: Tokenizer) -> None:
    (ids,) = tokenizer.encode(["Hello world"])
    assert ids.dtype == np.int32
    assert ids.tolist() == [CLS, 7592, 2088, SEP]


def test_an_empty_text_is_its_special_tokens(tokenizer: Tokenizer) -> None:
    assert tokenizer.encode([""])[0].tolist() == [CLS, SEP]
    assert tokenizer.token_spans([""])[0].shape == (0, 2)


@pytest.mark.parametrize("text", ["[PAD] a [SEP] b", "[CLS]x[MASK]", "an [UNK] word"])
def test_a_text_that_names_special_tokens_is_text(tokenizer: Tokenizer, text: str) -> None:
    (ids,) = tokenizer.encode([text])
    whole = (shipped_model() / "tokenizer.json").read_text(encoding="utf-8")
    reference = PreTrainedTokenizerFast(tokenizer_object=tokenizers.Tokenizer.from_str(whole))
    assert ids.tolist() == reference(text, split_special_tokens=True)["input_ids"]
    assert not np.isin(ids[1:-1], [0, 100, CLS, SEP, 103]).any()
    located = tokenizer.locate(PassageText("", text))
    assert "".join(text[token.start : token.end] for token in located.tokens) == text.replace(" ", "")


def test_a_pair_has_the_separators_of_a_pair_whatever_its_texts_say() -> None:
    pairs = PairTokenizer((shipped_model() / "tokenizer.json").read_text(encoding="utf-8"), 64, 0)
    (ids,) = pairs.encode("a [SEP] b", [PassageText("[CLS]", "c [SEP] d")])
    found = ids.tolist()
    assert (found.count(CLS), found.count(SEP)) == (1, 2)


def test_long_texts_are_cut_to_the_maximum_with_special_tokens(tokenizer: Tokenizer) -> None:
    (ids,) = tokenizer.encode(["word " * 1000])
    assert len(ids) == 256
    assert (ids[0], ids[-1]) == (CLS, SEP)


def test_spans_are_neither_cut_nor_special(tokenizer: Tokenizer) -> None:
    (spans,) = tokenizer.token_spans(["word " * 1000])
    assert spans.dtype == np.int64
    assert spans.shape == (1000, 2)
    assert spans[-1].tolist() == [4995, 4999]


def test_offsets_count_characters_not_bytes(tokenizer: Tokenizer) -> None:
    text = "😀 naïve שלום 🏳️‍🌈 end"
    (spans,) = tokenizer.token_spans([text])
    pieces = [text[start:end] for start, end in spans]
    assert pieces[0] == "😀"
    assert pieces[1] == "naïve"
    assert "".join(pieces[2:6]) == "שלום"
    assert pieces[-1] == "end"


@pytest.mark.parametrize(
    "text",
    ["x" * 1_000_000, "a\0b", "\0", "\ud800 half a pair", "‮right to left", "\t\n ", "한국어", "\uffff"],
)
def test_strange_texts_have_ids_and_offsets_inside_them(tokenizer: Tokenizer, text: str) -> None:
    (ids,) = tokenizer.encode([text])
    assert 2 <= len(ids) <= 256
    (spans,) = tokenizer.token_spans([text])
    assert ((spans >= 0) & (spans <= len(text))).all()


@given(text=st.text())
def test_offsets_of_any_text_rise_and_stay_inside_it(tokenizer: Tokenizer, text: str) -> None:
    (spans,) = tokenizer.token_spans([text])
    assert (spans[:, 0] <= spans[:, 1]).all()
    assert (np.diff(spans[:, 0]) >= 0).all()
    assert ((spans >= 0) & (spans <= len(text))).all()


def test_a_passage_is_its_title_then_its_text(tokenizer: Tokenizer) -> None:
    passages = [PassageText("Hello", "world"), PassageText("", "world")]
    both, alone = tokenizer.encode_passages(passages)
    assert both.tolist() == [CLS, 7592, 2088, SEP]
    assert alone.tolist() == [CLS, 2088, SEP]


def test_a_long_title_leaves_room_for_the_text(tokenizer: Tokenizer) -> None:
    (ids,) = tokenizer.encode_passages([PassageText("hello " * 500, "world " * 500)])
    assert ids.tolist() == [CLS, *[7592] * TITLE_TOKENS, *[2088] * (254 - TITLE_TOKENS), SEP]


def test_a_located_passage_says_whether_an_end_was_cut(tokenizer: Tokenizer) -> None:
    whole = PassageText("hello " * TITLE_TOKENS, "world " * (254 - TITLE_TOKENS))
    assert not tokenizer.locate(whole).is_truncated
    assert tokenizer.locate(PassageText(whole.title, f"{whole.text} more")).is_truncated
    assert tokenizer.locate(PassageText(f"{whole.title} more", "world")).is_truncated


@pytest.mark.parametrize("title", ["", "storm damage", "\u00e9t\u00e9"])
@pytest.mark.parametrize("text", ["broken sea  wall", " wall", "\u00fcber \U0001f600 sea"])
@pytest.mark.parametrize("prompt", ["", "passage: "])
def test_tokens_that_begin_with_a_space_are_of_the_field_of_their_word(
    title: str, text: str, prompt: str
) -> None:
    located = Tokenizer(byte_level_tokenizer_json(), 64).locate(PassageText(title, text), prompt)
    for field, whole in ((TokenField.TITLE, title), (TokenField.TEXT, text)):
        of_field = [token for token in located.tokens if token.field is field]
        assert all(0 <= token.start <= token.end <= len(whole) for token in of_field)
        assert [token.text for token in of_field] == [whole[t.start : t.end] for t in of_field]
        seen = {i for token in of_field for i in range(token.start, token.end)}
        assert seen == {i for i, character in enumerate(whole) if character != " "}


def byte_level_tokenizer_json() -> str:
    """Of single bytes and words with the space before them, which is part of a token's place."""
    tokenizer = tokenizers.Tokenizer(BPE())
    tokenizer.pre_tokenizer = ByteLevel(add_prefix_space=False)
    trainer = BpeTrainer(
        vocab_size=300,
        special_tokens=["[CLS]", "[SEP]"],
        initial_alphabet=ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(["passage: storm damage broken sea wall"] * 5, trainer)
    tokenizer.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 0), ("[SEP]", 1)]
    )
    return str(tokenizer.to_str())


@pytest.mark.parametrize("title", ["", "Hello", "hello " * 11, "x" * 65, "\ufdfa" * 20, "ﷺ" * 64, "é" * 64])
@pytest.mark.parametrize("text", ["world", "world " * 500])
def test_passages_tokenized_whole_are_what_is_encoded_once_they_are_cut(
    tokenizer: Tokenizer, title: str, text: str
) -> None:
    passage = PassageText(title, text)
    (whole,) = tokenizer.tokenize_passages([passage], "search ")
    (read,) = tokenizer.encode_passages([passage], "search ")
    assert tokenizer.cut(whole).tolist() == read.tolist()
    assert (len(whole) > len(read)) == (text != "world")


def test_a_prompt_comes_before_the_title_and_before_a_query(tokenizer: Tokenizer) -> None:
    (passage,) = tokenizer.encode_passages([PassageText("Hello", "world")], "search ")
    (query,) = tokenizer.encode(["world"], "search ")
    assert passage.tolist() == [CLS, 3945, 7592, 2088, SEP]
    assert query.tolist() == [CLS, 3945, 2088, SEP]


@pytest.mark.parametrize("item", [None, b"bytes", 3, ["nested"]])
def test_what_is_not_a_string_is_refused_by_its_place(tokenizer: Tokenizer, item: object) -> None:
    texts: list[object] = ["fine", item]
    with pytest.raises(InvalidInput, match="Text 1 is a"):
        tokenizer.encode(texts)  # type: ignore[arg-type]  # what a careless caller does
    with pytest.raises(InvalidInput, match="Text 0 is a"):
        tokenizer.encode_passages([PassageText("title", item)])  # type: ignore[arg-type]
    with pytest.raises(InvalidInput, match="Text 0 is a"):
        tokenizer.encode_passages([PassageText(item, "text")])  # type: ignore[arg-type]


def test_a_single_string_in_place_of_a_list_is_refused(tokenizer: Tokenizer) -> None:
    with pytest.raises(InvalidInput, match="wrap it in a list"):
        tokenizer.encode("hello")


def test_truncation_and_padding_that_the_file_brings_are_ignored() -> None:
    text = (shipped_model() / "tokenizer.json").read_text(encoding="utf-8")
    baked = text.replace(
        '"truncation":null',
        '"truncation":{"max_length":8,"strategy":"LongestFirst","stride":0,"direction":"Right"}',
    )
    assert baked != text
    tokenizer = Tokenizer(baked, max_tokens=16)
    assert len(tokenizer.encode(["word " * 100])[0]) == 16
    assert len(tokenizer.token_spans(["word " * 100])[0]) == 100


def test_a_damaged_file_is_a_checkpoint_error() -> None:
    with pytest.raises(CheckpointError, match=r"tokenizer\.json cannot be read"):
        Tokenizer("{", 16)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_process_that_forks_after_tokenising_prints_no_warning() -> None:
    script = (
        "import os\n"
        "from encoder.service import shipped_model\n"
        "from encoder.tokenizer import Tokenizer\n"
        "t = Tokenizer((shipped_model() / 'tokenizer.json').read_text(encoding='utf-8'), 16)\n"
        "t.encode(['a'] * 99)\n"
        "pid = os.fork()\n"
        "t.encode(['b'] * 99)\n"
        "os._exit(0) if pid == 0 else os.waitpid(pid, 0)\n"
    )
    environment = {name: value for name, value in os.environ.items() if name != "TOKENIZERS_PARALLELISM"}
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stderr == ""
