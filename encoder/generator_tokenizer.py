"""The generator's cased vocabulary, and where its tokens stand in the encoder's word pieces."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import tokenizers
from tokenizers import decoders, models, pre_tokenizers, trainers

from core.types import Int32
from encoder.generator_config import END, PAD, task_token
from encoder.tokenizer import load_tokenizer, readable

_PAD_TOKEN, _END_TOKEN = "<pad>", "<end>"


@dataclass(frozen=True, slots=True)
class SourceTokens:
    """A source in both vocabularies.

    `token_ids` (s,) are cased; `pieces` (t,) are the encoder's word pieces with its special tokens;
    `places` (s,) give for each cased token the index of its piece.
    """

    token_ids: Int32
    pieces: Int32
    places: Int32


class GeneratorTokenizer:
    """Texts to cased ids and back; byte-level, so that no text is unknown and none is changed."""

    def __init__(self, tokenizer_json: str) -> None:
        self._tokenizer = load_tokenizer(tokenizer_json)

    def to_json(self) -> str:
        written: str = self._tokenizer.to_str()
        return written

    @property
    def vocab_size(self) -> int:
        return int(self._tokenizer.get_vocab_size(with_added_tokens=True))

    def task_id(self, task: str) -> int | None:
        """The id of the token that begins a task, None for a task this vocabulary does not have."""
        found = self._tokenizer.token_to_id(task_token(task))
        return None if found is None else int(found)

    @property
    def special_ids(self) -> Int32:
        """Ids of tokens that stand for no text."""
        return np.array(sorted(self._tokenizer.get_added_tokens_decoder()), np.int32)

    def encode(self, texts: Sequence[str]) -> list[Int32]:
        """One (t,) array a text, without special tokens."""
        return [np.array(e.ids, np.int32) for e in self._encoded(texts)]

    def decode(self, token_ids: Sequence[int]) -> str:
        """The text of ids, special tokens left out, without the space that byte-level tokens begin with."""
        text: str = self._tokenizer.decode([int(i) for i in token_ids], skip_special_tokens=True)
        return text.removeprefix(" ")

    def align(self, texts: Sequence[str], pieces: Sequence[tokenizers.Encoding]) -> list[SourceTokens]:
        """Each text's cased tokens beside `pieces`, the same text as the encoder's tokenizer encoded it."""
        cased = self._encoded(texts)
        added = [int(text[:1] == " ") for text in texts]
        return [_aligned(*one) for one in zip(cased, pieces, added, strict=True)]

    def _encoded(self, texts: Sequence[str]) -> list[tokenizers.Encoding]:
        """The tokenizer puts a space before a text that has none; here before those that have one, too."""
        spaced = [f" {text}" if text[:1] == " " else text for text in readable(texts)]
        return list(self._tokenizer.encode_batch(spaced))


def _aligned(own: tokenizers.Encoding, theirs: tokenizers.Encoding, added: int) -> SourceTokens:
    """Each cased token stands at the first word piece that ends after the token's beginning.

    `added` characters stand before the text that `own` encodes.
    """
    is_word = np.array(theirs.special_tokens_mask, np.int32) == 0
    indices = np.flatnonzero(is_word)
    places = np.zeros(len(own.ids), np.int32)  # CLS, where no piece is
    if len(indices) and len(own.ids):
        ends = np.array(theirs.offsets, np.int64)[indices, 1]
        starts = np.array(own.offsets, np.int64)[:, 0] - added
        found = np.searchsorted(ends, starts, side="right")
        places = indices[np.minimum(found, len(indices) - 1)].astype(np.int32)
    return SourceTokens(np.array(own.ids, np.int32), np.array(theirs.ids, np.int32), places)


def train_tokenizer(texts: Iterable[str], vocab_size: int, tasks: Sequence[str]) -> str:
    """A byte-level BPE vocabulary (Sennrich et al. 2016) of the texts, as `tokenizer.json`."""
    tokenizer = tokenizers.Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    special = [_PAD_TOKEN, _END_TOKEN, *map(task_token, tasks)]
    assert special.index(_PAD_TOKEN) == PAD
    assert special.index(_END_TOKEN) == END
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    trained: str = tokenizer.to_str()
    return trained
