"""Words that say what a text is about, and whether other texts have them too."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import pairwise, product
from typing import Final

from core.facts import words
from core.word_forms import Stem, stems

_SHORT: Final = 10  # words
_NEAR: Final = 2  # telling words from each other: "repaired the old lighthouse" has "lighthouse repaired"

# Words that say nothing of what a text is about.
_LITTLE_WORDS: Final = """
a an the is are was were be been being do does did to of in on at by for with and or but if as that this
these those it its he she they him his her their them we you your i me my there here from than then so
because can could would should will may might must have has had what which who whom whose when where why
how about into out up down over under also just only very more most such same other any some all both
each too s t is isn't not no passage text says tells
"""
_LITTLE: Final = frozenset(_LITTLE_WORDS.split())


def telling(text: str) -> list[str]:
    """Folded words that say what a text is about, in order."""
    return [word for word in words(text) if word not in _LITTLE and len(word) > 1]


def support(sentence: str, texts: Sequence[str]) -> float:
    """Share of the telling words of a sentence that occur in the texts, whatever their endings."""
    said = telling(sentence)
    return 1 - len(unsupported(sentence, texts)) / len(said) if said else 0.0


def unsupported(sentence: str, texts: Sequence[str]) -> list[str]:
    """Telling words of a sentence, in order, of which the texts have no form."""
    known = {stem for text in texts for word in telling(text) for stem in stems(word)}
    return [word for word in telling(sentence) if known.isdisjoint(stems(word))]


def doubled(text: str, source: str) -> str:
    """A word of a short source that a text says again in the place of another one; "" if there is none.

    "The thief arrested the thief" of "The police arrested the thief". In long sentences people do so too.
    """
    if len(words(source)) > _SHORT or not unsupported(source, [text]):
        return ""
    told = Counter(telling(source))
    said = Counter(telling(text))
    return next((word for word, count in told.items() if word.isalpha() and said[word] > count), "")


def phrases(sentence: str, texts: Sequence[str]) -> float:
    """Share of pairs of neighbouring telling words that are near each other in a text; 1 of no pair."""
    said = list(pairwise(telling(sentence)))
    by_stem: dict[Stem, set[str]] = {}
    for word in {word for pair in said for word in pair}:
        for stem in stems(word):
            by_stem.setdefault(stem, set()).add(word)
    near = {frozenset(pair) for text in texts for pair in _near_pairs(text, by_stem)}
    return sum(frozenset(pair) in near for pair in said) / len(said) if said else 1.0


def _near_pairs(text: str, by_stem: dict[Stem, set[str]]) -> Iterator[tuple[str, str]]:
    """Pairs of words of a sentence, known by their stems, that have forms near each other in a text."""
    told = [{said for stem in stems(word) for said in by_stem.get(stem, ())} for word in telling(text)]
    for far in range(1, _NEAR + 1):
        for one, other in zip(told, told[far:], strict=False):
            yield from product(one, other)
