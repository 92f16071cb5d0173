"""What single words of a query are worth, and how words are shown."""

from __future__ import annotations

import math
from collections import Counter
from functools import lru_cache
from typing import Final

import tantivy

from indexer.lexical_analyzer import STEMMERS, analyzer_of
from indexer.lexical_view import MAX_QUERY_CHARACTERS

K1: Final = 1.2  # of BM25, as tantivy has it
STOP_WORDS: Final = frozenset({"da", "de", "en", "es", "fi", "fr", "hu", "it", "nl", "no", "pt", "ru", "sv"})
REMEMBERED_WORDS: Final = 65_536


def perfect_score(searcher: tantivy.Searcher, language: str, text: str) -> float:
    """The BM25 that no passage exceeds: sum of idf * (k1 + 1) over the words of the text that occur at all.

    A word's share in BM25 grows with its count in the passage towards idf * (k1 + 1).
    """
    counts = Counter(analyzer_of(language).terms(text[:MAX_QUERY_CHARACTERS]))
    n, total = searcher.num_docs, 0.0
    for term, count in counts.items():
        found = searcher.doc_freq("text", term)
        if found:
            total += count * math.log1p(max(n - found + 0.5, 0.5) / (found + 0.5))
    return (K1 + 1) * total


@lru_cache(maxsize=REMEMBERED_WORDS)
def shown_stem(language: str, word: str) -> str:
    """The word as it is indexed; empty for a stop word of the language, which is not worth highlighting."""
    return " ".join(_shown(language).analyze(analyzer_of(language).prepare(word)))


@lru_cache(maxsize=32)
def _shown(language: str) -> tantivy.TextAnalyzer:
    """Words of text that `prepare` made: without stop words, stemmed."""
    builder = tantivy.TextAnalyzerBuilder(tantivy.Tokenizer.simple()).filter(tantivy.Filter.lowercase())
    if language in STOP_WORDS:
        builder = builder.filter(tantivy.Filter.stopword(STEMMERS[language]))
    if language in STEMMERS:
        builder = builder.filter(tantivy.Filter.stemmer(STEMMERS[language]))
    return builder.build()
