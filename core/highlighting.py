"""Where words of a query stand in a passage."""

from __future__ import annotations

import re
from collections.abc import Callable

from core.types import Span

WORD = re.compile(r"[^\W_]+")
Stem = Callable[[str], str]


def query_stems(query: str, stem: Stem) -> frozenset[str]:
    """Stems of the words of the query; none of words that the collection's language leaves out."""
    return frozenset(found for word in WORD.findall(query) if (found := stem(word)))


def highlights(text: str, stems: frozenset[str], stem: Stem) -> tuple[Span, ...]:
    """Words of the text whose stem is one of `stems`, as character offsets, in order."""
    if not stems:
        return ()
    words = {word for word in set(WORD.findall(text)) if stem(word) in stems}
    if not words:
        return ()
    return tuple(Span(*match.span()) for match in WORD.finditer(text) if match.group() in words)
