"""Where words of a query stand in a passage."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache

from core.types import Span

ASCII_WORD = re.compile(r"[^\W_]+")
# Where combining marks are: of most scripts, of rare ones.
MARKS, RARE_MARKS = (range(0x10000),), (range(0x10000, 0x20000), range(0xE0100, 0xE01F0))
Stem = Callable[[str], str]
# Stems that begin otherwise than some of their words: dying, lying, tying.
OTHER_BEGINNINGS = {"die": "dy", "lie": "ly", "tie": "ty"}


def query_stems(query: str, stem: Stem) -> frozenset[str]:
    """Stems of the words of the query; none of words that the collection's language leaves out.

    A run of a script without spaces has no stem but parts, which are all given; see `highlights`.
    """
    return frozenset(part for word in words().findall(query) for part in _parts(stem(word)))


def highlights(
    text: str, stems: frozenset[str], stem: Stem, keeps_beginnings: bool = False
) -> tuple[Span, ...]:
    """Words of the text whose stem is one of `stems`, as character offsets, in order.

    Of a run of letters that has several parts (`stem` gives them with spaces between), those parts that are
    among `stems`. Where a stem `keeps_beginnings` of words of English letters, only those words are looked
    at that begin as one of `stems` does, in two or three letters, which is much faster.
    """
    # Stems of other letters may begin otherwise: haus of Häuser.
    if not (keeps_beginnings and text.isascii()):
        return tuple(span for match in words().finditer(text) for span in _within(match, stems, stem))
    lowered = text.lower()
    beginnings = {one[: _beginning(one)] for one in stems} | {
        OTHER_BEGINNINGS[one] for one in stems & OTHER_BEGINNINGS.keys()
    }
    found = {span for start in beginnings for span in _words(start, lowered)}
    spans = [Span(start, end) for start, end in sorted(found) if stem(text[start:end]) in stems]
    return tuple(spans)


@cache
def words() -> re.Pattern[str]:
    """Runs of letters, digits and marks, as words are indexed: vowel signs and accents of their own, too."""
    # Few letters may be rare marks; to look for them among these takes ten times as long as all else.
    rare = f"(?=[\U00010000-\U000e01ef])[{_marks(RARE_MARKS)}]"
    return re.compile(rf"(?:[^\W_]+|[{_marks(MARKS)}]+|{rare})+")


def _marks(codes: Iterable[range]) -> str:
    letters = (chr(code) for some in codes for code in some)
    return "".join(letter for letter in letters if unicodedata.category(letter)[0] == "M")


def _parts(stemmed: str) -> Iterable[str]:
    """What to look for of a word: itself, or of several parts the words and the longest of the others."""
    parts = stemmed.split()
    longest = max((len(part) for part in parts if not part.isascii()), default=0)
    return (part for part in parts if part.isascii() or len(part) == longest)


def _within(match: re.Match[str], stems: frozenset[str], stem: Stem) -> Iterator[Span]:
    """The word, if its stem is one of `stems`, or the places of those of its parts that are."""
    word, first = match.group(), match.start()
    stemmed = stem(word)
    if " " not in stemmed:
        if stemmed in stems:
            yield Span(first, match.end())
        return
    indexed, origins = _indexed(word)
    parts = stems.intersection(stemmed.split())
    places = {
        (origins[begin].start, origins[end - 1].end)
        for part in parts
        for begin, end in _places(part, indexed)
    }
    start = stop = -1
    for begin, end in sorted(places):
        if begin > stop >= 0:
            yield Span(first + start, first + stop)
        start = begin if begin > stop or stop < 0 else start
        stop = max(stop, end)
    if stop >= 0:
        yield Span(first + start, first + stop)


def _indexed(word: str) -> tuple[str, Sequence[Span]]:
    """The word in the normal form NFKC and lower case, and of each of its letters which ones it comes from.

    İ becomes two; a letter and a mark, a syllable of hangul or a kana of half width become one.
    """
    pieces = _pieces(word)
    forms = [unicodedata.normalize("NFKC", word[one.start : one.end]).lower() for one in pieces]
    return "".join(forms), [piece for piece, form in zip(pieces, forms, strict=True) for _ in form]


def _pieces(word: str) -> list[Span]:
    """The shortest parts of which each has a normal form of its own."""
    if unicodedata.is_normalized("NFKC", word):
        return [Span(i, i + 1) for i in range(len(word))]
    pieces = [Span(0, 1)]
    for i, letter in enumerate(word[1:], start=1):
        before = word[pieces[-1].start : i]
        forms = (unicodedata.normalize("NFKC", one) for one in (before, letter))
        if unicodedata.normalize("NFKC", before + letter) == "".join(forms):
            pieces.append(Span(i, i + 1))
        else:
            pieces[-1] = Span(pieces[-1].start, i + 1)
    return pieces


def _places(part: str, text: str) -> Iterator[tuple[int, int]]:
    start = text.find(part)
    while start >= 0:
        yield start, start + len(part)
        start = text.find(part, start + 1)


def _beginning(stem: str) -> int:
    """How many letters words keep when they are stemmed: sky and skies have two in common."""
    return max(2, min(3, len(stem) - 1))


def _words(beginning: str, text: str) -> Iterator[tuple[int, int]]:
    """Where words stand that begin so."""
    start = text.find(beginning)
    while start >= 0:
        if not text[start - 1 : start].isalnum() and (word := ASCII_WORD.match(text, start)):
            yield word.span()
        start = text.find(beginning, start + 1)
