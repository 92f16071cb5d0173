"""Whether a sentence is a whole clause of a text, shortened only where what is left stays true.

Words of a text in another order or with other little words between them can say what it does not ("Mkdir is
a leaf directory." of "mkdir; create a leaf directory"). So a sentence must be, word by word, a main clause of
the text. Only what is listed here may be left out: an introduction that vouches for the clause, brackets, and
an addition at its end; none of these if it limits, doubts or contradicts. A sentence that is refused for
nothing costs little, for the whole sentence of the text is shown in its place.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice, pairwise
from typing import Final


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


_TOKEN: Final = re.compile(r"[^\W_]+(?:['’.,–/-][^\W_]+)*|[^\w\s]|_")
_OPENING, _CLOSING = "([", ")]"
_END_MARKS: Final = frozenset(".!")
_MOST_WORDS: Final = 1000  # and marks, of a text in which it is looked for: more are no sentence
_FRAME: Final = ("the", "passage", "says", "that")

_AUXILIARIES: Final = _set(
    """
    is are was were has have had do does did can could may might must will would shall should
    isn't aren't wasn't weren't hasn't haven't hadn't don't doesn't didn't can't couldn't won't wouldn't
    shouldn't
    """
)
_FULL_VERBS: Final = _set(
    """
    occurs includes contains prevents reduces provides requires produces inhibits becomes remains consists
    belongs describes depends went came took gave knew became began wrote broke grew fell ate drank drove flew
    rose spoke chose sat stood ran
    """
)
_VERBS: Final = _AUXILIARIES | _FULL_VERBS
_DETERMINERS: Final = _set("a an the this these its his her their our all each")
_NO_VERB_ENDINGS: Final = ("ss", "us", "is")  # of words in -s
_RELATIVES: Final = _set("that which who whom whose")
# A sentence that begins so is no main clause, but perhaps with one behind a comma.
_SUBORDINATE: Final = _set(
    """
    if when whenever by because although though while where wherever since unless during after before until
    whether using taking through given as for in once provided providing supposing assuming whatever whereas
    even despite unlike except
    """
)
_NO_SUBJECTS: Final = _AUXILIARIES | _set("suppose let imagine say")

# "We show that", "These results confirm that", "It has been shown that": nothing else may stand before it.
_INTRODUCTION: Final = re.compile(
    r"(?:(?:additionally|also|consequently|finally|furthermore|hence|here|however|indeed|moreover|therefore|thus"
    r"|in this (?:study|paper|work)) ,? ?)?"
    r"(?:(?:we|they|(?:the|this|these|our|their) (?:study|studies|results?|data|findings?|authors?|trials?))"
    r" (?:also |further |clearly |have |has )?"
    r"(?:shows?|showed|shown|finds?|found|demonstrates?|demonstrated|reveals?|revealed|confirms?|confirmed)"
    r" that"
    r"|it (?:is|was|has been) (?:shown|found|demonstrated|confirmed) that)?"
)
# What is left out must have none of these: the clause may hold only with it.
_LIMITS: Final = _set(
    """
    if unless when whenever where wherever except excepting excluding besides but only merely solely or either
    nor neither not no never none nobody nothing cannot without although though however while whereas until
    provided providing assuming supposing depending long rather instead because despite otherwise else
    especially mainly mostly partly sometimes rarely hardly barely almost nearly
    fail fails failed failing lack lacks lacked deny denies denied denying dismiss dismisses dismissed reject
    rejects rejected refuse refused withdrawn withdrew
    """
)
_DOUBTS: Final = _set(
    """
    according alleged allegedly allege alleges appear appears appeared argue argues argued assert asserts
    asserted assume assumes assumed believe believes believed claim claims claimed claiming contend contends
    contended contested controversial disproved disputed doubt doubts doubted doubtful dream dreamed dreams
    dubious fake false falsely feel feels felt fiction fictional hear hears heard hoax hope hopes hoped
    hypothesis hypothesise hypothesize imagine imagined insist insists insisted lie lied lies likely maintain
    maintains may maybe might mistaken mistakenly myth myths perhaps possible possibly presumably presumed
    probably proposed purported purportedly question questions refuted report reports reported reportedly
    retracted rumor rumors rumour rumours said say says seem seems seemed so-called suggest suggested suggests
    suppose supposed supposedly suspect suspected tell tells theory think thinks thought told unclear unknown
    unlikely unproven untrue wrong wrongly write writes wrote yet could would should ?
    """
)
_SPOILERS: Final = _LIMITS | _DOUBTS
# A thing may be called what it is without the clause that says which one it is, but not if there is a choice.
_DEFINES: Final = _set("is are was were")
_ARTICLES: Final = _set("a an")
_CHOOSING: Final = _set("first last sole least most best worst every each all any few little many much less")
_PARTICIPLES: Final = _set(
    """
    based built called caused characterised characterized composed defined derived described designed
    developed formed found founded held inherited known linked located made marked named produced published
    related situated used written
    """
)
_PARTICIPLE_GOES_ON: Final = _set("by as in with from on to for at of")


@dataclass(frozen=True, slots=True)
class _Word:
    """A folded word or mark; `is_glued` says that nothing stands between it and what is before it."""

    text: str
    is_glued: bool


def is_clause_of(sentence: str, text: str) -> bool:
    """Whether the sentence is such a clause of the text; "The passage says that" may stand before it."""
    said = [word.text for word in _read(sentence)]
    if said and said[-1] in _END_MARKS:
        said.pop()
    if tuple(said[: len(_FRAME)]) == _FRAME:
        said = said[len(_FRAME) :]
    source = _read(text)
    if not _is_main_clause(said) or len(source) > _MOST_WORDS:
        return False
    starts = (i for i, word in enumerate(source) if word.text == said[0] and _may_start(source[:i]))
    return any(_ends_well(said, source, _match(said, source, start)) for start in starts)


def _read(text: str) -> list[_Word]:
    """Words and marks, one more than `_MOST_WORDS` at most."""
    found, end = [], -1
    for match in islice(_TOKEN.finditer(text), _MOST_WORDS + 1):
        found.append(_Word(match.group().casefold().replace("’", "'"), match.start() == end))
        end = match.end()
    return found


def _is_main_clause(said: Sequence[str]) -> bool:
    """Whether words begin with a subject and have a verb that belongs to it, as far as that can be told."""
    if not said or said[0] in _NO_SUBJECTS or (said[0] in _SUBORDINATE and "," not in said):
        return False
    relative = next((i for i, word in enumerate(said) if word in _RELATIVES), len(said))
    return _has_verb(said[:relative], said[relative:])


def _has_verb(words: Sequence[str], rest: Sequence[str]) -> bool:
    """A verb behind the first word: a common one, or a word in -ed or -s before an article."""
    for word, after in pairwise([*words[1:], *rest[:1], ""]):
        is_s = word.endswith("s") and not word.endswith(_NO_VERB_ENDINGS)
        if word in (_VERBS if after else _FULL_VERBS) or (after in _DETERMINERS and (is_s or word.endswith("ed"))):
            return True
    return False


def _may_start(before: Sequence[_Word]) -> bool:
    return _INTRODUCTION.fullmatch(" ".join(word.text for word in before)) is not None


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
    """Behind what stands in brackets from `i` on, if brackets of their own begin there that limit nothing."""
    if i >= len(source) or source[i].text not in _OPENING or source[i].is_glued:
        return i
    depth = 0
    for j in range(i, len(source)):
        depth += (source[j].text in _OPENING) - (source[j].text in _CLOSING)
        if depth == 0:
            return j + 1 if _is_harmless(word.text for word in source[i:j]) else i
    return i


def _is_harmless(left_out: Iterable[str]) -> bool:
    return _SPOILERS.isdisjoint(left_out)


def _ends_well(said: Sequence[str], source: Sequence[_Word], end: int | None) -> bool:
    """At the end of the source, or before an addition that the clause does not need to be true."""
    if end is None:
        return False
    rest = [word.text for word in source[end:]]
    if not rest or (rest[0] in _END_MARKS and len(rest) == 1):
        return True
    if len(rest) == 1 or not _is_harmless(rest):
        return False
    if rest[0] == ",":
        return rest[1] in (_RELATIVES | _ARTICLES) - {"that"}
    if rest[0] in ":;":
        return not source[end + 1].is_glued
    is_participle = rest[0] in _PARTICIPLES and rest[1] in _PARTICIPLE_GOES_ON
    return (rest[0] in _RELATIVES or is_participle) and _is_definition(said)


def _is_definition(said: Sequence[str]) -> bool:
    """Whether a thing is said to be one of a kind, as in "Taeniasis is an infection"."""
    verb = next((i for i, word in enumerate(said) if word in _VERBS), 0)
    is_of_a_kind = said[verb] in _DEFINES and said[verb + 1 : verb + 2] in (["a"], ["an"])
    is_chosen = any(word in _SPOILERS | _CHOOSING or word.endswith("est") for word in said)
    return verb > 0 and is_of_a_kind and not is_chosen
