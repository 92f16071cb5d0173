"""Evidence for a prediction: the nearest labelled examples, and what each token adds to the logit.

A linear head's logit of a label is z = w · e + b, and the embedding is a sum over its tokens, e = sum_i p_i
(Touvron et al. 2021, section 3), so that z = b + sum_i w · p_i without remainder.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Protocol, runtime_checkable

import numpy as np

from core.active_heads import ServedHead
from core.classifier_types import Evidence, HeadScores, Neighbour, TokenWeight
from core.errors import InvalidInput
from core.example_memory import ExampleMemory, KnownExamples
from core.ports.classifiers import Heads
from core.types import Float32, PassageText, TokenParts

NEIGHBOURS: Final = 5
LONGEST_TEXT: Final = 500  # characters shown of a neighbour


@runtime_checkable
class SplitsPassages(Protocol):
    """What of core.ports.models.PartsEncoder evidence needs; not every encoder of adapters has it."""

    def passage_parts(self, passages: list[PassageText]) -> list[TokenParts]: ...


@dataclass(frozen=True, slots=True)
class EvidenceService:
    """Explains predictions one by one, in the encoder's exact arithmetic."""

    heads: Heads
    memory: ExampleMemory

    def explain(
        self, served: ServedHead, texts: list[str], vectors: Float32, scores: HeadScores
    ) -> list[Evidence]:
        """For each of n texts with `vectors` (n, d): why its most probable label."""
        known = self.memory.recall(served.space, served.classifier.updated_at)
        near = _nearest(known, vectors)
        best = scores.probabilities.argmax(axis=1)
        return [
            self._explain(served, text, int(column), float(scores.logits[row, column]), near[row])
            for row, (text, column) in enumerate(zip(texts, best, strict=True))
        ]

    def _explain(
        self, served: ServedHead, text: str, column: int, logit: float, near: tuple[Neighbour, ...]
    ) -> Evidence:
        label = served.head.labels[column]
        linear = self.heads.linear(served.head, label)
        parts = _parts(served, text) if linear is not None else None
        if linear is None or parts is None:
            return Evidence(label, logit, near)
        weights, bias = linear
        values = parts.vectors.astype(np.float64) @ weights.astype(np.float64)  # (t,)
        tokens = tuple(
            TokenWeight(token.text, token.start, token.end, float(value))
            for token, value in zip(parts.tokens, values, strict=True)
        )
        return Evidence(label, bias + float(values.sum()), near, bias, tokens)


def _parts(served: ServedHead, text: str) -> TokenParts | None:
    """None where the encoder's embedding is no sum over tokens."""
    if not isinstance(served.encoder, SplitsPassages):
        return None
    try:
        return served.encoder.passage_parts([PassageText("", text)])[0]
    except InvalidInput:
        return None


def _nearest(known: KnownExamples, vectors: Float32) -> list[tuple[Neighbour, ...]]:
    """For each row of `vectors` (n, d) the nearest examples, nearest first."""
    similarities = vectors @ known.vectors.T  # (n, examples)
    count = min(NEIGHBOURS, len(known.stored))
    nearest = []
    for row in similarities:
        places = np.argpartition(-row, count - 1)[:count] if count else np.empty(0, np.int64)
        ordered = places[np.argsort(-row[places], kind="stable")]
        nearest.append(
            tuple(
                Neighbour(known.stored[i].text[:LONGEST_TEXT], known.stored[i].labels, float(row[i]))
                for i in ordered
            )
        )
    return nearest
