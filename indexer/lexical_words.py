"""How words of queries and of passages are shown."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

import tantivy

from indexer.lexical_analyzer import DOTTED_I, MAX_TERM_BYTES, STEMMERS, WORD, analyzer_of

STOP_WORDS: Final = frozenset({"da", "de", "en", "es", "fi", "fr", "hu", "it", "nl", "no", "pt", "ru", "sv"})
REMEMBERED_WORDS: Final = 65_536
# Their stems may begin otherwise than words of English letters: gewerkt is werk, Muenchen munch, IP ıp.
OTHER_BEGINNINGS: Final = frozenset({"de", "fi", "nl"}) | DOTTED_I


@lru_cache(maxsize=REMEMBERED_WORDS)
def shown_stem(language: str, word: str) -> str:
    """The word as it is indexed; empty for a stop word of the language, which is not worth highlighting."""
    if len(word) > MAX_TERM_BYTES:  # not indexed, and not worth remembering
        return ""
    return " ".join(_shown(language).analyze(analyzer_of(language).prepare(word)))


def keeps_beginnings(language: str) -> bool:
    """Whether stems begin as words of English letters do, but for those that core.highlighting knows."""
    return language not in OTHER_BEGINNINGS


def shown_words(language: str, text: str) -> list[tuple[str, str]]:
    """(stem, word as it is written) of each word in order, without stop words and single letters.

    Scripts without spaces give pairs of characters.
    """
    words = _written().analyze(analyzer_of(language).prepare(text))
    pairs = ((shown_stem(language, word), word) for word in words if len(word) > 1)
    return [(stem, word) for stem, word in pairs if stem]


@lru_cache(maxsize=1)
def _written() -> tantivy.TextAnalyzer:
    """Words in their own spelling."""
    builder = tantivy.TextAnalyzerBuilder(tantivy.Tokenizer.regex(WORD))
    return builder.filter(tantivy.Filter.remove_long(MAX_TERM_BYTES)).build()


@lru_cache(maxsize=32)
def _shown(language: str) -> tantivy.TextAnalyzer:
    """Words of text that `prepare` made: without stop words, stemmed."""
    builder = tantivy.TextAnalyzerBuilder(tantivy.Tokenizer.regex(WORD)).filter(tantivy.Filter.lowercase())
    if language in STOP_WORDS:
        builder = builder.filter(tantivy.Filter.stopword(STEMMERS[language]))
    if language in STEMMERS:
        builder = builder.filter(tantivy.Filter.stemmer(STEMMERS[language]))
    return builder.build()
