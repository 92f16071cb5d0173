"""Use case reason: one sentence that says why, generated and verified, or else taken from the text itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from core.errors import InvalidInput, Unavailable
from core.explain import Contribution
from core.generating import GenerationService
from core.generation_types import Generated, GenerationOptions, GenerationTask
from core.ports.models import Encoder
from core.sentences import QuotedSentence, most_telling, sentences
from core.types import PassageText, Span
from core.verification import Outcome, check

CANDIDATES: Final = 3  # generated sentences, of which the first that passes is shown
LONGEST_SENTENCE: Final = 350  # characters of each text that the generator is given
OPTIONS: Final = GenerationOptions(n=CANDIDATES, beams=4, max_new_tokens=64)


class ReasonKind(StrEnum):
    GENERATED = "generated"
    EXTRACTED = "extracted"


@dataclass(frozen=True, slots=True)
class Reason:
    """The sentence shown. An extracted one stands at `span` of the text, a generated one has none.

    `outcome` is of the verification; `refused` says why no generated sentence is shown though one was asked
    for. `similarity` is of a generated sentence to both texts.
    """

    text: str
    kind: ReasonKind
    outcome: Outcome
    span: Span | None = None
    similarity: float | None = None
    refused: str = ""


@dataclass(frozen=True, slots=True)
class ReasonService:
    """`sentence_starts` gives the offsets at which sentences of a text begin."""

    generation: GenerationService
    encoder: Encoder
    sentence_starts: Callable[[str], Sequence[int]]

    def reason(
        self, query: str, passage: PassageText, tokens: Sequence[Contribution], is_generated: bool
    ) -> Reason:
        """Why the passage answers the query, by the contributions of its tokens. Raises Overloaded.

        Without a generator that can be used the sentence is extracted, and the reason says so.
        """
        found = most_telling(sentences(passage.text, self.sentence_starts(passage.text), tokens))
        if found is None:
            found = QuotedSentence(passage.title, Span(0, 0), 0.0)
        extracted = Reason(found.text, ReasonKind.EXTRACTED, Outcome.EXTRACTIVE, found.span)
        shown = self._generated(query, extracted) if is_generated else extracted
        self.generation.meter.explained(shown.kind, shown.outcome)
        return shown

    def _generated(self, query: str, extracted: Reason) -> Reason:
        """The first generated sentence that passes, or the extracted one with what was wrong."""
        try:
            candidates = self._candidates(query, extracted.text)
        except (InvalidInput, Unavailable) as error:
            return replace(extracted, outcome=Outcome.NOT_GENERATED, refused=str(error))
        return self.best(candidates, [query, extracted.text], extracted)

    def best(self, candidates: Sequence[Generated], texts: Sequence[str], extracted: Reason) -> Reason:
        """The first candidate that passes all checks against the texts, or else `extracted` and why."""
        if not candidates:
            return replace(extracted, outcome=Outcome.NOT_GENERATED, refused="nothing was generated")
        verdicts = check(candidates, texts, self.encoder)
        for candidate, verdict in zip(candidates, verdicts, strict=True):
            if verdict.is_passed:
                text, near = candidate.text.strip(), verdict.similarity
                return Reason(text, ReasonKind.GENERATED, verdict.outcome, None, near)
        return replace(extracted, outcome=verdicts[0].outcome, refused=verdicts[0].detail)

    def _candidates(self, query: str, sentence: str) -> list[Generated]:
        source = source_of(query, sentence)
        return self.generation.generate(GenerationTask.EXPLAIN, [source], OPTIONS)[0]


def source_of(query: str, sentence: str) -> str:
    """What the generator is asked: why the sentence entails the query, in the words of its training data."""
    return f"premise: {_plain(sentence)} | hypothesis: {_plain(query)} | relation: entailment"


def _plain(text: str) -> str:
    """Within its part of a source: bars divide the parts."""
    return " ".join(text.replace("|", "/").split())[:LONGEST_SENTENCE]
