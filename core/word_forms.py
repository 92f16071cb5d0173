"""Whether two English words are forms of one, told by their endings."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

Stem = tuple[int, str]  # which endings it may have, and what stands before them

# Endings that forms of one word may have, behind the fewest letters that must stand before them. "e" and
# nothing never stand together: "plan" is no form of "plane".
_FORMS: Final = (
    (3, ("", "s", "es", "ed", "ing")),
    (2, ("e", "es", "ed", "ing")),
    (3, ("y", "ies", "ied")),
    (4, ("", "ful", "ness")),
    (4, ("e", "er", "ers")),
    (4, ("y", "ily", "ier", "iest")),
    (5, ("", "s", "ly", "al", "ally", "ity", "ment", "ments", "fully")),
    (5, ("", "s", "ed", "ing", "er", "ers", "or", "ors", "ion", "ions", "ive", "able", "ation", "ations")),
    (5, ("e", "es", "ed", "ing", "er", "ers", "or", "ors", "ion", "ions", "ive", "able", "ation", "ations")),
    (5, ("ant", "ance", "antly")),
    (5, ("ent", "ence", "ently")),
    (5, ("is", "es", "e", "ed", "ing")),
)
_DOUBLED: Final = ("ed", "ing", "er", "ers")  # endings before which a consonant may be doubled
_REMEMBERED: Final = 8192


@lru_cache(maxsize=_REMEMBERED)
def stems(word: str) -> frozenset[Stem]:
    """What a folded word may be without its ending; forms of one word have one of these in common."""
    found: set[Stem] = {(-1, word)}
    for kind, (least, endings) in enumerate(_FORMS):
        for ending in endings:
            stem = word.removesuffix(ending)
            if len(stem) < least or not word.endswith(ending):
                continue
            found.add((kind, stem))
            if ending in _DOUBLED and len(stem) > least and stem[-1] == stem[-2]:
                found.add((kind, stem[:-1]))
    return frozenset(found)


def are_forms(one: str, other: str) -> bool:
    """Whether two folded words differ at most in their endings, as "walks" and "walked" do."""
    return not stems(one).isdisjoint(stems(other))
