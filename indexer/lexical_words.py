"""How the words of a query are shown."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

import tantivy

from indexer.lexical_analyzer import MAX_TERM_BYTES, STEMMERS, analyzer_of

STOP_WORDS: Final = frozenset({"da", "de", "en", "es", "fi", "fr", "hu", "it", "nl", "no", "pt", "ru", "sv"})
REMEMBERED_WORDS: Final = 65_536


@lru_cache(maxsize=REMEMBERED_WORDS)
def shown_stem(language: str, word: str) -> str:
    """The word as it is indexed; empty for a stop word of the language, which is not worth highlighting."""
    if len(word) > MAX_TERM_BYTES:  # not indexed, and not worth remembering
        return ""
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
