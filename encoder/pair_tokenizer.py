"""Pairs of a query and a passage to token ids, cut to a cross-encoder's length."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from core.errors import CheckpointError
from core.types import Int64, PassageText
from encoder.backends.base import Int32
from encoder.tokenizer import Tokenizer, load_tokenizer, readable

PASSAGE_SHARE = 0.25  # of the window, which no query may take


class PairTokenizer:
    """Thread-safe: nothing changes after construction.

    What does not fit is cut from the end of the passage, never from the query; only a query that would leave
    the passage less than a quarter of the window is cut itself, to three quarters.
    """

    def __init__(self, tokenizer_json: str, max_tokens: int, segment_offset: int) -> None:
        """`segment_offset` is added to the ids of segment 1; 0 for a model without segments.

        Raises CheckpointError for a tokenizer.json that cannot be read or does not say how pairs are joined.
        """
        self._plain = Tokenizer(tokenizer_json, max_tokens)
        self._pairs = load_tokenizer(tokenizer_json)
        special = int(self._pairs.num_special_tokens_to_add(True))
        if special < 2:
            raise CheckpointError(
                "tokenizer.json has no template for pairs of texts, so a cross-encoder cannot tell query and "
                "passage apart; expected one like '[CLS] $A [SEP] $B:1 [SEP]:1'."
            )
        self._pairs.enable_truncation(max_tokens, strategy="only_second")
        self._room = max_tokens - special
        self._max_query_tokens = int(self._room * (1 - PASSAGE_SHARE))
        self._segment_offset = segment_offset

    def room(self, query: str) -> int:
        """How many tokens of a passage are read beside this query."""
        return self._room - min(len(self.token_spans([query])[0]), self._max_query_tokens)

    def encode(self, query: str, passages: Sequence[PassageText]) -> list[Int32]:
        """Ids of each pair, one (t,) int32 array, with special tokens, t <= max_tokens.

        Raises InvalidInput naming the first text that is not a string.
        """
        query = self._cut_query(query)
        pairs = [(query, text) for text in readable(self._plain.join_titles(passages))]
        encodings = self._pairs.encode_batch(pairs)
        return [self._ids(np.array(e.ids, np.int32), np.array(e.type_ids, np.int32)) for e in encodings]

    def token_spans(self, texts: Sequence[str]) -> list[Int64]:
        """One (t, 2) array a text: character offsets of its tokens, without special tokens or truncation."""
        return self._plain.token_spans(texts)

    def _cut_query(self, query: str) -> str:
        """By whole tokens; fewer when what is left is then cut into more tokens."""
        (query,) = readable([query])
        most = self._max_query_tokens
        while len(spans := self.token_spans([query])[0]) > self._max_query_tokens and most:
            query = query[: spans[most - 1, 1]]
            most -= 1
        return query

    def _ids(self, ids: Int32, segments: Int32) -> Int32:
        return ids + self._segment_offset * segments
