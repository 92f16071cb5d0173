"""Warns when texts are largely of tokens that an encoder does not know, which it cannot tell apart."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np

from encoder.backends.base import Int32

_log = logging.getLogger(__name__)

_SPECIAL_TOKENS = 2  # of a text, around it
_LEAST_TOKENS = 32  # of all texts of a call: a lone emoji is no other language
_SHARE = 0.25


class UnknownTokens:
    """Looks at texts until it has warned once; it costs microseconds a text."""

    def __init__(self, encoder: str, unknown_id: int | None) -> None:
        """`unknown_id` stands for what the tokenizer of `encoder` does not know, None if it knows all."""
        self._encoder = encoder
        self._unknown_id = unknown_id

    def look_at(self, token_ids: Sequence[Int32]) -> None:
        """Texts (t,) of one call, with their special tokens."""
        if self._unknown_id is None:
            return
        tokens = sum(max(0, len(ids) - _SPECIAL_TOKENS) for ids in token_ids)
        if tokens < _LEAST_TOKENS:
            return
        unknown = sum(int(np.count_nonzero(ids == self._unknown_id)) for ids in token_ids)
        if unknown <= _SHARE * tokens:
            return
        _log.warning(
            "Of %d tokens of %d texts the encoder '%s' does not know %d: they all are one word to it, so "
            "such texts are not told apart by meaning. COGNATE_ENCODER_PATH may name one of their language",
            tokens,
            len(token_ids),
            self._encoder,
            unknown,
        )
        self._unknown_id = None
