"""Whether a sentence is a whole clause of a text, shortened only where what is left stays true.

Words of a text in another order or with other little words between them can say what it does not ("Mkdir is a
leaf directory." of "mkdir; create a leaf directory"). So a sentence must be, word by word, a main clause of
the text from its beginning, without brackets if need be, up to where it may end: at its end, before a
relative clause, or before what is set off by a comma and is no condition.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from core.telling_words import telling


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


_TOKEN: Final = re.compile(r"[^\W_]+(?:['’.,–/-][^\W_]+)*|[^\w\s]|_")
_OPENING, _CLOSING = "([", ")]"
_QUOTES: Final = frozenset("\"'“”‘’`")
_END_MARKS: Final = frozenset(".!?;…")
_BREAKS: Final = frozenset(",:–—-")
_MOST_WORDS: Final = 1000  # and marks, of a text in which it is looked for: more are no sentence
_FRAME: Final = ("the", "passage", "says", "that")

_VERBS: Final = _set(
    """
    is are was were has have had can could may might must will would shall should do does did isn't aren't
    wasn't weren't can't won't doesn't didn't occurs includes contains prevents reduces provides requires
    produces inhibits becomes remains consists belongs describes depends went came took gave knew became began
    wrote broke grew fell ate drank drove flew rose spoke chose sat stood ran
    """
)
_PASSIVE: Final = _set("was were")
_DETERMINERS: Final = _set("a an the this these its his her their our all each")
_NO_VERB_ENDINGS: Final = ("ss", "us", "is")  # of words in -s
# What comes behind a comma with these may be a condition of what stands before it.
_CONDITIONS: Final = _set(
    """
    if unless when whenever where except but only not or nor without although though while until provided
    assuming depending rather because since at in on for among during after before under with by as to of
    """
)
_RELATIVES: Final = frozenset(("that", "which", "who", "whom", "whose"))
_PARTICIPLE_GOES_ON: Final = _set("by as in with from on to for at")
# Behind these "that" says what is so, not what is thought or asked.
_FACTIVE: Final = re.compile(r"(?:show|find|demonstrate|reveal|confirm)(?:s|n|e?d)?|found|shown")
_ADVERBS: Final = _set(
    "additionally also consequently finally furthermore hence here however indeed moreover therefore thus"
)
# Elsewhere in a text these may say that somebody else says the clause, or that it is not so.
_DOUBTS: Final = _set(
    """
    according alleged allegedly appear appears argue argues argued believe believes believed claim
    claims claimed claiming disputed doubt doubts doubtful fake false falsely fiction hear hears heard
    hoax hypothesis hypothesise hypothesize insist insists insisted lie lies likely maybe myth myths
    perhaps possibly presumably probably purportedly question questions report reports reported
    reportedly rumor rumors rumour rumours say says said seem seems suggest suggests suggested suppose
    supposed supposedly suspect suspected tell tells told theory think thinks thought unclear unknown
    unlikely unproven untrue wrong wrongly write writes wrote ?
    """
)
_UNSURE: Final = _set(
    """
    if unless when whether not no never cannot neither nor none nobody fail fails failed hardly little few
    """
)
_NOT_YET: Final = _set("to may might could would can should will must")
# A sentence that begins so and has no comma is no main clause.
_SUBORDINATE: Final = _set(
    """
    if when whenever by because although though while where since unless during after before until whether
    using taking through given as for in
    """
)
_WEAK_ENDS: Final = _set("often usually mostly sometimes always typically generally one")


@dataclass(frozen=True, slots=True)
class _Word:
    """A folded word or mark; `is_glued` says that nothing stands between it and what is before it."""

    text: str
    is_glued: bool


def is_clause_of(sentence: str, text: str) -> bool:
    """Whether the sentence is such a clause of the text, in the passive too ("x was met by y" of "y met x").

    "The passage says that" may stand before it.
    """
    said = _without_end([word.text for word in _read(sentence)])
    if tuple(said[: len(_FRAME)]) == _FRAME:
        said = said[len(_FRAME) :]
    if not said or not _has_verb(said) or not _may_end_with(said[-1]):
        return False
    if said[0] in _SUBORDINATE and "," not in said:
        return False
    source = _read(text)
    if len(source) > _MOST_WORDS:
        return False
    return any(_stands_in(one, source) for one in (said, _as_active(said)) if one)


def _read(text: str) -> list[_Word]:
    found, end = [], -1
    for match in _TOKEN.finditer(text):
        found.append(_Word(match.group().casefold(), match.start() == end))
        end = match.end()
    return found


def _without_end(said: list[str]) -> list[str]:
    return said[:-1] if said and said[-1] in _END_MARKS else said


def _has_verb(said: Sequence[str]) -> bool:
    """A finite verb, as far as that can be told: a common one, or a word in -ed or -s before an article."""
    for word, after in zip(said, [*said[1:], ""], strict=True):
        is_s = word.endswith("s") and not word.endswith(_NO_VERB_ENDINGS)
        if word in _VERBS or (after in _DETERMINERS and (is_s or word.endswith("ed"))):
            return True
    return False


def _may_end_with(word: str) -> bool:
    return bool(telling(word)) and word not in _WEAK_ENDS and not word.endswith("ly")


def _may_start(before: Sequence[_Word]) -> bool:
    """At the beginning, behind "Thus," or the like, or behind "we show that" without a condition."""
    words = [word.text for word in before]
    if not words or (len(words) == 2 and words[0] in _ADVERBS and words[1] == ","):
        return True
    if words[-1] != "that" or len(words) < 2 or not _FACTIVE.fullmatch(words[-2]):
        return False
    return _NOT_YET.isdisjoint(words[-3:-2]) and (_UNSURE | _DOUBTS).isdisjoint(words)


def _as_active(said: list[str]) -> list[str]:
    """ "y repaired x" of "x was repaired by y"; nothing of what is not in the passive."""
    auxiliary = next((i for i, word in enumerate(said) if word in _PASSIVE), None)
    if auxiliary is None or said[auxiliary + 2 : auxiliary + 3] != ["by"]:
        return []
    return [*said[auxiliary + 3 :], said[auxiliary + 1], *said[:auxiliary]]


def _stands_in(said: Sequence[str], source: Sequence[_Word]) -> bool:
    starts = (i for i, word in enumerate(source) if word.text == said[0] and _may_start(source[:i]))
    return any(_ends_well(source, _match(said, source, start)) for start in starts)


def _match(said: Sequence[str], source: Sequence[_Word], start: int) -> int | None:
    """Where the source goes on behind the words said from `start`, None if they do not stand there."""
    i = start
    for word in said:
        if i < len(source) and source[i].text != word:
            i = _behind_brackets(source, i)
        if i >= len(source) or source[i].text != word:
            return None
        i += 1
    return _behind_brackets(source, i)


def _behind_brackets(source: Sequence[_Word], i: int) -> int:
    """Behind what stands in brackets from `i` on, if a bracket of its own begins there."""
    if i >= len(source) or source[i].text not in _OPENING or source[i].is_glued:
        return i
    depth = 0
    for j in range(i, len(source)):
        depth += (source[j].text in _OPENING) - (source[j].text in _CLOSING)
        if depth == 0:
            is_aside = (_UNSURE | _DOUBTS).isdisjoint(word.text for word in source[i:j])
            return j + 1 if is_aside else i
    return i


def _ends_well(source: Sequence[_Word], end: int | None) -> bool:
    if end is None:
        return False
    rest = [word.text for word in source[end:] if word.text not in _QUOTES]
    if not _DOUBTS.isdisjoint(rest):
        return False
    if not rest or rest[0] in _END_MARKS or rest[0] in _RELATIVES:
        return True
    after = rest[1] if len(rest) > 1 else ""
    if rest[0] in _BREAKS:
        return after not in _CONDITIONS
    return (rest[0].endswith("ed") or rest[0] == "known") and after in _PARTICIPLE_GOES_ON
