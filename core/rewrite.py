"""Use case rewrite: candidates of the generator, each checked against its source before it is given out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Final

import numpy as np

from core.documents import check_text
from core.embed import lane_of
from core.errors import InvalidInput
from core.facts import new_words
from core.generating import GenerationService, Stream
from core.generation_types import FinishReason, Generated, GenerationOptions, GenerationTask
from core.ports.models import Encoder
from core.rewrite_ranking import candidates_of, order
from core.rewrite_rules import (
    CURRENT,
    RULES,
    Drop,
    DropReason,
    altered,
    drop_of,
    far,
    strange,
    unverified_names,
    what_counts,
)
from core.types import Float32
from core.verification import word_pieces

TASKS: Final = tuple(task.value for task in RULES)
FEWEST_BEAMS: Final = 4
_SHOWN: Final = 80  # characters of a sentence in a message
MOST_TOKENS: Final = 256  # or what the generator writes at most


@dataclass(frozen=True, slots=True)
class RewriteLimits:
    max_texts: int = 64
    max_n: int = 8
    max_text_bytes: int = 32_768
    max_sentences: int = 256  # of a call, for tasks that work on one at a time


@dataclass(frozen=True, slots=True)
class Rewrite:
    """`similarity` to the source in the space of the encoder, None for another language.

    `unverified` are names of the source that a translation has in no similar spelling.
    """

    text: str
    similarity: float | None
    score: float
    unverified: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class DroppedCandidate:
    text: str
    similarity: float | None
    drop: Drop


@dataclass(frozen=True, slots=True)
class Rewritten:
    """Of one text: at most n distinct rewrites, best first, and what was not let through."""

    rewrites: tuple[Rewrite, ...]
    dropped: tuple[DroppedCandidate, ...]


@dataclass(frozen=True, slots=True)
class _Candidate:
    """`flaw` is what is wrong with a sentence of it, which the text as a whole may not show."""

    generated: Generated
    flaw: Drop | None = None


@dataclass(frozen=True, slots=True)
class RewriteService:
    """`sentence_starts` gives the offsets at which sentences of a text begin."""

    generation: GenerationService
    encoder: Encoder
    sentence_starts: Callable[[str], Sequence[int]]
    limits: RewriteLimits = RewriteLimits()

    def rewrite(self, texts: Sequence[str], task: str, n: int = 1) -> list[Rewritten]:
        """One result a text, in order.

        Raises InvalidInput naming the text at fault and the limit, Overloaded, Unavailable.
        """
        wanted = self._check(texts, task, n)
        parts = [self._parts(text, wanted) for text in texts]
        self._check_lengths(parts, wanted)
        count = candidates_of(wanted, n)
        options = GenerationOptions(n=count, beams=max(FEWEST_BEAMS, count), max_new_tokens=MOST_TOKENS)
        sources = [part for of_text in parts for part in of_text]
        found = self.generation.generate(wanted, sources, options)
        ends = list(accumulate(len(of_text) for of_text in parts))
        candidates = [
            _joined(wanted, p, found[end - len(p) : end]) for p, end in zip(parts, ends, strict=True)
        ]
        return self._verified(wanted, texts, candidates, n)

    def stream(self, text: str, task: str) -> Stream:
        """Pieces of one rewrite as they are decided; none of it is verified. Raises like `rewrite`."""
        wanted = self._check([text], task, 1)
        parts = self._parts(text, wanted)
        self._check_lengths([parts], wanted)
        if len(parts) > 1:
            raise InvalidInput(
                f"text has {len(parts)} sentences; {wanted} works on one at a time, so only one can be"
                " streamed. Send it without stream."
            )
        return self.generation.stream(
            wanted, parts[0], GenerationOptions(beams=1, max_new_tokens=MOST_TOKENS)
        )

    def verify(self, text: str, task: str, rewrite: str, finish: FinishReason | None) -> Rewritten:
        """What a streamed rewrite is worth: kept, or dropped with the reason.

        `finish` is the stream's at its end; a text that did not end is taken for cut off.
        """
        most = min(MOST_TOKENS, self.generation.info.max_new_tokens)  # as many has what was cut off
        candidate = Generated(rewrite, 0.0, finish or FinishReason.LENGTH, most)
        return self._verified(GenerationTask(task), [text], [[_Candidate(candidate)]], 1)[0]

    def _verified(
        self, task: GenerationTask, texts: Sequence[str], candidates: Sequence[Sequence[_Candidate]], n: int
    ) -> list[Rewritten]:
        written = [[candidate.generated for candidate in of_text] for of_text in candidates]
        similarities = self._similarities(task, texts, written)
        return [
            self._sifted(task, text, of_text, near, n)
            for text, of_text, near in zip(texts, candidates, similarities, strict=True)
        ]

    def _sifted(
        self,
        task: GenerationTask,
        text: str,
        candidates: Sequence[_Candidate],
        similarities: Sequence[float | None],
        n: int,
    ) -> Rewritten:
        rewrites: list[Rewrite] = []
        dropped: list[DroppedCandidate] = []
        seen: set[str] = set()
        for place in order(task, text, [candidate.generated for candidate in candidates]):
            one, similarity = candidates[place], similarities[place]
            candidate = one.generated
            drop = drop_of(task, text, candidate) or one.flaw or self._strange(task, text, candidate)
            drop = drop or far(task, similarity)
            said = what_counts(task, candidate.text)
            if drop is None and said in seen:
                drop = Drop(DropReason.REPEATED, "it says the same as an earlier one")
            if drop is not None:
                self.generation.meter.dropped(task, drop.reason)
                dropped.append(DroppedCandidate(candidate.text, similarity, drop))
            elif len(rewrites) < n:
                seen.add(said)
                unverified = unverified_names(task, text, candidate.text)
                rewrites.append(Rewrite(candidate.text, similarity, candidate.score, unverified))
        return Rewritten(tuple(rewrites), tuple(dropped))

    def _strange(self, task: GenerationTask, text: str, candidate: Generated) -> Drop | None:
        return strange(task, word_pieces(self.encoder, new_words(candidate.text, [text])))

    def _similarities(
        self, task: GenerationTask, texts: Sequence[str], candidates: Sequence[Sequence[Generated]]
    ) -> list[list[float | None]]:
        """Of each candidate to its text; None in another language, and for what is empty."""
        if RULES[task].least_similarity is None:
            return [[None] * len(of_text) for of_text in candidates]
        written = [c.text for of_text in candidates for c in of_text if c.text.strip()]
        compared = [*texts, *written]
        vectors = iter(self.encoder.encode_queries(compared, lane_of(len(compared))))
        sources = [next(vectors) for _ in texts]

        def near(source: Float32, candidate: Generated) -> float | None:
            return float(np.dot(source, next(vectors))) if candidate.text.strip() else None

        return [[near(s, c) for c in of_text] for s, of_text in zip(sources, candidates, strict=True)]

    def _parts(self, text: str, task: GenerationTask) -> list[str]:
        """What the generator is given, one after another."""
        if not RULES[task].is_by_sentence:
            return [text]
        starts = [*self.sentence_starts(text), len(text)]
        if starts[0] > 0:
            starts.insert(0, 0)
        sentences = (text[start:end].strip() for start, end in pairwise(starts))
        return [sentence for sentence in sentences if sentence]

    def _check(self, texts: Sequence[str], task: str, n: int) -> GenerationTask:
        if task not in TASKS:
            elsewhere = " Explanations are at POST /v1/explain." if task == GenerationTask.EXPLAIN else ""
            raise InvalidInput(f"task is {task[:100]!r}; it must be one of {', '.join(TASKS)}.{elsewhere}")
        if not 1 <= n <= self.limits.max_n:
            raise InvalidInput(f"n is {n}; it must be 1 to {self.limits.max_n}.")
        if not 1 <= len(texts) <= self.limits.max_texts:
            raise InvalidInput(
                f"{len(texts)} texts were sent; 1 to {self.limits.max_texts} are allowed in a call."
            )
        for i, text in enumerate(texts):
            self._check_text(text, f"texts[{i}]", task)
        if task not in (known := [standing.task for standing in self.generation.info.tasks]):
            raise InvalidInput(f"task is {task!r}; this server's generator does {', '.join(known)}.")
        return GenerationTask(task)

    def _check_text(self, text: str, name: str, task: str) -> None:
        size = len(check_text(text, name))
        if not text.strip():
            raise InvalidInput(f"{name} is empty or white space.")
        if size > self.limits.max_text_bytes:
            raise InvalidInput(f"{name} has {size:,} bytes; the limit is {self.limits.max_text_bytes:,}.")
        if task == GenerationTask.CONTEXTUAL_QUERY and not text.rpartition(CURRENT)[2].strip():
            raise InvalidInput(f"{name} has nothing after {CURRENT!r}.")
        if task == GenerationTask.CONTEXTUAL_QUERY and CURRENT not in text:
            raise InvalidInput(f"{name} must be 'previous: TURN | TURN {CURRENT} TURN' for {task}.")

    def _check_lengths(self, parts: Sequence[Sequence[str]], task: GenerationTask) -> None:
        every = [(i, part) for i, of_text in enumerate(parts) for part in of_text]
        if len(every) > self.limits.max_sentences:
            raise InvalidInput(
                f"The texts have {len(every)} sentences; the limit is {self.limits.max_sentences} a call."
            )
        most = self.generation.info.max_source_tokens
        counts = self.generation.source_tokens([part for _, part in every])
        unit = "A sentence of texts" if RULES[task].is_by_sentence else "texts"
        for (i, _), count in zip(every, counts, strict=True):
            if count > most:
                raise InvalidInput(f"{unit}[{i}] has {count:,} tokens; the limit of {task} is {most:,}.")


def _joined(
    task: GenerationTask, sources: Sequence[str], parts: Sequence[Sequence[Generated]]
) -> list[_Candidate]:
    """Candidates of a text from those of its parts: the i-th of each, or the last where there are fewer."""
    if not all(parts):
        return []
    if len(parts) == 1:
        return [_Candidate(candidate) for candidate in parts[0]]
    judged = [_judged(task, source, part) for source, part in zip(sources, parts, strict=True)]
    most = max(len(candidates) for candidates in judged)
    return [_sentence_joined([part[min(i, len(part) - 1)] for part in judged]) for i in range(most)]


def _judged(task: GenerationTask, source: str, candidates: Sequence[Generated]) -> list[_Candidate]:
    """Those that keep what their sentence says: another one may have its number, or deny in its place.

    All with what is wrong where none does.
    """
    judged = [_Candidate(candidate, _flaw(task, source, candidate.text)) for candidate in candidates]
    return [candidate for candidate in judged if candidate.flaw is None] or judged


def _flaw(task: GenerationTask, source: str, text: str) -> Drop | None:
    found = altered(task, source, text)
    return found and Drop(found.reason, f"of the sentence {source[:_SHOWN]!r}: {found.detail}")


def _sentence_joined(candidates: Sequence[_Candidate]) -> _Candidate:
    parts = [candidate.generated for candidate in candidates]
    is_cut = any(part.finish is FinishReason.LENGTH for part in parts)
    tokens = sum(part.tokens for part in parts)
    score = sum(part.score * part.tokens for part in parts) / max(tokens, 1)
    text = " ".join(part.text.strip() for part in parts)
    whole = Generated(text, score, FinishReason.LENGTH if is_cut else FinishReason.STOP, tokens)
    return _Candidate(whole, next((one.flaw for one in candidates if one.flaw), None))
