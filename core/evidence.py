"""Evidence for a prediction: the nearest labelled examples, and what each token adds to the logit.

A linear head's logit of a label is z = w · e + b, and the embedding is a sum over its tokens, e = sum_i p_i
(Touvron et al. 2021, section 3), so that z = b + sum_i w · p_i without remainder.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol, runtime_checkable

import numpy as np

from core.active_heads import ServedHead
from core.classifier_types import Evidence, HeadScores, LabelWeights, Neighbour, TokenWeight
from core.errors import InvalidInput
from core.example_memory import ExampleMemory, KnownExamples
from core.explain import Contribution, contributions, merged, sentence_numbers
from core.ports.classifiers import Heads
from core.token_types import TokenParts
from core.types import Float32, Float64, Int64, PassageText

NEIGHBOURS: Final = 5
OTHER_LABELS: Final = 4  # whose contributions are told beside the winning label's
LONGEST_TEXT: Final = 500  # characters shown of a neighbour


@runtime_checkable
class SplitsPassages(Protocol):
    """What of core.ports.models.PartsEncoder evidence needs; not every encoder of adapters has it."""

    def passage_parts(self, passages: list[PassageText]) -> list[TokenParts]: ...


@dataclass(frozen=True, slots=True)
class EvidenceService:
    """Explains predictions one by one, in the encoder's exact arithmetic.

    `sentence_starts` gives the offsets at which sentences of a text begin.
    """

    heads: Heads
    memory: ExampleMemory
    sentence_starts: Callable[[str], Sequence[int]]

    def explain(
        self, served: ServedHead, texts: list[str], vectors: Float32, scores: HeadScores
    ) -> list[Evidence]:
        """For each of n texts with `vectors` (n, d): why its most probable label."""
        known = self.memory.recall(served.space, served.classifier.updated_at)
        near = _nearest(known, vectors)
        ranked = np.argsort(-scores.probabilities, axis=1, kind="stable")[:, : OTHER_LABELS + 1]
        return [
            self._explain(served, text, columns, float(scores.logits[row, columns[0]]), near[row])
            for row, (text, columns) in enumerate(zip(texts, ranked, strict=True))
        ]

    def _explain(
        self, served: ServedHead, text: str, ranked: Int64, logit: float, near: tuple[Neighbour, ...]
    ) -> Evidence:
        """`ranked` are columns of labels, the most probable first."""
        labels = [served.head.labels[int(column)] for column in ranked]
        linear = [one for label in labels if (one := self.heads.linear(served.head, label)) is not None]
        parts = _parts(served, text) if linear else None
        if parts is None:
            return Evidence(labels[0], logit, near)
        vectors = parts.vectors.astype(np.float64)
        best, *others = [
            _of_label(label, bias, vectors @ weights.astype(np.float64))
            for label, (weights, bias) in zip(labels, linear, strict=True)
        ]
        tokens = contributions(parts, best.contributions)
        sentences = sentence_numbers(tokens, self.sentence_starts(text))
        whole = PassageText("", text)
        return Evidence(
            best.label,
            best.logit,
            near,
            best.bias,
            _weights(tokens),
            _weights(merged(tokens, whole, parts.words)),
            _weights(merged(tokens, whole, sentences)),
            tuple(others),
        )


def _of_label(label: str, bias: float, values: Float64) -> LabelWeights:
    return LabelWeights(label, bias + float(values.sum()), bias, tuple(values.tolist()))


def _parts(served: ServedHead, text: str) -> TokenParts | None:
    """None where the encoder's embedding is no sum over tokens."""
    if not isinstance(served.encoder, SplitsPassages):
        return None
    try:
        return served.encoder.passage_parts([PassageText("", text)])[0]
    except InvalidInput:
        return None


def _weights(contributed: Sequence[Contribution]) -> tuple[TokenWeight, ...]:
    return tuple(TokenWeight(one.text, one.start, one.end, one.contribution) for one in contributed)


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
