"""Classifiers that the tests of storage put, train and give versions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from core.classifier_types import (
    ByTraining,
    Classifier,
    CollectedExamples,
    CollectionSource,
    EncodedExamples,
    Head,
    HeadKind,
    LabelledText,
    TrainedHead,
    TrainingOptions,
)
from core.types import EncoderInfo, Float32
from tests.storage.world import DIM, ENCODER, World

NEWS = CollectionSource("news", "topic")
OPTIONS = TrainingOptions(head=HeadKind.LOGISTIC, multi_label=False, abstain_below=0.4, seed=7)


def examples(**labels: str) -> list[LabelledText]:
    return [LabelledText(text, (label,)) for text, label in labels.items()]


def put(
    world: World,
    name: str = "mood",
    given: Sequence[LabelledText] | None = (),
    encoder: EncoderInfo = ENCODER,
    source: CollectionSource | None = None,
) -> tuple[Classifier, str]:
    return world.classifiers.put(
        name, encoder, OPTIONS, {"good": "liked"}, source, given, {"request_id": "r"}
    )


def end(world: World, job_id: str) -> None:
    world.long_jobs.begin(job_id)
    world.long_jobs.succeed(job_id, 1)


def trained(seed: int = 0, parameters: Mapping[str, Any] | None = None) -> TrainedHead:
    rng = np.random.default_rng(seed)
    arrays = {"weights": rng.standard_normal((2, DIM)).astype(np.float32), "counts": np.array([3, 4])}
    head = Head(HeadKind.LOGISTIC, ("good", "bad"), False, arrays, parameters or {"temperature": 0.1 + 0.2})
    report = {"accuracy": np.float32(0.5), "macro_f1": float("nan"), "confusion": np.eye(2, dtype=int)}
    return TrainedHead(head, {"accuracy": 0.5, "macro_f1": float("nan")}, report)


def train(world: World, seed: int = 0) -> int:
    """Number of the version that a training of its own makes from the stored examples."""
    return add_version(world, put(world, given=None)[0], seed)


def add_version(world: World, classifier: Classifier, seed: int = 0) -> int:
    return world.classifiers.add_version(
        classifier.id, ByTraining(classifier.job_id or ""), trained(seed), ENCODER, "d" * 64, 2
    ).number


def add_collected(
    world: World, classifier: Classifier, job_id: str, found: Sequence[LabelledText], vectors: Float32
) -> None:
    """A version of examples out of a collection."""
    collected = CollectedExamples(NEWS, EncodedExamples(tuple(found), vectors))
    by = ByTraining(job_id, None, collected)
    world.classifiers.add_version(classifier.id, by, trained(), ENCODER, "d" * 64, len(found))
