"""Checks of a generated explanation against the texts it explains; what fails is never shown.

Entailment cannot be decided here. What can be: that quotes, names and numbers are in the texts, that most of
the words are, that nothing is denied which the texts do not deny, or said which the passage denies, that it
is a clause of the passage's sentence, and that it is about the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import numpy as np

from core.clauses import is_clause_of
from core.denials import affirms, denials
from core.embed import lane_of
from core.facts import missing_names, new_words, quotes, squeezed, stutter, words
from core.generation_types import FinishReason, Generated
from core.ports.models import Encoder, TokenSpans
from core.stated_numbers import missing_numbers
from core.telling_words import phrases, support

# Measured on the training part of the explanations, see benchmarks/verification.py and docs/generation.md.
LEAST_SIMILARITY: Final = 0.5
# What a small generator brings in of its own is invented: most of 500 explanations said that one "is a type
# of" another. So all telling words must be in the texts, and each near the one before it there.
LEAST_SUPPORT: Final = 1.0
LEAST_PHRASES: Final = 1.0
FEWEST_WORDS: Final = 3
_ENDS: Final = (".", "!", "…")  # a question explains nothing
_PAIRS: Final = ("()", "[]", "“”", "«»")


class Outcome(StrEnum):
    """What the verification of an explanation found."""

    PASSED = "passed"
    EXTRACTIVE = "extractive"  # none was generated, nothing was to be verified
    NOT_GENERATED = "not_generated"  # there was no generator, or it wrote nothing
    NO_SENTENCE = "no_sentence"
    QUOTE = "quote"
    NAME = "name"
    NUMBER = "number"
    DENIAL = "denial"
    STUTTER = "stutter"
    STRANGE_WORD = "strange_word"
    SUPPORT = "support"
    PHRASES = "phrases"
    CLAUSE = "clause"
    SIMILARITY = "similarity"


@dataclass(frozen=True, slots=True)
class Verdict:
    """`detail` says what failed; `similarity` to the texts, None where an earlier check failed."""

    outcome: Outcome
    detail: str = ""
    similarity: float | None = None

    @property
    def is_passed(self) -> bool:
        return self.outcome is Outcome.PASSED


def check_words(sentence: Generated, texts: Sequence[str]) -> Verdict:
    """All that can be told without the encoder; the last of the texts is the sentence of the passage."""
    text = sentence.text.strip()
    if sentence.finish is FinishReason.LENGTH or not _is_whole(text):
        return Verdict(Outcome.NO_SENTENCE, "it is no whole sentence")
    says_nothing_new = support(text, texts[:1]) == 1 and not denials(text)
    if says_nothing_new or squeezed(text) in {squeezed(one) for one in texts}:
        return Verdict(Outcome.NO_SENTENCE, "it repeats a text and explains nothing")
    whole = " ".join(texts)
    if strange := [quote for quote in quotes(text) if f" {squeezed(quote)} " not in f" {squeezed(whole)} "]:
        return Verdict(Outcome.QUOTE, f"it quotes {strange[0]!r}, which the texts do not say")
    if new := missing_names(text, texts):
        return Verdict(Outcome.NAME, f"it has the name {new[0]!r}, which the texts have not")
    if numbers := missing_numbers(text, whole):
        return Verdict(Outcome.NUMBER, f"it has the number {numbers[0]}, which the texts have not")
    if denials(text) and not denials(whole):
        return Verdict(Outcome.DENIAL, "it denies something, which the texts do not")
    if affirms(text, texts[-1]):
        return Verdict(Outcome.DENIAL, "it says what the text denies")
    if said := stutter(text, whole):
        return Verdict(Outcome.STUTTER, f"it says {said!r} more often than the texts")
    if (share := support(text, texts)) < LEAST_SUPPORT:
        return Verdict(Outcome.SUPPORT, f"only {share:.0%} of its telling words are in the texts")
    if (share := phrases(text, texts)) < LEAST_PHRASES:
        told = f"only {share:.0%} of its neighbouring words are near each other in a text"
        return Verdict(Outcome.PHRASES, told)
    return Verdict(Outcome.PASSED)


def check(sentences: Sequence[Generated], texts: Sequence[str], encoder: Encoder) -> list[Verdict]:
    """One verdict a sentence on whether it may be shown as an explanation of the texts."""
    verdicts = [check_alone(sentence, texts, encoder) for sentence in sentences]
    places = [i for i, verdict in enumerate(verdicts) if verdict.is_passed]
    if not places:
        return verdicts
    compared = [" ".join(texts), *(sentences[i].text for i in places)]
    vectors = encoder.encode_queries(compared, lane_of(len(compared)))
    for i, vector in zip(places, vectors[1:], strict=True):
        verdicts[i] = judged(float(np.dot(vectors[0], vector)))
    return verdicts


def check_alone(sentence: Generated, texts: Sequence[str], encoder: TokenSpans) -> Verdict:
    """All but the similarity."""
    verdict = check_words(sentence, texts)
    if not verdict.is_passed:
        return verdict
    pieces = word_pieces(encoder, new_words(sentence.text, texts))
    if unknown := [word for word, count in pieces.items() if count > 1]:
        detail = f"it has {unknown[0]!r}, which is no word that the encoder knows"
        return Verdict(Outcome.STRANGE_WORD, detail)
    if not is_clause_of(sentence.text, texts[-1]):
        return Verdict(Outcome.CLAUSE, "it is no whole clause of the text, so it may say something else")
    return verdict


def word_pieces(encoder: TokenSpans, words: Sequence[str]) -> dict[str, int]:
    """In how many tokens the encoder reads each word; one for the words that it knows."""
    return dict(zip(words, map(len, encoder.token_spans(words)), strict=True)) if words else {}


def judged(similarity: float) -> Verdict:
    """By the similarity of a sentence to both texts as one."""
    if similarity >= LEAST_SIMILARITY:
        return Verdict(Outcome.PASSED, similarity=similarity)
    detail = f"its similarity to the texts is {similarity:.2f}, below {LEAST_SIMILARITY:.2f}"
    return Verdict(Outcome.SIMILARITY, detail, similarity)


def _is_whole(text: str) -> bool:
    """Whether it looks like one sentence; half a character or one bracket of two is none."""
    begins = not text[:1].islower() and "\ufffd" not in text
    closes = all(text.count(first) == text.count(last) for first, last in _PAIRS) and text.count('"') % 2 == 0
    return begins and closes and text.endswith(_ENDS) and len(words(text)) >= FEWEST_WORDS
