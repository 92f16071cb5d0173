"""How far a text says that something holds: bounds of numbers, "first", "only" …; or whether it asks."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from core.facts import straight


@dataclass(frozen=True, slots=True)
class Limit:
    """`pattern` finds it; a text that has one of `likes` says as much, or may."""

    pattern: re.Pattern[str]
    likes: re.Pattern[str]


def _limit(pattern: str, likes: str = "") -> Limit:
    compiled = re.compile(pattern, re.IGNORECASE)
    return Limit(compiled, re.compile(rf"\b(?:{likes})\b", re.IGNORECASE) if likes else compiled)


_WORDS: Final = (
    r"(?:two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|twenty|thirty|forty|fifty|sixty|seventy"
    r"|eighty|ninety|hundred|thousand|million|half|a dozen|noon|midnight)\b"
)
_NUMBER: Final = rf"(?:[$€£¥]?\d|{_WORDS})"
_GAP: Final = r" (?:about |an? |around |some |age )?"
_OR: Final = rf"{_NUMBER}\S{{0,12}}(?: \w{{1,20}})?"  # "5 km or more"
_NOT_NO: Final = r"(?<!\bno )(?<!\bnot )"
_AT_LEAST: Final = _limit(
    rf"\b(?:at least|not? (?:less|fewer) than|{_NOT_NO}(?:more|greater) than|over|above|exceed\w*"
    rf"|upwards of|in excess of|(?:a|the) minimum of){_GAP}{_NUMBER}"
    rf"|{_OR} (?:or more|and (?:over|above|more)|at least)\b"
)
_AT_MOST: Final = _limit(
    rf"\b(?:at most|not? more than|up to|{_NOT_NO}(?:less|fewer) than|under|below|not exceeding"
    rf"|(?:a|the) maximum of){_GAP}{_NUMBER}|{_OR} (?:or (?:less|fewer|under)|at most)\b"
)
_BEFORE_TIME: Final = _limit(
    rf"\b(?:before|until|till|prior to)(?: the)? {_NUMBER}",
    r"before|until|till|prior|by|pre-?|earlier|up to|to|ago",
)
_AFTER_TIME: Final = _limit(
    rf"\b(?:after|since)(?: the)? {_NUMBER}",
    "after|since|later|from|past|post|onwards?|following|for|ago|beginning|starting",
)
_ONLY: Final = _limit(
    r"\bonly\b(?! to\b)",
    r"only|just|sole|solely|alone|single|merely|nothing but|exclusive\w*|unique\w*|no other|simply|mere|but"
    r"|limited|last|except|unless|until|all|lone|none|purely|one|never|not|barely|hardly|no one|nobody",
)
_ALMOST: Final = _limit(
    r"\b(?:almost|nearly)\b(?! (?:\d|all|every|any|half|the|an?|always|certain\w*|entire\w*|" + _WORDS + "))",
    r"almost|nearly|about|close|virtually|practically|near|just|some|roughly|under|less|hardly|barely|most\w*"
    r"|little|few|all but|scarcely|on the point|approximately|around|seldom|rarely",
)
_PERHAPS: Final = _limit(
    r"\b(?:might|perhaps|possibly|probably|likely)\b",
    r"may|might|could|can|perhaps|maybe|possib\w+|probab\w+|likely|thought|think|believ\w+|seem\w*|appear\w*"
    r"|should|would|presumably|must|chance|if|guess|unlikely|whether|sure|doubt\w*|suspect\w*|supposed\w*",
)
_SECOND: Final = _limit(
    r"(?<!\ba )\b(?:second|2nd)\b|\ba second(?= \w)",
    "second|2nd|2|two|seconds|secondly|another|other|next|again|runner|moment|ii",
)
_FIRST: Final = _limit(
    r"\b(?:first|1st)\b",
    r"first|1st|1|one|firstly|original\w*|initial\w*|early|earliest|begin\w*|began|start\w*|once|oldest|new"
    r"|debut|ever|prior|before|primar\w+|former|main\w*|opening|premi\w+|never|pioneer\w*|i|after",
)
_BOUNDS: Final = (_AT_LEAST, _AT_MOST, _SECOND)
_NEVER_NEW: Final = (*_BOUNDS, _BEFORE_TIME, _AFTER_TIME, _ALMOST)
_NEVER_LOST: Final = (*_NEVER_NEW, _ONLY, _PERHAPS)


def new_bound(text: str, source: str) -> str:
    """A bound of a number in `text`, as "at least 5", or "second", that `source` has not; "" if nothing."""
    return _missing(_BOUNDS, text, source)


def new_limit(text: str, source: str) -> str:
    """The same, and "before 5", "after 5" and "almost"."""
    return _missing(_NEVER_NEW, text, source)


def lost_limit(source: str, text: str) -> str:
    """What `source` limits, "only" and "perhaps" too, and `text` does in no way; "" if nothing."""
    return _missing(_NEVER_LOST, source, text)


def lost_first(source: str, text: str) -> str:
    """How `source` says "first", where `text` has nothing like it; "" otherwise."""
    return _missing((_FIRST,), source, text)


def one_asks(one: str, other: str) -> bool:
    """Whether one of two texts asks and the other only tells; words that people search for have no mark."""
    asking, telling = (one, other) if "?" in one else (other, one)
    tells = "?" not in telling and telling.rstrip(" \"'”’)").endswith((".", "!"))
    return tells and "?" in asking


def _missing(limits: tuple[Limit, ...], wanted: str, text: str) -> str:
    wanted, text = straight(wanted), straight(text)
    for limit in limits:
        if (found := limit.pattern.search(wanted)) and not limit.likes.search(text):
            return found.group()
    return ""
