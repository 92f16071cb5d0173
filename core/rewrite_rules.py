"""What a rewrite must keep and must not add, by task.

docs/generation.md tells what the rules would drop of the rewrites that people wrote.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import SequenceMatcher
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from core.contraries import contrary
from core.denials import denials, differ_in_denials, disagree, says_denied
from core.facts import missing_names, names, squeezed, straight, stutter, words
from core.generation_types import FinishReason, Generated, GenerationTask
from core.repairs import tries_of, without_repaired, without_signs
from core.stated_limits import lost_first, lost_limit, new_bound, new_limit, one_asks
from core.stated_numbers import missing_numbers, spoken_numbers
from core.stated_units import lost_units, missing_places, missing_tens, new_units, swapped_unit
from core.telling_words import doubled, unsupported


class Keeps(StrEnum):
    """Which numbers and names of the source must be in the rewrite."""

    ALL = "all"
    NUMBERS = "numbers"  # names change with the language
    UNREPAIRED = "unrepaired"  # but those before a "no wait", which takes back what was said before it
    CURRENT_TURN = "current_turn"  # those of the current turn; earlier ones may be of no concern
    NONE = "none"  # leaving out is the task


class DropReason(StrEnum):
    """Why a candidate is not among the rewrites."""

    EMPTY = "empty"
    BROKEN = "broken"
    CUT_OFF = "cut_off"
    UNCHANGED = "unchanged"
    REPEATED = "repeated"
    LOST_NUMBERS = "lost_numbers"
    LOST_NAMES = "lost_names"
    NEW_NUMBERS = "new_numbers"
    NEW_NAMES = "new_names"
    NEW_WORDS = "new_words"
    DENIAL = "denial"
    CONTRARY = "contrary"
    LIMIT = "limit"
    QUESTION = "question"
    STUTTER = "stutter"
    STRANGE_WORD = "strange_word"
    FAR = "far"


@dataclass(frozen=True, slots=True)
class Rule:
    """`least_similarity` is to the source in the encoder's space; None where that means nothing.

    `most_pieces` are those that the encoder reads a word in that the source does not have: a word of more is
    taken for none. `may_add_words`: telling words of which the source has no form.
    `is_by_sentence`: trained on single sentences, so texts are worked on one at a time. `marks_count`: other
    marks make another text, as a full stop does that splits a sentence.
    """

    keeps: Keeps
    least_similarity: float | None
    most_pieces: int | None
    may_be_unchanged: bool = False
    is_by_sentence: bool = False
    marks_count: bool = False
    may_add_words: bool = True


@dataclass(frozen=True, slots=True)
class Drop:
    """Why, and in words."""

    reason: DropReason
    detail: str


# The similarities are those that 99 of 100 training rows have (cognate-small, benchmarks/verification.py).
RULES: Final[Mapping[GenerationTask, Rule]] = MappingProxyType(
    {
        GenerationTask.CLEAN_QUERY: Rule(Keeps.UNREPAIRED, 0.61, 1, may_be_unchanged=True),
        GenerationTask.CONTEXTUAL_QUERY: Rule(
            Keeps.CURRENT_TURN, 0.24, 2, may_be_unchanged=True, may_add_words=False
        ),
        GenerationTask.SHORTEN_QUESTION: Rule(Keeps.NONE, 0.35, 3),
        GenerationTask.ASK: Rule(Keeps.NONE, 0.25, 2),
        GenerationTask.SPLIT: Rule(Keeps.ALL, 0.78, 2, is_by_sentence=True, marks_count=True),
        GenerationTask.SIMPLIFY: Rule(Keeps.ALL, 0.74, 1, is_by_sentence=True),
        GenerationTask.PARAPHRASE: Rule(Keeps.ALL, 0.39, 1, is_by_sentence=True),
        GenerationTask.TRANSLATE_EN_ES: Rule(Keeps.NUMBERS, None, None, is_by_sentence=True),
    }
)

BROKEN_CHARACTER: Final = "\N{REPLACEMENT CHARACTER}"  # what is left of half a character of UTF-8
CURRENT: Final = "|| current:"
_TURN: Final = re.compile(r"(?:^|\|)\s*(?:previous|current):")
_VERB: Final = r"(?:is|are|was|were|do|does|did|can|could|will|would|should|has|have|had|may|must)"
_YES_OR_NO: Final = re.compile(rf"\W*{_VERB}\b", re.IGNORECASE)  # asks whether it is so
_IS_NOT_SO: Final = re.compile(rf"\b{_VERB} not\b|n['’]t\b|\b(?:cannot|never)\b", re.IGNORECASE)
_ASKS: Final = re.compile(
    rf"\b(?:what|who|whom|whose|when|where|which|why|how|name)\b|^\W*{_VERB}\b|\b(?:{_VERB}|called|named|as)\?|__",
    re.IGNORECASE,
)
_PART_END: Final = re.compile(r"[,;:()]| and ")
# In plainer words "the first known" may be left out, and spoken queries begin with "first".
_KEEP_FIRST: Final = (GenerationTask.SPLIT, GenerationTask.PARAPHRASE)
NAME_ALIKE: Final = 0.5  # of spellings, from which a name counts as the same in another language


def drop_of(task: GenerationTask, source: str, candidate: Generated) -> Drop | None:
    """Why a candidate must not be shown, or None; what needs the encoder is judged apart."""
    rule, text = RULES[task], candidate.text
    if not text.strip():
        return Drop(DropReason.EMPTY, "it is empty")
    if BROKEN_CHARACTER in text and BROKEN_CHARACTER not in source:
        return Drop(DropReason.BROKEN, "it has a character that was not written to its end")
    if candidate.finish is FinishReason.LENGTH:
        return Drop(DropReason.CUT_OFF, f"it was cut off after {candidate.tokens} tokens")
    if not rule.may_be_unchanged and what_counts(task, text) == what_counts(task, source):
        return Drop(DropReason.UNCHANGED, "it is the text itself")
    if task is GenerationTask.ASK and not _ASKS.search(text):
        return Drop(DropReason.QUESTION, "it asks nothing")
    if said := stutter(text, source):
        return Drop(DropReason.STUTTER, f"it says {said!r} more often than the text")
    return altered(task, source, text) or _added(rule, source, text)


def altered(task: GenerationTask, source: str, text: str) -> Drop | None:
    """Which number, name or denial a text lost or has that its source has not, or None."""
    lost = _lost(RULES[task], source, text)
    return lost or _new(task, source, text) or _denial(task, source, text) or _turned(task, source, text)


def what_counts(task: GenerationTask, text: str) -> str:
    """Of a text for a task: two of which this is the same are one."""
    return " ".join(text.split()) if RULES[task].marks_count else squeezed(text)


def strange(task: GenerationTask, pieces: Mapping[str, int]) -> Drop | None:
    """By the number of pieces that the encoder reads each new word in."""
    most = RULES[task].most_pieces
    for word, count in pieces.items():
        if most is not None and count > most:
            return Drop(DropReason.STRANGE_WORD, f"it has {word!r}, which is no word that the encoder knows")
    return None


def far(task: GenerationTask, similarity: float | None) -> Drop | None:
    """Whether a candidate says something else, as far as the encoder can tell."""
    least = RULES[task].least_similarity
    if least is None or similarity is None or similarity >= least:
        return None
    return Drop(DropReason.FAR, f"its similarity to the text is {similarity:.2f}, below {least:.2f}")


def unverified_names(task: GenerationTask, source: str, text: str) -> tuple[str, ...]:
    """Names of the source that a translation has in no similar spelling: translated, or lost."""
    if RULES[task].keeps is not Keeps.NUMBERS:
        return ()
    known = set(words(text))
    return tuple(written for name, written in names(source).items() if not _is_alike(name, known))


def _is_alike(name: str, known: set[str]) -> bool:
    if name in known:
        return True
    matcher = SequenceMatcher(None, b=name)  # it remembers what it finds out about b
    return any(_is_near(matcher, word) for word in known)


def _is_near(matcher: SequenceMatcher[str], word: str) -> bool:
    matcher.set_seq1(word)
    return matcher.quick_ratio() >= NAME_ALIKE and matcher.ratio() >= NAME_ALIKE


def _lost(rule: Rule, source: str, text: str) -> Drop | None:
    if rule.keeps is Keeps.NONE:
        return None
    kept = _to_be_kept(rule.keeps, source)
    if lost := missing_numbers(kept, text):
        return Drop(DropReason.LOST_NUMBERS, f"it lost the number {lost[0]}")
    if rule.keeps is Keeps.NUMBERS:
        return None
    if lost := missing_places(kept, text) or missing_tens(kept, text):
        return Drop(DropReason.LOST_NUMBERS, f"it lost {lost[0]!r}")
    told = set(words(kept))
    missing = missing_names(source, [text])
    if lost := [name for name in missing if set(words(name)) <= told]:
        return Drop(DropReason.LOST_NAMES, f"it lost the name {lost[0]!r}")
    return None


def _denial(task: GenerationTask, source: str, text: str) -> Drop | None:
    keeps = RULES[task].keeps
    if keeps is Keeps.NUMBERS:
        return None
    if keeps is Keeps.ALL:
        if differ_in_denials(source, text):
            return Drop(DropReason.DENIAL, "it or the text denies something that the other does not")
    elif keeps is not Keeps.NONE:
        said = without_signs(text)
        if all(disagree(told, said) for told in _tellings(keeps, source)):
            return Drop(DropReason.DENIAL, "it or the text denies something that the other does not")
    elif denials(text) and not denials(source):
        return Drop(DropReason.DENIAL, "it denies something, which the text does not")
    elif task is GenerationTask.ASK and _takes_for_true(text, source):
        return Drop(DropReason.DENIAL, "it takes for true what the text denies")
    return None


def _turned(task: GenerationTask, source: str, text: str) -> Drop | None:
    """Whether a text says the contrary of a word, or more or less than its source."""
    keeps = RULES[task].keeps
    if keeps is Keeps.NUMBERS:
        return None
    if keeps is Keeps.ALL and one_asks(source, text):
        return Drop(DropReason.QUESTION, "it or the text asks, and the other does not")
    if keeps is Keeps.ALL and (said := doubled(text, source)):
        return Drop(DropReason.STUTTER, f"it says {said!r} again in the place of another word")
    kept = _to_be_kept(keeps, source)
    # What is said by a denial has other words: "closed" is "not open". Of long letters much may be left out.
    is_judged = keeps is Keeps.NONE or denials(kept) == denials(text)
    if task is not GenerationTask.SHORTEN_QUESTION and is_judged and (found := contrary(kept, text)):
        return Drop(DropReason.CONTRARY, f"it has {found[0]!r} where the text has {found[1]!r}")
    if keeps is Keeps.NONE:
        new = new_bound(text, source)
        return Drop(DropReason.LIMIT, f"it says {new!r}, which the text does not") if new else None
    if gone := lost_units(kept, text):
        return Drop(DropReason.LOST_NUMBERS, f"it lost the unit {gone[0]!r} of a number")
    if lost := lost_limit(kept, text) or (lost_first(kept, text) if task in _KEEP_FIRST else ""):
        return Drop(DropReason.LIMIT, f"it does not say {lost!r}, as the text does")
    new = new_limit(text, source)
    return Drop(DropReason.LIMIT, f"it says {new!r}, which the text does not") if new else None


def _tellings(keeps: Keeps, query: str) -> tuple[str, str]:
    """A query without what only takes back, as "no" may, and what of it surely stands."""
    if keeps is Keeps.CURRENT_TURN:
        return without_signs(query), without_signs(_to_be_kept(keeps, query))
    tries = tries_of(query)
    return " ".join(tries), tries[-1]


def _takes_for_true(question: str, source: str) -> bool:
    """Whether a question says, and does not ask, what a part of its source denies."""
    if _YES_OR_NO.match(question):
        return False
    # After "until" it is so.
    parts = (part for part in _PART_END.split(straight(source)) if "until" not in part)
    return any(_IS_NOT_SO.search(part) and says_denied(question, part) for part in parts)


def _to_be_kept(keeps: Keeps, source: str) -> str:
    if keeps is Keeps.CURRENT_TURN:
        return source.rpartition(CURRENT)[2]
    if keeps is Keeps.UNREPAIRED:
        return without_repaired(source)
    return source


def _new(task: GenerationTask, source: str, text: str) -> Drop | None:
    if new := missing_numbers(text, source):
        return Drop(DropReason.NEW_NUMBERS, f"it has the number {new[0]}, which the text has not")
    if task is GenerationTask.TRANSLATE_EN_ES:
        return None
    if new := new_units(text, source):
        told = f"it has a number with the unit {new[0]!r}, which the text has not"
        return Drop(DropReason.NEW_NUMBERS, told)
    if swapped := swapped_unit(source, text):
        return Drop(DropReason.NEW_NUMBERS, f"it has {swapped!r}, and the text another unit there")
    if new := missing_places(text, source) or missing_tens(text, source):
        return Drop(DropReason.NEW_NUMBERS, f"it has {new[0]!r}, which the text has not")
    if new := missing_names(text, [source]):
        return Drop(DropReason.NEW_NAMES, f"it has the name {new[0]!r}, which the text has not")
    return None


def _added(rule: Rule, source: str, text: str) -> Drop | None:
    if rule.may_add_words:
        return None
    added = [word for word in unsupported(text, [_TURN.sub(" ", source)]) if not _is_judged_apart(word)]
    if not added:
        return None
    return Drop(DropReason.NEW_WORDS, f"it has the word {added[0]!r}, which the text has not")


def _is_judged_apart(word: str) -> bool:
    """Whether other rules tell if the word may be there: those of numbers and of denials."""
    return word.isdigit() or bool(spoken_numbers(word)) or word.endswith("n't")
