"""A small head with real arithmetic: the nearest mean of a label's vectors, by a softmax over cosines."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from core.classifier_types import (
    Abstention,
    DocumentVectors,
    Examples,
    Head,
    HeadKind,
    HeadScores,
    SuggestedRow,
    TrainedHead,
    TrainingOptions,
)
from core.errors import NotFound
from core.ports.classifiers import Going
from core.types import Float32

SHARPNESS = 20.0
STEPS = 4


@dataclass
class CentroidHeads:
    """Implements core.ports.classifiers.Heads; `during` is called at each step of a training."""

    during: Callable[[int], None] = lambda step: None

    def train(self, examples: Examples, options: TrainingOptions, going: Going) -> TrainedHead:
        for step in range(STEPS):
            self.during(step)
            going(step / STEPS)
        return _fitted(examples, options, HeadKind.PROTOTYPES)

    def refit(self, head: Head, examples: Examples, options: TrainingOptions) -> TrainedHead:
        return _fitted(examples, options, head.kind)

    def scores(self, head: Head, vectors: Float32) -> HeadScores:
        logits = np.asarray(vectors @ head.arrays["weights"].T + head.arrays["bias"], np.float32)
        if head.is_multi:
            probabilities = 1 / (1 + np.exp(-logits))
            is_chosen = probabilities > 0.5
        else:
            exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
            probabilities = exponentials / exponentials.sum(axis=1, keepdims=True)
            is_chosen = np.arange(len(head.labels)) == probabilities.argmax(axis=1)[:, None]
        unsure = probabilities.max(axis=1, initial=0) < head.parameters["abstain_below"]
        abstentions = tuple(Abstention.LOW_CONFIDENCE if one else None for one in unsure.tolist())
        return HeadScores(logits, np.asarray(probabilities, np.float32), is_chosen, abstentions)

    def linear(self, head: Head, label: str) -> tuple[Float32, float] | None:
        row = head.labels.index(label)
        return head.arrays["weights"][row], float(head.arrays["bias"][row])

    def suggest(
        self, head: Head, documents: DocumentVectors, labelled: Float32, k: int
    ) -> list[SuggestedRow]:
        probabilities = self.scores(head, documents.vectors).probabilities
        best = probabilities.max(axis=1)
        rows = np.argsort(best, kind="stable")[:k].tolist()
        labels = [head.labels[int(probabilities[row].argmax())] for row in rows]
        return [
            SuggestedRow(row, label, float(best[row]), 1 - float(best[row]), 0.5, 1 - float(best[row]))
            for row, label in zip(rows, labels, strict=True)
        ]

    def plot(self, report: Mapping[str, Any], name: str) -> bytes:
        if name != "confusion":
            raise NotFound(f"there is no plot {name!r}")
        return b"PNG of " + str(report["accuracy"]).encode()


def _fitted(examples: Examples, options: TrainingOptions, kind: HeadKind) -> TrainedHead:
    truth = examples.truth.astype(np.float32)
    weights = SHARPNESS * (truth.T @ examples.vectors) / np.maximum(truth.sum(axis=0), 1)[:, None]
    is_multi = options.multi_label or bool((examples.truth.sum(axis=1) != 1).any())
    bias = np.full(len(examples.labels), -SHARPNESS / 2 if is_multi else 0.0, np.float32)
    parameters = {"abstain_below": options.abstain_below or 0.0}
    arrays = {"weights": np.asarray(weights, np.float32), "bias": bias}
    head = Head(kind, examples.labels, is_multi, arrays, parameters)
    chosen = CentroidHeads().scores(head, examples.vectors).is_chosen
    accuracy = float((chosen == examples.truth).all(axis=1).mean())
    return TrainedHead(head, {"accuracy": accuracy}, {"accuracy": accuracy, "problems": []})
