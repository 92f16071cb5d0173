"""Texts to passages: cut at sentence ends within a token budget, with exact character offsets."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from core.ports.models import TokenSpans
from core.types import CollectionSettings, Int64, PassageText, Span

SPECIAL_TOKENS = 2
MAX_TITLE_TOKENS = 64

# A terminator followed by white space, an ideographic terminator, or a line break. Possessive quantifiers
# and the look-behind keep the scan linear on long runs of terminators.
_SENTENCE_END = re.compile(
    r"(?<![.!?…؟۔।॥։።])[.!?…؟۔।॥։።]++[\"'”’»)\]]*+\s++|[。！？｡]++[」』”’）)\]]*+\s*+|\n\s*+"
)

# How good a place before token i is for a cut.
_INSIDE_CHARACTER, _TOKEN, _WORD, _SENTENCE = range(4)


class SentenceChunker:
    """Implements `core.ports.Chunker` over any tokenizer that tells token offsets.

    A passage holds at most `max_tokens` tokens, counting 2 special tokens and the title (at most 64 tokens
    of it); the text keeps at least a quarter of `max_tokens` whatever the title. It ends at a sentence end
    when there is one in its second half, else at a word end, else between tokens. Neighbours share at most
    `overlap_tokens` tokens, preferably whole sentences. The time is linear in the text.
    """

    def __init__(self, tokens: TokenSpans) -> None:
        self._tokens = tokens

    def split(self, documents: Sequence[PassageText], settings: CollectionSettings) -> list[tuple[Span, ...]]:
        """Ordered spans of each document; together they cover its text. At least one a document."""
        spans: list[tuple[Span, ...]] = [(Span(0, len(document.text)),) for document in documents]
        long = [i for i, document in enumerate(documents) if not _surely_fits(document, settings.max_tokens)]
        if not long:
            return spans
        titles = self._tokens.token_spans([documents[i].title for i in long])
        texts = self._tokens.token_spans([documents[i].text for i in long])
        for i, title, text in zip(long, titles, texts, strict=True):
            budget = text_budget(settings.max_tokens, len(title))
            if len(text) > budget:
                cuts = _Cuts.of(documents[i].text, text)
                spans[i] = _passages(cuts, budget, settings.overlap_tokens)
        return spans


def text_budget(max_tokens: int, title_tokens: int) -> int:
    """Tokens of text that fit a passage beside its special tokens and its title."""
    left = max_tokens - SPECIAL_TOKENS - min(title_tokens, MAX_TITLE_TOKENS)
    return max(left, max_tokens // 4, 1)


def _surely_fits(document: PassageText, max_tokens: int) -> bool:
    """True when no tokenizer can need more tokens than fit: one covers at least one UTF-8 byte."""
    size = len(document.text) + len(document.title) + SPECIAL_TOKENS
    if size > max_tokens:
        return False
    if document.text.isascii() and document.title.isascii():
        return True
    both = (document.title + document.text).encode("utf-8", "surrogatepass")
    return len(both) + SPECIAL_TOKENS <= max_tokens


@dataclass(frozen=True, slots=True)
class _Cuts:
    """Where a text of t tokens may be cut: a cut at i lies before token i; `text_end` is in characters.

    `before[q][i]` is the last cut <= i of quality >= q (or -1), `after[q][i]` the first cut >= i (or t).
    """

    starts: Int64  # (t,)
    text_end: int
    before: tuple[Int64, ...]
    after: tuple[Int64, ...]

    @property
    def t(self) -> int:
        return len(self.starts)

    @staticmethod
    def of(text: str, spans: Int64) -> _Cuts:
        quality = _qualities(text, spans)
        index = np.arange(len(quality), dtype=np.int64)
        before, after = [], []
        for least in (_INSIDE_CHARACTER, _TOKEN, _WORD, _SENTENCE):
            good = quality >= least
            before.append(np.maximum.accumulate(np.where(good, index, -1)))
            after.append(np.minimum.accumulate(np.where(good, index, len(spans))[::-1])[::-1])
        return _Cuts(spans[:, 0], len(text), tuple(before), tuple(after))

    def offset(self, cut: int) -> int:
        """Character offset of a cut; text outside all tokens belongs to the passage before it."""
        if cut == 0:
            return 0
        return self.text_end if cut >= self.t else int(self.starts[cut])


def _qualities(text: str, spans: Int64) -> npt.NDArray[np.int8]:
    """(t + 1,) quality of a cut before each token, and of the end of the text."""
    starts, ends = spans[:, 0], spans[:, 1]
    quality = np.full(len(spans) + 1, _SENTENCE, dtype=np.int8)
    quality[1:-1] = np.where(
        starts[1:] > ends[:-1], _WORD, np.where(starts[1:] == ends[:-1], _TOKEN, _INSIDE_CHARACTER)
    )
    quality[1:-1][starts[1:] == starts[:-1]] = _INSIDE_CHARACTER
    boundaries = np.asarray(sentence_starts(text), dtype=np.int64)
    tokens = np.searchsorted(starts, boundaries)
    inner = (tokens > 0) & (tokens < len(spans))
    tokens, boundaries = tokens[inner], boundaries[inner]
    quality[tokens[ends[tokens - 1] <= boundaries]] = _SENTENCE
    return quality


def sentence_starts(text: str) -> list[int]:
    """Character offsets where a sentence or paragraph begins; a full stop before a small letter ends none."""
    return [
        match.end()
        for match in _SENTENCE_END.finditer(text)
        if "\n" in match[0] or match[0][0] != "." or not text[match.end() : match.end() + 1].islower()
    ]


def _passages(cuts: _Cuts, budget: int, overlap_tokens: int) -> tuple[Span, ...]:
    overlap = max(0, min(overlap_tokens, (budget - 1) // 2))
    spans, start = [], 0
    while True:
        end = _end(cuts, start, budget)
        spans.append(Span(cuts.offset(start), cuts.offset(end)))
        if end >= cuts.t:
            return tuple(spans)
        start = _next_start(cuts, end, overlap)


def _end(cuts: _Cuts, start: int, budget: int) -> int:
    """The best cut in the second half of the budget, which is longer than any overlap."""
    last = start + budget
    if last >= cuts.t:
        return cuts.t
    first = start + budget // 2 + 1
    for quality in (_SENTENCE, _WORD, _TOKEN):
        cut = int(cuts.before[quality][last])
        if cut >= min(first, last):
            return cut
    return int(cuts.after[_TOKEN][last])


def _next_start(cuts: _Cuts, end: int, overlap: int) -> int:
    for quality in (_SENTENCE, _WORD, _TOKEN):
        cut = int(cuts.after[quality][end - overlap])
        if cut < end:
            return cut
    return end
