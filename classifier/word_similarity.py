"""How near the nearest single word of a text is to a label.

The vector of a whole text can miss what one word tells ("thanks" for gratitude). For labels that are one word
themselves the greatest cosine over the text's words is added, the late interaction of Khattab, Zaharia 2020
("ColBERT", section 3.2) with words encoded one by one.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from threading import Lock

import numpy as np

from core.ports.models import Encoder
from core.types import Float32, Lane

WORD = re.compile(r"[^\W\d_]+(?:'[^\W\d_]+)?")
WORDS_A_TEXT = 256
KEPT_WORDS = 16_384  # 25 MB at 384 dimensions
LONGEST_KEPT = 64  # letters: a text without spaces may be one word of a megabyte


@dataclass(frozen=True, slots=True)
class WordVectors:
    """Vectors of single words; those met last are kept, for many threads."""

    encoder: Encoder
    _kept: OrderedDict[str, Float32] = field(default_factory=OrderedDict)
    _lock: Lock = field(default_factory=Lock)

    def of(self, words: Sequence[str], lane: Lane) -> Float32:
        """(words, d) float32 unit rows."""
        with self._lock:
            known = {word: self._kept[word] for word in words if word in self._kept}
            for word in known:
                self._kept.move_to_end(word)
        if new := [word for word in words if word not in known]:
            known.update(zip(new, self.encoder.encode_queries(new, lane), strict=True))
            self._keep({word: known[word] for word in new[-KEPT_WORDS:] if len(word) <= LONGEST_KEPT})
        return np.stack([known[word] for word in words])

    def _keep(self, vectors: dict[str, Float32]) -> None:
        with self._lock:
            self._kept.update({word: vector.copy() for word, vector in vectors.items()})
            while len(self._kept) > KEPT_WORDS:
                self._kept.popitem(last=False)


def word_similarities(texts: Sequence[str], prototypes: Float32, vectors: WordVectors, lane: Lane) -> Float32:
    """(n, c) the greatest cosine of any word of a text to each prototype (c, d); 0 without words."""
    words = [words_of(text) for text in texts]
    unique = list(dict.fromkeys(word for row in words for word in row))
    nearest = np.zeros((len(texts), len(prototypes)), np.float32)
    if not unique:
        return nearest
    places = {word: place for place, word in enumerate(unique)}
    cosines = vectors.of(unique, lane) @ prototypes.T  # (unique, c)
    for i, row in enumerate(words):
        if row:
            nearest[i] = cosines[[places[word] for word in row]].max(axis=0)
    return nearest


def words_of(text: str) -> list[str]:
    """The different words of a text in lower case, in order, at most WORDS_A_TEXT."""
    return list(dict.fromkeys(match.group() for match in WORD.finditer(text.lower())))[:WORDS_A_TEXT]
