"""Vectors of queries, the same each time a query is asked again: for its next page, say."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from core.ports.models import Encoder
from core.types import EncoderInfo, Float32, Int64, Lane, PassageText

REMEMBERED: Final = 256  # queries


@dataclass(frozen=True, slots=True)
class RememberingEncoder:
    """An encoder that remembers the vectors of the last interactive queries.

    Rounding makes the vector of a text differ a little by the texts that are encoded with it, so that pages
    of one query would overlap while others search.
    """

    encoder: Encoder
    _known: OrderedDict[str, Float32] = field(default_factory=OrderedDict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def info(self) -> EncoderInfo:
        return self.encoder.info

    def encode_queries(self, texts: Sequence[str], lane: Lane = Lane.INTERACTIVE) -> Float32:
        if lane is not Lane.INTERACTIVE or not texts:
            return self.encoder.encode_queries(texts, lane)
        with self._lock:
            known = {text: vector for text in texts if (vector := self._known.get(text)) is not None}
        if new := [text for text in dict.fromkeys(texts) if text not in known]:
            known |= zip(new, self.encoder.encode_queries(new, lane), strict=True)
        with self._lock:
            return np.stack([self._remembered(text, known[text]) for text in texts])

    def encode_passages(self, passages: Sequence[PassageText], lane: Lane = Lane.BULK) -> Float32:
        return self.encoder.encode_passages(passages, lane)

    def token_spans(self, texts: Sequence[str]) -> list[Int64]:
        return self.encoder.token_spans(texts)

    def _remembered(self, text: str, vector: Float32) -> Float32:
        """That of the first who asked, if two did at once."""
        found = self._known.setdefault(text, vector.copy())
        self._known.move_to_end(text)
        if len(self._known) > REMEMBERED:
            self._known.popitem(last=False)
        return found
