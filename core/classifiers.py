"""Use cases of trained classifiers: train, look at, compare, classify, give feedback, label collections."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from core.active_heads import ServedHead, no_version
from core.classifier_feedback import ClassifierFeedback
from core.classifier_serving import ClassifierServing
from core.classifier_training import ClassifierTraining
from core.classifier_types import (
    Classifier,
    ClassifierVersion,
    Feedback,
    LabelingRule,
    LabelledText,
    Labelling,
    Predictions,
    StoredExample,
    Suggestion,
    TrainRequest,
)
from core.errors import InvalidInput
from core.example_memory import KnownExamples
from core.job_types import Job
from core.labelling import LabellingService
from core.ports.classifiers import ClassifierStore, Heads
from core.suggesting import SuggestionService

MAX_DIFFERENCES: Final = 20
MAX_PAGE: Final = 1000


@dataclass(frozen=True, slots=True)
class ClassifierService:
    """One door to all of them; the parts share what they keep in memory."""

    store: ClassifierStore
    heads: Heads
    training: ClassifierTraining
    feedback: ClassifierFeedback
    serving: ClassifierServing
    labelling: LabellingService
    suggesting: SuggestionService

    def put(self, name: str, request: TrainRequest, request_id: str = "") -> Job:
        """Queues a training of a new or a known classifier.

        Raises InvalidInput, NotFound (a collection), EncoderMismatch, or Conflict while a training of the
        name is not over.
        """
        return self.training.put(name, request, request_id)

    def get(self, name: str) -> Classifier:
        """Raises NotFound."""
        return self.store.get(name)

    def delete(self, name: str) -> None:
        """With examples, versions and rules. Raises NotFound, or Conflict while a training is not over."""
        classifier = self.store.get(name)
        self.store.delete(name)
        self.serving.active.forget(name)
        self.training.memory.forget(classifier.id)

    def versions(self, name: str) -> Sequence[ClassifierVersion]:
        """Newest first. Raises NotFound."""
        return self.store.versions(self.store.get(name).id)

    def activate(self, name: str, number: int) -> ClassifierVersion:
        """Lets a version serve again; its predictions are what they were. Raises NotFound."""
        version = self.store.activate(self.store.get(name).id, number)
        self.serving.active.forget(name)
        return version

    def examples(self, name: str, limit: int = MAX_PAGE, after: int = 0) -> Sequence[StoredExample]:
        """Raises NotFound, InvalidInput."""
        if not 1 <= limit <= MAX_PAGE:
            raise InvalidInput(f"limit is {limit}; it must be 1 to {MAX_PAGE:,}.")
        return self.store.examples(self.store.get(name).id, limit, after)

    def change_examples(
        self, name: str, changed: Sequence[LabelledText], removed: Sequence[str] = (), request_id: str = ""
    ) -> Feedback:
        """Adds, corrects and removes examples; the new version serves when this returns.

        Raises NotFound, InvalidInput (then nothing is stored), EncoderMismatch.
        """
        return self.feedback.change(name, changed, removed, request_id)

    def report(self, name: str, number: int | None = None) -> Mapping[str, Any]:
        """Of the active version, or of one. Raises NotFound, Conflict when nothing was trained yet."""
        classifier = self.store.get(name)
        return self.store.report(classifier.id, _number(classifier, number))

    def plot(self, name: str, number: int | None, plot: str) -> bytes:
        """A PNG: confusion, calibration or learning_curve. Raises NotFound, Conflict."""
        return self.heads.plot(self.report(name, number), plot)

    def compare(self, name: str, first: int, second: int) -> Mapping[str, Any]:
        """What differs between two versions, also in what they say of the examples stored now.

        Raises NotFound, EncoderMismatch.
        """
        one, other = self.serving.active.get(name, first), self.serving.active.get(name, second)
        metrics = {
            label: dict(served.version.metrics) for label, served in (("first", one), ("second", other))
        }
        shared = metrics["first"].keys() & metrics["second"].keys()
        changes = {key: metrics["second"][key] - metrics["first"][key] for key in sorted(shared)}
        labels = set(one.version.labels), set(other.version.labels)
        return {
            "first": first,
            "second": second,
            "metrics": metrics,
            "differences": changes,
            "labels_only_in_first": sorted(labels[0] - labels[1]),
            "labels_only_in_second": sorted(labels[1] - labels[0]),
            "predictions": self._differing(one, other),
        }

    def classify(
        self, name: str, texts: Sequence[str], evidence: bool = False, number: int | None = None
    ) -> Predictions:
        """One prediction a text, in order; a text longer than the encoder reads is cut and says so.

        Raises NotFound, InvalidInput, Conflict when nothing was trained yet, EncoderMismatch.
        """
        return self.serving.classify(name, texts, evidence, number)

    def suggest(self, name: str, collection: str, k: int = 20) -> Sequence[Suggestion]:
        """Documents that are no examples and whose labels would help most.

        Raises NotFound, InvalidInput, Conflict, EncoderMismatch.
        """
        return self.suggesting.suggest(name, collection, k)

    def label_collection(self, collection: str, asked: Labelling, request_id: str = "") -> Job:
        """Queues the labelling of all searchable documents by the version that is active now.

        Raises NotFound, InvalidInput, Conflict, EncoderMismatch.
        """
        return self.labelling.start(collection, asked, request_id)

    def remove_labels(self, collection: str, field: str, request_id: str = "") -> Job:
        """Queues that the labels of a field are taken off again; its rule ends. Raises NotFound."""
        return self.labelling.remove_labels(collection, field, request_id)

    def rules(self, collection: str) -> Sequence[LabelingRule]:
        """Which labels the collection's documents get on arrival. Raises NotFound."""
        return self.labelling.rules(collection)

    def remove_rule(self, collection: str, field: str) -> None:
        """Documents keep what they have. Raises NotFound."""
        self.labelling.remove_rule(collection, field)

    def list(self) -> Sequence[Classifier]:
        """By name."""
        return self.store.list()

    def _differing(self, one: ServedHead, other: ServedHead) -> Mapping[str, Any]:
        """On how many of the stored examples the chosen labels differ, and the first of them.

        Only a version with an encoder of its own has vectors of its own, read at another moment; examples
        that were added or removed between the two are left out.
        """
        known = self.training.memory.load(one.space)
        is_shared = other.space.key == one.space.key
        first = self._given(one, known)
        second = self._given(other, known if is_shared else self.training.memory.load(other.space))
        texts = {example.id: example.text for example in known.stored}
        both = [id_ for id_ in first if id_ in second]
        differing = [id_ for id_ in both if first[id_] != second[id_]]
        shown = [
            {"text": texts[id_], "first": list(first[id_]), "second": list(second[id_])}
            for id_ in differing[:MAX_DIFFERENCES]
        ]
        return {"examples": len(both), "differing": len(differing), "shown": shown}

    def _given(self, served: ServedHead, known: KnownExamples) -> dict[int, tuple[str, ...]]:
        """Example id -> labels chosen, in order of id."""
        chosen = self.heads.scores(served.head, known.vectors).is_chosen
        labels = np.array(served.head.labels, object)
        return {example.id: tuple(labels[row]) for example, row in zip(known.stored, chosen, strict=True)}


def _number(classifier: Classifier, number: int | None) -> int:
    wanted = classifier.active if number is None else number
    if wanted is None:
        raise no_version(classifier)
    return wanted
