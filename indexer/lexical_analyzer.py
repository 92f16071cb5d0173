"""How text becomes terms: one analyzer a language, the same for passages and queries."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from typing import Final

import tantivy

from core.errors import InvalidInput

STEMMERS: Final = {
    "ar": "arabic",
    "da": "danish",
    "de": "german",
    "el": "greek",
    "en": "english",
    "es": "spanish",
    "fi": "finnish",
    "fr": "french",
    "hu": "hungarian",
    "it": "italian",
    "nb": "norwegian",
    "nl": "dutch",
    "nn": "norwegian",
    "no": "norwegian",
    "pt": "portuguese",
    "ro": "romanian",
    "ru": "russian",
    "sv": "swedish",
    "ta": "tamil",
    "tr": "turkish",
}
SECOND_LETTERS: Final = {  # of the codes of ISO 639-1, by their first letter
    "a": "abefkmnrsvyz",
    "b": "aeghimnors",
    "c": "aehorsuvy",
    "d": "aevz",
    "e": "elnostu",
    "f": "afijory",
    "g": "adlnuv",
    "h": "aeiortuyz",
    "i": "adegikostu",
    "j": "av",
    "k": "agijklmnorsuvwy",
    "l": "abginotuv",
    "m": "ghiklnrsty",
    "n": "abdeglnorvy",
    "o": "cjmrs",
    "p": "ailst",
    "q": "u",
    "r": "mnouw",
    "s": "acdegiklmnoqrstuvw",
    "t": "aeghiklnorstwy",
    "u": "gkrz",
    "v": "eio",
    "w": "ao",
    "x": "h",
    "y": "io",
    "z": "ahu",
}
LANGUAGES: Final = frozenset(
    first + second for first, seconds in SECOND_LETTERS.items() for second in seconds
)
DOTTED_I: Final = frozenset({"az", "tr"})  # languages in which I is not the capital of i

MAX_TERM_BYTES: Final = 256
WORD: Final = r"[\p{L}\p{M}\p{N}]+"
# Runs of scripts written without spaces. Han, kana and hangul become single characters and pairs; the
# alphabets of Thai, Lao, Burmese and Khmer, whose single letters say little, pairs and triples.
UNSPACED: Final = re.compile(
    "([\u2e80-\u2fdf\u3005-\u3007\u3040-\u30fa\u30fc-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff"
    "\U00020000-\U0003ffff]+)|([\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff]+)"
)


def check_language(code: str) -> None:
    """Raises InvalidInput if `code` is not a language of ISO 639-1 in lower case."""
    if code not in LANGUAGES:
        raise InvalidInput(
            f"Language {code!r} is not known; give a two-letter code of ISO 639-1 in lower case. Words are "
            f"stemmed in {', '.join(sorted(STEMMERS))}; every other language is searched by whole words, and "
            "scripts without spaces by their characters"
        )


class Analyzer:
    """Lower-cased, stemmed words of one language; see `check_language` for the languages.

    Words are runs of letters, marks and digits after Unicode normalisation (NFKC); longer ones than 256
    bytes are left out. Safe for many threads.
    """

    def __init__(self, language: str) -> None:
        check_language(language)
        self.language = language
        builder = tantivy.TextAnalyzerBuilder(tantivy.Tokenizer.regex(WORD))
        builder = builder.filter(tantivy.Filter.remove_long(MAX_TERM_BYTES))
        builder = builder.filter(tantivy.Filter.lowercase())
        if language in STEMMERS:
            builder = builder.filter(tantivy.Filter.stemmer(STEMMERS[language]))
        self.tantivy = builder.build()

    def prepare(self, text: str) -> str:
        """The text as tantivy is to read it: valid UTF-8, normalised, unspaced scripts cut into grams."""
        if self.language in DOTTED_I:
            text = text.replace("I", "ı").replace("İ", "i")
        if text.isascii():
            return text
        valid = text.encode("utf-8", "replace").decode("utf-8")
        return UNSPACED.sub(_grams, unicodedata.normalize("NFKC", valid))

    def terms(self, text: str) -> list[str]:
        """The terms of a text in order, with repetitions."""
        return self.tantivy.analyze(self.prepare(text))


@lru_cache(maxsize=32)
def analyzer_of(language: str) -> Analyzer:
    """The analyzer of a language, made once. Raises InvalidInput for a language that is not known."""
    return Analyzer(language)


def _grams(match: re.Match[str]) -> str:
    run, least = match.group(), 1 if match.group(1) else 2
    if len(run) <= least:
        return f" {run} "
    sizes = (least, least + 1)
    grams = [run[start : start + size] for size in sizes for start in range(len(run) - size + 1)]
    return f" {' '.join(grams)} "
