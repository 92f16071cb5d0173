"""Trained heads: implements core.ports.classifiers.Heads by the modules of this room."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

import numpy as np

from classifier.blas_threads import use_one_thread
from classifier.plots import plot
from classifier.scoring import score
from classifier.suggest import suggest
from core.classifier_types import (
    DocumentVectors,
    Examples,
    Head,
    HeadKind,
    HeadScores,
    SuggestedRow,
    TrainedHead,
    TrainingOptions,
)
from core.ports.classifiers import Going
from core.types import Float32


class ClassifierHeads:
    """scipy and matplotlib, which are large, are imported when one trains or draws."""

    def train(self, examples: Examples, options: TrainingOptions, going: Going) -> TrainedHead:
        from classifier.training import train

        return train(examples, options, going)

    def refit(self, head: Head, examples: Examples, options: TrainingOptions) -> TrainedHead:
        from classifier.refitting import refit

        return refit(head, examples, options)

    def scores(self, head: Head, vectors: Float32) -> HeadScores:
        return score(head, vectors)

    def linear(self, head: Head, label: str) -> tuple[Float32, float] | None:
        if head.kind is HeadKind.NEIGHBOURS:
            return None
        column = head.labels.index(label)
        weights = np.ascontiguousarray(head.arrays["weights"][:, column], dtype=np.float32)
        return weights, float(head.arrays["bias"][column])

    def suggest(
        self, head: Head, documents: DocumentVectors, labelled: Float32, k: int
    ) -> list[SuggestedRow]:
        return suggest(head, score(head, documents.vectors), documents.vectors, labelled, k)

    def plot(self, report: Mapping[str, Any], name: str) -> bytes:
        return plot(report, name)


def preload() -> None:
    """Imports and sets what the first refit would otherwise wait for, most of a second."""
    for name in ("scipy.optimize", "classifier.refitting"):
        import_module(name)
    use_one_thread()
