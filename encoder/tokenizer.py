"""Texts to token ids and to token boundaries, by the model's own tokenizer.json."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import tokenizers
from tokenizers.models import Unigram

from core.errors import CheckpointError, InvalidInput
from core.token_types import Token, TokenField
from core.types import Int64, PassageText
from encoder.backends.base import Int32

TITLE_TOKENS = 64
_SURROGATES = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Located:
    """Ids (t,) of one input, the place of each token, the number of its word, and whether an end was cut."""

    ids: Int32
    tokens: tuple[Token, ...]
    words: tuple[int, ...]
    is_truncated: bool


class Tokenizer:
    """Thread-safe: nothing changes after construction.

    Half a surrogate pair, which JSON can carry and UTF-8 cannot, is read as U+FFFD. A text that says "[SEP]"
    or "<s>" gets the pieces of these characters: only the tokenizer itself puts special tokens around a text.
    """

    def __init__(self, tokenizer_json: str, max_tokens: int) -> None:
        """`max_tokens` is the length of `encode`'s results with special tokens.

        Raises CheckpointError for a tokenizer.json that cannot be read.
        """
        # The engine has the cores; a thread pool for less than 2 % of the work only gets in its way, and
        # warns in every process that forks afterwards.
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
        self._whole = load_tokenizer(tokenizer_json)
        self._truncating = load_tokenizer(tokenizer_json)
        self._truncating.enable_truncation(max_tokens)
        self._max_tokens = max_tokens

    def encode(self, texts: Sequence[str], prompt: str = "") -> list[Int32]:
        """Ids of prompt and text, one (t,) int32 array a text, with special tokens, t <= max_tokens.

        Raises InvalidInput naming the first item that is not a string.
        """
        prompted = [prompt + text for text in readable(texts)]
        return [np.array(e.ids, np.int32) for e in self._truncating.encode_batch_fast(prompted)]

    @property
    def unknown_id(self) -> int | None:
        """Of the token that stands for all that it does not know; None if it knows every text."""
        model = self._whole.model
        token = "<unk>" if isinstance(model, Unigram) else model.unk_token
        return None if token is None else self._whole.token_to_id(token)

    @property
    def vocabulary_size(self) -> int:
        return int(self._whole.get_vocab_size(with_added_tokens=True))

    def tokenize(self, texts: Sequence[str]) -> list[Int32]:
        """Ids of each text, one (t,) int32 array, with special tokens and without truncation."""
        return [np.array(e.ids, np.int32) for e in self._whole.encode_batch_fast(readable(texts))]

    def pieces(self, texts: Sequence[str]) -> list[tokenizers.Encoding]:
        """Ids and character offsets of each text, with special tokens, at most `max_tokens`."""
        encodings: list[tokenizers.Encoding] = self._truncating.encode_batch(readable(texts))
        return encodings

    def cut(self, token_ids: Int32) -> Int32:
        """At most `max_tokens` of the ids; of longer ones the last stays, which ends the text."""
        if len(token_ids) <= self._max_tokens:
            return token_ids
        return np.append(token_ids[: self._max_tokens - 1], token_ids[-1])

    def encode_passages(self, passages: Sequence[PassageText], prompt: str = "") -> list[Int32]:
        """Ids of prompt, the first 64 tokens of the title, and the text, in this order."""
        return self.encode(self.join_titles(passages), prompt)

    def tokenize_passages(self, passages: Sequence[PassageText], prompt: str = "") -> list[Int32]:
        """Like `encode_passages`, without truncation."""
        return self.tokenize([prompt + text for text in self.join_titles(passages)])

    def join_titles(self, passages: Sequence[PassageText]) -> list[str]:
        """What is read of each passage: the first 64 tokens of its title, then the text."""
        titles = self._cut_titles([passage.title for passage in passages])
        texts = [passage.text for passage in passages]
        _require_strings(texts)
        return [f"{a} {b}" if a else b for a, b in zip(titles, texts, strict=True)]

    def token_spans(self, texts: Sequence[str]) -> list[Int64]:
        """One (t, 2) int64 array a text: character offsets [start, end) of all its tokens, none special."""
        encodings = self._whole.encode_batch(readable(texts), add_special_tokens=False)
        return [np.array(e.offsets, np.int64).reshape(-1, 2) for e in encodings]

    def locate(self, passage: PassageText, prompt: str = "") -> Located:
        """The passage's tokens as `encode_passages` gives them, with their places."""
        (title,) = self._cut_titles([passage.title])
        whole = f"{prompt}{title} {passage.text}" if title else f"{prompt}{passage.text}"
        encoding = self._truncating.encode(readable([whole])[0])
        title_start, text_start = len(prompt), len(prompt) + (len(title) + 1 if title else 0)
        tokens, words = [], []
        for i, (text, (start, end)) in enumerate(zip(encoding.tokens, encoding.offsets, strict=True)):
            start = end - len(whole[start:end].lstrip())  # some tokens begin with the space before a word
            word = encoding.word_ids[i]
            if encoding.special_tokens_mask[i] or start < title_start or word is None:
                tokens.append(Token(text, TokenField.SPECIAL, 0, 0))
                words.append(-1 - i)
                continue
            in_title = start < text_start
            offset = title_start if in_title else text_start
            field = TokenField.TITLE if in_title else TokenField.TEXT
            tokens.append(Token(whole[start:end], field, start - offset, end - offset))
            words.append(word)
        is_cut = bool(encoding.overflowing) or len(title) < len(passage.title)
        return Located(np.array(encoding.ids, np.int32), tuple(tokens), tuple(words), is_cut)

    def _cut_titles(self, titles: Sequence[str]) -> list[str]:
        _require_strings(titles)
        cut = list(titles)
        # Of ASCII a token covers at least a character; others may become several when they are normalised.
        long = [i for i, title in enumerate(cut) if len(title) > TITLE_TOKENS or not title.isascii()]
        for i, spans in zip(long, self.token_spans([cut[i] for i in long]), strict=True):
            if len(spans) > TITLE_TOKENS:
                cut[i] = cut[i][: spans[TITLE_TOKENS - 1, 1]]
        return cut


def greatest_id(tokenizer_json: str) -> int:
    """Of all tokens, added ones included; -1 of none. Raises CheckpointError when it cannot be read."""
    return max(load_tokenizer(tokenizer_json).get_vocab(with_added_tokens=True).values(), default=-1)


def plain_tokenizer_json(tokenizer_json: str) -> str:
    """The same tokenizer without any truncation or padding of its own."""
    plain: str = load_tokenizer(tokenizer_json).to_str()
    return plain


def load_tokenizer(tokenizer_json: str) -> tokenizers.Tokenizer:
    """Without truncation or padding of its own; what looks like a special token in a text is text to it.

    Raises CheckpointError when it cannot be read.
    """
    try:
        tokenizer = tokenizers.Tokenizer.from_str(tokenizer_json)
    except Exception as error:  # the library raises the bare class
        raise CheckpointError(f"tokenizer.json cannot be read: {error}.") from error
    tokenizer.no_padding()
    tokenizer.no_truncation()
    tokenizer.encode_special_tokens = True
    return tokenizer


def readable(texts: Sequence[str]) -> list[str]:
    """Texts that the tokenizer can take. Raises InvalidInput naming the first that is not a string."""
    _require_strings(texts)
    return [text if text.isascii() else _SURROGATES.sub("\ufffd", text) for text in texts]


def _require_strings(texts: Sequence[str]) -> None:
    if isinstance(texts, str):
        raise InvalidInput("Expected a sequence of texts, found a single string; wrap it in a list.")
    for i, text in enumerate(texts):
        if not isinstance(text, str):
            raise InvalidInput(f"Text {i} is a {type(text).__name__}; expected a string.")
