"""What of a text can be checked without understanding it: its names, what it quotes, what it says again."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise

from core.sentence_openers import is_opener, is_surely_opener
from core.word_forms import Stem, stems

_WORD = re.compile(r"[^\W\d_]+(?:['’.-][^\W\d_]+)*")
# Between letters they are all typed or set for one: "don´t", "don`t", "donʼt".
_APOSTROPHE = re.compile(r"(?<=[^\W\d_])[`´ʹʼ‘’‛′＇](?=[^\W\d_])")
_OPENING = "\"'“”‘’«»([{¿¡*- \t"  # may stand between the beginning of a sentence and its first word
_CLOSING = "\"'”’»)]"  # may stand behind the mark that ends a sentence
_SENTENCE_ENDS = frozenset(".!?…:;|\n")
_QUOTED = re.compile(r"\"([^\"]{2,})\"|“([^”]{2,})”|«([^»]{2,})»|`([^`]{2,})`")
_NOT_NAMES = frozenset({"i", "i'm", "i'll", "i've", "i'd", "ok", "tv", "mr", "mrs", "ms", "dr", "st"})
_POSSESSIVE = re.compile(r"['’]s?$")
_SHORTENED = re.compile(r"['’](?:s|ll|d|ve|re|m)?$", re.IGNORECASE)
_SHOUTING = 0.6  # share of capitalised words from which capitals say nothing of names
_FEW_WORDS = 4  # of which capitals may well be names


def names(text: str) -> dict[str, str]:
    """Folded name -> how it is written: capitalised words, and words like NASA.

    Of words that begin a sentence those that begin sentences often are left out. None where most words are
    capitalised: then capitals say nothing of names.
    """
    return dict(_inner_names(text)) | dict(_opening_names(text))


def _inner_names(text: str) -> list[tuple[str, str]]:
    """(folded, written) of names that are told by capitals where no sentence begins."""
    return [_named(word) for word, begins in _capitalised(text) if not begins or _is_odd(word)]


def _opening_names(text: str) -> list[tuple[str, str]]:
    """(folded, written) of words that begin a sentence and are not those that often do."""
    return [(name, written) for name, written in _openings(text) if not is_opener(name)]


def _openings(text: str) -> list[tuple[str, str]]:
    found = [_named(word) for word, begins in _capitalised(text) if begins and not _is_odd(word)]
    return [(name, written) for name, written in found if len(name) > 1]


def _capitalised(text: str) -> list[tuple[str, bool]]:
    """Words that may be names, and whether they begin a sentence."""
    words = [(match.start(), match.group()) for match in _WORD.finditer(straight(text))]
    capitals = sum(word[0].isupper() for _, word in words)
    if len(words) >= _FEW_WORDS and capitals > _SHOUTING * len(words):
        return []
    return [
        (word, _begins_sentence(text[:start]))
        for start, word in words
        if (word[0].isupper() or _is_odd(word)) and folded(word) not in _NOT_NAMES
    ]


def _named(word: str) -> tuple[str, str]:
    written = _SHORTENED.sub("", word)
    return folded(written), written


def _is_odd(word: str) -> bool:
    """Whether its capitals make it a name wherever it stands: iPhone, McDonald, NASA."""
    if word.isupper():
        return len(word) > 1
    return any(letter.isupper() for letter in word[1:])


def _begins_sentence(before: str) -> bool:
    before = before.rstrip(_OPENING).rstrip(_CLOSING)
    return not before or before[-1] in _SENTENCE_ENDS


def quotes(text: str) -> list[str]:
    """What stands between quotation marks."""
    return [next(part for part in match.groups() if part) for match in _QUOTED.finditer(text)]


def words(text: str) -> list[str]:
    """Folded words and numbers, in order."""
    return [folded(match.group()) for match in re.finditer(r"[^\W_]+(?:['’-][^\W_]+)*", straight(text))]


def straight(text: str) -> str:
    """The text, of the same length, with one kind of apostrophe within words."""
    return text if text.isascii() and "`" not in text else _APOSTROPHE.sub("'", text)


def folded(word: str) -> str:
    """A word without case, accents and a possessive ending."""
    plain = unicodedata.normalize("NFKD", _POSSESSIVE.sub("", word).casefold())
    return "".join(letter for letter in plain if not unicodedata.combining(letter))


def squeezed(text: str) -> str:
    """A text as its folded words alone: what two texts share if they are the same but for marks and case."""
    return " ".join(words(text))


def missing_names(wanted: str, texts: Sequence[str]) -> list[str]:
    """Names of `wanted` that occur as words in none of the texts, as they are written."""
    return list(dict.fromkeys((*missing_inner_names(wanted, texts), *_missing_opening_names(wanted, texts))))


def missing_inner_names(wanted: str, texts: Iterable[str]) -> list[str]:
    """The same of names that are told by capitals where no sentence begins."""
    known = _known(texts)
    return [written for name, written in dict(_inner_names(wanted)).items() if not _occurs(name, known)]


def _missing_opening_names(wanted: str, texts: Sequence[str]) -> list[str]:
    """The same of words that begin a sentence: others too ("Dogs"), which may occur in another form."""
    openings = {name: written for name, written in _openings(wanted) if not is_surely_opener(name)}
    if not openings:
        return []
    known, common = _known(texts), {stem for text in texts for stem in _common_stems(text)}
    return [
        written
        for name, written in openings.items()
        if common.isdisjoint(stems(name))
        and not any(_occurs(form, known) for form in (name, f"{name}s", name.removesuffix("s")))
    ]


def _common_stems(text: str) -> Iterator[Stem]:
    """Of words that are written without a capital."""
    for match in _WORD.finditer(straight(text)):
        if match.group()[0].islower():
            yield from stems(folded(match.group()))


def _known(texts: Iterable[str]) -> set[str]:
    return {word for text in texts for word in _all_words(text)}


def _occurs(name: str, known: set[str]) -> bool:
    return name in known or _parts(name) <= known


def new_words(text: str, texts: Iterable[str]) -> list[str]:
    """Words of letters alone, four of them or more, that occur in none of the texts."""
    known = {word for one in texts for word in words(one)}
    return [word for word in words(text) if word.isalpha() and len(word) > 3 and word not in known]


def stutter(text: str, source: str) -> str:
    """What a text says twice in a row, or in four words again, and its source does not; "" if nothing."""
    told, padded = words(text), f" {squeezed(source)} "
    for word, following in pairwise(told):
        is_number = not word.strip("0")  # a part of it: 5,000,000
        if word == following and not is_number and f" {word} {word} " not in padded:
            return f"{word} {word}"
    counts = Counter(zip(told, told[1:], told[2:], told[3:], strict=False))
    for phrase, count in counts.items():
        if count > 1 and count > padded.count(f" {' '.join(phrase)} "):
            return " ".join(phrase)
    return ""


def _all_words(text: str) -> set[str]:
    found = set(words(text)) | {folded(match.group()) for match in _WORD.finditer(straight(text))}
    return found | {part for word in found for part in _parts(word)}


def _parts(word: str) -> set[str]:
    return {part for part in re.split(r"['’.-]", word) if part}
