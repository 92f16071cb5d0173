"""Where words of a query stand in a passage."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from core.types import Span

WORD = re.compile(r"[^\W_]+")
Stem = Callable[[str], str]


def query_stems(query: str, stem: Stem) -> frozenset[str]:
    """Stems of the words of the query; none of words that the collection's language leaves out."""
    return frozenset(found for word in WORD.findall(query) if (found := stem(word)))


def highlights(text: str, stems: frozenset[str], stem: Stem) -> tuple[Span, ...]:
    """Words of the text whose stem is one of `stems`, as character offsets, in order.

    Of English letters, only words are looked at that begin as a stem does, in two or three letters.
    """
    if not text.isascii():  # stems of other letters may begin otherwise: haus of Häuser
        every = (match.span() for match in WORD.finditer(text))
        return tuple(Span(start, end) for start, end in every if stem(text[start:end]) in stems)
    lowered = text.lower()
    found = {span for start in {one[: _beginning(one)] for one in stems} for span in _words(start, lowered)}
    spans = [Span(start, end) for start, end in sorted(found) if stem(text[start:end]) in stems]
    return tuple(spans)


def _beginning(stem: str) -> int:
    """How many letters words keep when they are stemmed: sky and skies have two in common."""
    return max(2, min(3, len(stem) - 1))


def _words(beginning: str, text: str) -> Iterator[tuple[int, int]]:
    """Where words stand that begin so."""
    start = text.find(beginning)
    while start >= 0:
        if not text[start - 1 : start].isalnum() and (word := WORD.match(text, start)):
            yield word.span()
        start = text.find(beginning, start + 1)
