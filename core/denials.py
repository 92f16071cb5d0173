"""Whether two texts agree in that they deny something."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Final

from core.facts import words
from core.telling_words import telling
from core.word_forms import Stem, stems

_DENIALS: Final = frozenset(
    (
        "no", "not", "never", "none", "nothing", "nobody", "nowhere", "neither", "nor", "cannot", "without",
        "ain't", "isnt", "arent", "wasnt", "werent", "dont", "doesnt", "didnt", "couldnt", "wouldnt",
        "shouldnt", "hasnt", "havent", "hadnt", "cant", "wont",
        "aint", "mustnt", "neednt",
    )
)  # fmt: skip
_GOES_ON: Final = "nor"
_NO_DENIALS: Final = re.compile(r"\bnot only\b|\bor not\b|\bnothing but\b|\bno\. ?\d", re.IGNORECASE)
# These say as much as a denial, and are none.
_AS_MUCH: Final = frozenset(
    (
        "unable", "hardly", "rarely", "barely", "seldom", "scarcely", "fail", "fails", "failed", "refuse",
        "refuses", "refused", "lack", "lacks", "lacked", "ban", "bans", "banned", "reject", "rejects",
        "rejected", "impossible",
    )
)  # fmt: skip
# Almost denials: who loses one of these says the opposite, unless one of the words below tells as much.
_SELDOM: Final = frozenset(("hardly", "rarely", "barely", "seldom", "scarcely"))
_LITTLE: Final = _SELDOM | frozenset(
    (
        "few", "little", "almost", "nearly", "hard", "difficult", "difficulty", "rare", "uncommon", "unusual",
        "infrequent", "infrequently", "sometimes", "occasionally", "just", "narrowly", "short",
    )
)  # fmt: skip
_AS_MUCH_TOGETHER: Final = re.compile(
    r"\b(?:instead of|rather than|far from|yet to|(?:very|too) little)\b"
    r"|\b(?:against|stop|stops|stopped|quit) \w+ing\b|(?<!\ba )\bfew\b",
    re.IGNORECASE,
)
_PREFIXES: Final = ("un", "in", "im", "ir", "dis", "non", "non-")
_SHORTEST: Final = 4  # letters behind a prefix that denies: "into" and "unit" deny nothing
# Words that begin like such a one, and deny nothing.
_NO_OPPOSITES: Final = frozenset(
    (
        "discount", "discourse", "discover", "discharge", "disease", "dismiss", "display",
        "dispose", "impart", "import", "impress", "improve", "income", "increase", "indeed",
        "indoor", "inform", "inland", "input", "inside", "inspire", "install", "instance",
        "instead", "intend", "intense", "intent", "invent", "invest", "involve", "under",
        "unless",
    )
)  # fmt: skip
_NO_OPPOSITE_STEMS: Final = frozenset(stem for word in _NO_OPPOSITES for stem in stems(word))
_REACH: Final = 4  # words behind a denial of which one is denied: "not at all safe"
_CLAUSE_END: Final = re.compile(
    r"[;:—]|\s[–-]\s|[.!?](?=\s|$)|\b(?:but|although|though|while|whereas|however)\b", re.IGNORECASE
)


def denials(text: str) -> int:
    """How often a text denies: not, never, n't and their like; "nor" goes on with another denial."""
    found = [word for word in words(_NO_DENIALS.sub(" ", text)) if _is_denial(word)]
    return len(found) - found.count(_GOES_ON) or min(1, len(found))


def disagree(one: str, other: str) -> bool:
    """Whether one of two texts denies something and the other nothing.

    A text that says "unmarried" or "unable" agrees with one that says "not married" or "not able".
    """
    return bool(denials(one)) != bool(denials(other)) and differ_in_denials(one, other)


def differ_in_denials(one: str, other: str) -> bool:
    """Whether one of two texts denies more often than the other, and has no word that says as much.

    Where they deny as often, one may still say "unsafe" and the other "safe", or "hardly" and the other not.
    """
    more, fewer = sorted((one, other), key=denials, reverse=True)
    if denials(more) == denials(fewer):
        is_opposite = _count_opposites(one, other) != _count_opposites(other, one)
        return is_opposite or _loses_seldom(one, other) or _loses_seldom(other, one)
    return not _says_as_much(fewer, more)


def says_denied(text: str, source: str) -> bool:
    """Whether a text that denies nothing has a telling word that stands behind a denial in its source."""
    if denials(text) or not disagree(source, text):
        return False
    denied, _, _ = _stems_by_denial(source)
    return not denied.isdisjoint(_stems(text))


def affirms(text: str, source: str) -> bool:
    """Whether a text that denies nothing says what its source denies.

    It does not where it has a telling word that only a clause without denial has, and none that stands behind
    a denial: "Aspirin lowers fever" of "Aspirin does not prevent it, but lowers fever".
    """
    if denials(text) or not differ_in_denials(source, text):
        return False
    if not denials(source):
        return True
    _, denying, plain = _stems_by_denial(source)
    rests_elsewhere = any(not stems(word).isdisjoint(plain - denying) for word in telling(text))
    return not rests_elsewhere or says_denied(text, source)


def _stems_by_denial(text: str) -> tuple[set[Stem], set[Stem], set[Stem]]:
    """Of the words behind denials in their clauses, of clauses that deny, and of the others."""
    denied: set[Stem] = set()
    denying: set[Stem] = set()
    plain: set[Stem] = set()
    for clause in _CLAUSE_END.split(_NO_DENIALS.sub(" ", text)):
        told = words(clause)
        if not (places := _places(told)):
            plain |= _stems(clause)
            continue
        denying |= _stems(clause)
        denied |= _stems(" ".join(told[places[0] + 1 :])) or _stems(clause)
    return denied, denying, plain


def _stems(text: str) -> set[Stem]:
    return {stem for word in telling(text) for stem in stems(word)}


def _says_as_much(plain: str, denying: str) -> bool:
    """Whether a text has a word of its own for what another one denies."""
    if _AS_MUCH_TOGETHER.search(plain) and not _AS_MUCH_TOGETHER.search(denying):
        return True
    told = words(denying)
    denied = {word for place in _places(told) for word in told[place + 1 : place + 1 + _REACH]}
    new = set(words(plain)).difference(told)
    return not new.isdisjoint(_AS_MUCH) or any(map(_is_opposite_of(denied), new))


def _loses_seldom(text: str, other: str) -> bool:
    return not _SELDOM.isdisjoint(words(text)) and _LITTLE.isdisjoint(words(other))


def _count_opposites(text: str, other: str) -> int:
    """How many words of a text are words of another one behind a prefix that denies, both in one alone."""
    said, told = set(words(text)), set(words(other))
    return sum(map(_is_opposite_of(told - said), said - told))


def _is_opposite_of(denied: set[str]) -> Callable[[str], bool]:
    """Tells whether a word is one of those denied behind a prefix that denies."""
    denied_stems = {stem for word in denied for stem in stems(word)}

    def is_opposite(word: str) -> bool:
        rests = [word.removeprefix(prefix) for prefix in _PREFIXES if word.startswith(prefix)]
        is_one = any(len(rest) >= _SHORTEST and not denied_stems.isdisjoint(stems(rest)) for rest in rests)
        return is_one and _NO_OPPOSITE_STEMS.isdisjoint(stems(word))

    return is_opposite


def _places(told: Sequence[str]) -> list[int]:
    """Of the words that deny."""
    return [place for place, word in enumerate(told) if _is_denial(word)]


def _is_denial(word: str) -> bool:
    return word in _DENIALS or word.endswith(("n't", "n’t"))
