"""Slips of the tongue: what a speaker takes back with "no wait" or "I mean" before saying what is meant."""

from __future__ import annotations

import re
from bisect import bisect_left
from typing import Final

MOST_WORDS_BACK: Final = 10  # that one sign takes back; by people's rewrites more need not be

_CLEAR: Final = "i mean|i meant|i guess|make that|scratch that|forget that|excuse me|hold on|oops|nope"
_FILLERS: Final = "u+h+m*|u+m+|h+m+|o+h+|a+h+|u+g+h+|(?-i:er+m?)"  # ER is a place
_ORDINARY: Final = "no|wait|sorry|rather|actually|pardon|instead|well|or"
_SIGN = re.compile(
    rf"\b(?:(?P<clear>{_CLEAR})|(?P<filler>{_FILLERS})|(?P<ordinary>{_ORDINARY}))\b", re.IGNORECASE
)
_AFTER_OR: Final = ("no", "well", "instead")  # "with sugar or no sugar" repairs nothing
_BETWEEN_SIGNS = re.compile(r"[\s,.…—–-]*")
_BREAK = re.compile(r"(?:,|…|—|–|\.\.\.|\s-)\s*$")
_LOOK_BACK: Final = 8  # characters in which a break stands before a sign
# What follows an "uh", "no" or "sorry" that corrects: a name, a number, or a word that begins a new try.
_NEW_TRY = re.compile(
    r"[\s,]+(?:[^\W\d_a-z]|\d|(?:a|an|the|i|it|its|he|she|they|we|you|not|what|when|where|which|who|whom|whose"
    r"|why|how|is|are|was|were|do|does|did|can|could|in|on|at|of|by|to|from|with|and|tell|this|these)\b)"
)
_GOES_ON = re.compile(
    r"(?:no\s+(?:more|less|fewer|longer|later)|(?:rather|instead|sorry)\s+(?:than|of|for|about|that))\b",
    re.IGNORECASE,
)
_FELT = re.compile(r"\b(?:feel|feels|feeling|felt|say|says|said|saying|so|very|am|is|are|be|was|were)\s+$")
_WORD = re.compile(r"\S+")
# A "no" that denies for sure; by any other a speaker may mean that the words before it were wrong.
_SURE_NO: Final = re.compile(
    r"\b(?:there|is|are|was|were|has|have|had|with|there's) no\b|\bno (?:one|longer|more|less)\b",
    re.IGNORECASE,
)
_SLIP: Final = re.compile(r"\b(?:no(?:pe)?|(?:no )?not that|cancel that|never mind)\b", re.IGNORECASE)


def without_repaired(text: str) -> str:
    """What of a text stands: without the signs of repair and the words before them that they take back."""
    found = signs(text)
    if not found:
        return text
    words = list(_WORD.finditer(text))
    starts = [word.start() for word in words]
    taken_back: set[int] = set()
    for start, end in found:
        first = max(0, bisect_left(starts, start) - MOST_WORDS_BACK)
        taken_back.update(range(first, bisect_left(starts, end)))
    return " ".join(word.group() for place, word in enumerate(words) if place not in taken_back)


def without_signs(text: str) -> str:
    """A text without the signs of repair, whose "no" denies nothing."""
    return " ".join(_between(text, signs(text)))


def tries_of(text: str) -> list[str]:
    """What a speaker says between signs of repair, or words that may be one, as "no" often is."""
    sure = [match.span() for match in _SURE_NO.finditer(text)]
    slips = [
        match.span()
        for match in _SLIP.finditer(text)
        if not any(start <= match.start() < end for start, end in sure)
    ]
    return _between(text, sorted(signs(text) + slips))


def _between(text: str, spans: list[tuple[int, int]]) -> list[str]:
    parts, end = [], 0
    for start, following in spans:
        parts.append(text[end:start])
        end = max(end, following)
    return [*parts, text[end:]]


def signs(text: str) -> list[tuple[int, int]]:
    """Where a text takes something back, as (start, end).

    "I mean" and its like always do. Other words do beside another sign ("or" before it alone); all but "or",
    "well" and fillers behind a comma or a dash; "uh", "no" and "sorry" before a name, a number or a new try.
    """
    found = list(_SIGN.finditer(text))
    return [match.span() for place, match in enumerate(found) if _is_repair(text, found, place)]


def _is_repair(text: str, found: list[re.Match[str]], place: int) -> bool:
    match = found[place]
    if match["clear"]:
        return True
    if place > 0 and _is_beside(text, found[place - 1], match):
        return True
    if place + 1 < len(found) and _is_beside(text, match, found[place + 1]):
        return True
    return not _GOES_ON.match(text, match.start()) and _stands_alone(text, match)


def _is_beside(text: str, one: re.Match[str], other: re.Match[str]) -> bool:
    first, second = one.group().lower(), other.group().lower()
    if second == "or" or (first == "or" and second in _AFTER_OR):
        return False
    return _BETWEEN_SIGNS.fullmatch(text, one.end(), other.start()) is not None


def _stands_alone(text: str, match: re.Match[str]) -> bool:
    word, before = match.group().lower(), text[max(0, match.start() - _LOOK_BACK) : match.start()]
    if word in ("no", "sorry") or match["filler"]:
        is_felt = word == "sorry" and _FELT.search(before)
        return bool((_NEW_TRY.match(text, match.end()) and not is_felt) or _breaks(match, before))
    return word not in ("or", "well") and _breaks(match, before)


def _breaks(match: re.Match[str], before: str) -> bool:
    return not match["filler"] and _BREAK.search(before) is not None
