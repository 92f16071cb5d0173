"""Whether a sentence is a main clause of a text, shortened only where what is left stays true.

Words of a text in another order or with other little words between them can say what it does not ("Mkdir is
a leaf directory." of "mkdir; create a leaf directory"), and so can a clause without its condition. So a
sentence must be the text word by word but for what is named here:

- in front: "thus," or "we found that", with nothing before it;
- inside: an abbreviation in brackets behind the words that it stands for;
- at the end: ", who …", ", whose …", ", which are …" or ", including …" without another comma; the list
  behind "there are three kinds:"; and behind a plain definition, "x is a y", a relative clause, or
  "caused by …", "known as …" and their like: x is a y whatever kind of y.

What is left out at the end must be all the rest of the sentence, without any word that limits or doubts.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice, pairwise
from typing import Final

from core.facts import straight
from core.limiting_words import has_limiting_word
from core.word_classes import (
    ADVERBS,
    ARTICLES,
    AUXILIARIES,
    BE,
    CLASS_NOUNS,
    CLAUSE_OPENERS,
    DETERMINERS,
    PREPOSITIONS,
    PRONOUNS,
    RELATIVE_VERBS,
    RELATIVES,
    SCOPES,
    SUBORDINATORS,
    VERBS,
)

_TOKEN: Final = re.compile(r"[^\W_]+(?:['.,-][^\W_]+)*|[^\w\s]|_")
_MOST_WORDS: Final = 1000  # and marks, of a text in which it is looked for: more are no sentence
_FRAME: Final = ("the", "passage", "says", "that")
_ENDS: Final = frozenset(".!")

# Behind these the clause is said to be so. "They" and "the authors" may be others, who are mistaken.
_INTRODUCTION: Final = re.compile(
    r"(?:additionally|also|consequently|finally|furthermore|hence|indeed|moreover|therefore|thus) , "
    r"|(?:we|(?:the|this|our) study|(?:(?:the|these|our) )?(?:results|data|findings)) "
    r"(?:have |has )?(?:also )?"
    r"(?:show(?:s|n|ed)?|found|demonstrate[sd]?|reveal(?:s|ed)?|confirm(?:s|ed)?) that "
)
_LONGEST_INTRODUCTION: Final = 7  # words

_NO_SUBJECTS: Final = AUXILIARIES | RELATIVES | PREPOSITIONS | SUBORDINATORS  # at the beginning
_NO_VERB_ENDINGS: Final = ("ss", "us", "is")  # of words in -s
_DEFINING: Final = re.compile(r"(?:(?:caused|characteri[sz]ed|marked) by|known as) ")
# ", which is" may be of all that stands before it ("which is not known"); in the plural it is of a thing.
_BESIDE: Final = re.compile(r", (?:who|whose|including|which (?:are|were|have)) ")
_WITHIN: Final = frozenset(",()")  # marks that begin no other sentence
_SHORT: Final = 4  # words: "its maker told us"
_COUNTS: Final = re.compile(
    r"there (?:are|were) (?:\d+|two|three|four|five|six|seven|eight|nine|ten|several) "
)


@dataclass(frozen=True, slots=True)
class _Word:
    """A folded word or mark; `is_glued` says that nothing stands between it and what is before it."""

    text: str
    is_glued: bool
    is_capitalised: bool

    @property
    def is_mark(self) -> bool:
        return not self.text[0].isalnum()


def is_clause_of(sentence: str, text: str) -> bool:
    """Whether the sentence is such a clause of the text, which is one sentence with its end mark.

    "The passage says that" may stand before it.
    """
    said = [word.text for word in _read(sentence)]
    said = said[:-1] if said and said[-1] in _ENDS else said
    said = said[len(_FRAME) :] if tuple(said[: len(_FRAME)]) == _FRAME else said
    source = _read(text)
    if len(source) > _MOST_WORDS or not _is_main_clause(said):
        return False
    ends = (_match(said, source, start) for start in _starts(source))
    return any(end is not None and _may_be_cut(said, source[end:]) for end in ends)


def _read(text: str) -> list[_Word]:
    """The first words and marks, one more at most than a text may have."""
    found, end = [], -1
    for match in islice(_TOKEN.finditer(straight(text).replace("’", "'")), _MOST_WORDS + 1):
        word = match.group()
        found.append(_Word(word.casefold(), match.start() == end, word[0].isupper()))
        end = match.end()
    return found


def _is_main_clause(said: Sequence[str]) -> bool:
    """Whether it begins with what may be a subject, and has a verb that is none of a relative clause."""
    if (
        not said
        or said[0] in _NO_SUBJECTS
        or re.fullmatch(r"[a-z]+ing", said[0])
        or not CLAUSE_OPENERS.isdisjoint(said[:3])
    ):
        return False
    relative = next((i for i, word in enumerate(said) if word in RELATIVES), len(said))
    return _has_verb(said[:relative])


def _has_verb(said: Sequence[str]) -> bool:
    """A finite verb, as far as that can be told: a common one, or one that may be before an article."""
    return any(
        word in VERBS or (after in DETERMINERS and _may_be_verb(word))
        for word, after in zip(said, [*said[1:], ""], strict=True)
    )


def _may_be_verb(word: str) -> bool:
    is_s = word.endswith("s") and not word.endswith(_NO_VERB_ENDINGS)
    return word in VERBS or is_s or word.endswith("ed")


def _starts(source: Sequence[_Word]) -> Iterator[int]:
    yield 0
    opening = " ".join(word.text for word in source[:_LONGEST_INTRODUCTION])
    if found := _INTRODUCTION.match(opening + " "):
        yield found.group().count(" ")


def _match(said: Sequence[str], source: Sequence[_Word], start: int) -> int | None:
    """Where the source goes on behind the words said from `start`, None if they do not stand there."""
    i = start
    for word in said:
        if i < len(source) and source[i].text != word:
            i = _behind_abbreviation(source, i)
        if i >= len(source) or source[i].text != word:
            return None
        i += 1
    return _behind_abbreviation(source, i)


def _behind_abbreviation(source: Sequence[_Word], i: int) -> int:
    """Behind "(LMM)" if it stands at `i` behind two words or more that begin so."""
    bracket = [word.text for word in source[i : i + 3]]
    if len(bracket) < 3 or (bracket[0], bracket[2]) != ("(", ")"):
        return i
    if source[i].is_glued or not source[i + 1].is_capitalised:
        return i
    short = bracket[1]
    for first in range(i - 1):
        initials = "".join(word.text[0] for word in source[first:i])
        if initials[0] == short[0] and _is_within(initials, short):
            return i + 3
    return i


def _is_within(letters: str, word: str) -> bool:
    """Whether the word has all the letters in their order."""
    rest = iter(word)
    return all(letter in rest for letter in letters)


def _may_be_cut(said: Sequence[str], rest: Sequence[_Word]) -> bool:
    """Whether what is said stays true without the rest of its sentence."""
    if not rest or rest[-1].text not in _ENDS:
        return False
    cut = rest[:-1]
    words = [word.text for word in cut]
    if not cut or has_limiting_word(words):
        return not cut
    if _BESIDE.match(" ".join(words)):
        return not any(word.is_mark for word in cut[1:])  # a second comma may lead back into the clause
    if any(word.is_mark and word.text not in _WITHIN for word in cut[1:]):
        return False
    if words[0] == ":":
        return bool(_COUNTS.match(" ".join(said))) and (VERBS | PRONOUNS).isdisjoint(words)
    is_told = any(map(_may_attribute, _segments(cut)))
    return not is_told and _is_definition(said) and _narrows(words)


def _segments(cut: Sequence[_Word]) -> Iterator[Sequence[_Word]]:
    """What stands behind each comma, up to the next one."""
    commas = [i for i, word in enumerate(cut) if word.text == ","]
    for comma, following in pairwise([*commas, len(cut)]):
        yield cut[comma + 1 : following]


def _may_attribute(segment: Sequence[_Word]) -> bool:
    """Whether it may be like "its maker contends", "Anna quips", or "in the eyes of its maker"."""
    if not segment or segment[0].text in PREPOSITIONS:
        return True
    return len(segment) <= _SHORT and (segment[0].is_capitalised or segment[0].text in DETERMINERS)


def _is_definition(said: Sequence[str]) -> bool:
    """Whether it is "x is a y" or "x is one of a kind of y" of a plain x and y."""
    verb = next((i for i, word in enumerate(said) if word in BE), 0)
    subject, predicate = said[:verb], said[verb + 1 :]
    if predicate[:3] in (["one", "of", "a"], ["one", "of", "an"]):
        predicate = predicate[2:]
    if not subject or len(predicate) < 2 or predicate[0] not in ARTICLES:
        return False
    has_scope = not SCOPES.isdisjoint(said) or any(word.endswith("est") for word in said)
    if has_scope or has_limiting_word(said):
        return False
    return _is_plain_subject(subject) and _is_plain_noun(predicate[1:])


def _is_plain_subject(subject: Sequence[str]) -> bool:
    is_clean = all(word[0].isalnum() or word in "()" for word in subject) and not _has_verb(subject)
    return is_clean and subject[0] not in PRONOUNS and (RELATIVES | {"and"}).isdisjoint(subject)


def _is_plain_noun(noun: Sequence[str]) -> bool:
    """Words without another thing beside them, but for "type of skin cancer" and the like."""
    if noun[-1] in ADVERBS or noun[-1].endswith("ly"):
        return False
    little = PREPOSITIONS | RELATIVES | VERBS | DETERMINERS | {"and"}
    return all(
        word[0].isalnum() and (word not in little or (word == "of" and before in CLASS_NOUNS))
        for before, word in zip(["", *noun[:-1]], noun, strict=True)
    )


def _narrows(cut: Sequence[str]) -> bool:
    """Whether it is a relative clause with a common verb, or "known as …" or the like."""
    if any(pair in (("and", "a"), ("and", "an")) for pair in pairwise(cut)):
        return False  # the definition may go on with another thing
    if cut[0] in ("that", "which", "who"):
        verb = next((word for word in cut[1:] if word not in ADVERBS and not word.endswith("ly")), "")
        return verb in RELATIVE_VERBS
    return bool(_DEFINING.match(" ".join(cut[:2]) + " "))
