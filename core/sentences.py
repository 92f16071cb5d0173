"""The sentences of a text as a reader would quote them, and the one that carries most of a score."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from core.explain import Contribution
from core.token_types import TokenField
from core.types import Span

_ENDS = tuple(".!?…。！？।؟")
_CLOSING = "\"'”’»)]」』 \t\n"
FEWEST_WORDS = 3


@dataclass(frozen=True, slots=True)
class QuotedSentence:
    """A sentence of a text, at `span` in it, and what it adds to the score."""

    text: str
    span: Span
    contribution: float

    @property
    def is_whole(self) -> bool:
        """Whether it reads like a sentence: words, a beginning that is none of a middle, and an end."""
        is_ended = self.text.rstrip(_CLOSING).endswith(_ENDS)
        letters = [letter for letter in self.text if letter.isalpha()]
        return (
            is_ended and len(self.text.split()) >= FEWEST_WORDS and bool(letters) and not letters[0].islower()
        )


def sentences(text: str, starts: Sequence[int], tokens: Sequence[Contribution]) -> list[QuotedSentence]:
    """All sentences, with their marks; `tokens` of the text are added up by where they begin."""
    bounds = sorted({0, *starts, len(text)})
    of_text = [token for token in tokens if token.field is TokenField.TEXT]
    places = np.searchsorted(bounds, [token.start for token in of_text], side="right") - 1
    values = np.zeros(len(bounds))
    np.add.at(values, places, [token.contribution for token in of_text])
    found = []
    for start, end, value in zip(bounds, bounds[1:], values.tolist(), strict=False):
        shown = text[start:end].strip()
        if shown:
            at = start + text[start:end].index(shown)
            found.append(QuotedSentence(shown, Span(at, at + len(shown)), value))
    return found


def most_telling(found: Sequence[QuotedSentence]) -> QuotedSentence | None:
    """The whole sentence that adds most; where none is whole, the one of all that adds most."""
    whole = [sentence for sentence in found if sentence.is_whole]
    return max(whole or found, key=lambda sentence: sentence.contribution, default=None)
