"""The warning about texts that an encoder does not know."""

from __future__ import annotations

import logging

import pytest
import tokenizers
from tokenizers.models import BPE, Unigram

from encoder.service import shipped_model
from encoder.tokenizer import Tokenizer
from encoder.unknown_tokens import UnknownTokens

STRANGE = "我喜欢这只猫和那只狗" * 4  # some of these characters are in the vocabulary, most are not


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer((shipped_model() / "tokenizer.json").read_text(encoding="utf-8"), max_tokens=256)


def warnings(records: list[logging.LogRecord]) -> list[str]:
    return [record.getMessage() for record in records if record.levelno == logging.WARNING]


def test_texts_in_an_unknown_script_are_warned_of_once(
    tokenizer: Tokenizer, caplog: pytest.LogCaptureFixture
) -> None:
    unknown = UnknownTokens("mine", tokenizer.unknown_id)
    for _ in range(2):
        unknown.look_at(tokenizer.encode([STRANGE, "a cat and a dog"]))
    (told,) = warnings(caplog.records)
    assert told.startswith("Of 45 tokens of 2 texts the encoder 'mine' does not know ")
    assert "COGNATE_ENCODER_PATH" in told


@pytest.mark.parametrize(
    "texts", [["猫"], ["I like this 猫 and that dog very much 😀"] * 9, ["plain English"] * 40]
)
def test_a_few_unknown_words_are_nothing_to_warn_of(
    tokenizer: Tokenizer, caplog: pytest.LogCaptureFixture, texts: list[str]
) -> None:
    UnknownTokens("mine", tokenizer.unknown_id).look_at(tokenizer.encode(texts))
    assert warnings(caplog.records) == []


def test_the_unknown_token_is_found_in_models_of_other_kinds() -> None:
    pieces = tokenizers.Tokenizer(
        Unigram([("<s>", 0.0), ("<unk>", 0.0), ("a", -1.0)], unk_id=1, byte_fallback=False)
    )
    assert Tokenizer(pieces.to_str(), 8).unknown_id == 1
    assert Tokenizer(tokenizers.Tokenizer(BPE({"a": 0}, [])).to_str(), 8).unknown_id is None
