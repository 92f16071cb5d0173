"""Ports of trained classifiers: the heads, their store, and encoders tuned for one of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from typing import Any, Protocol

import numpy.typing as npt

from core.classifier_types import (
    Classifier,
    ClassifierVersion,
    CollectionSource,
    DocumentVectors,
    ExampleChanges,
    Examples,
    GivenLabel,
    Head,
    HeadScores,
    LabelingRule,
    LabelledText,
    MadeBy,
    StoredExample,
    SuggestedRow,
    TrainedHead,
    TrainingOptions,
)
from core.job_types import ArrivalRule, JobStep
from core.ports.models import Encoder
from core.types import EncoderInfo, Float32, Int64

Arrays = Mapping[str, npt.NDArray[Any]]
Going = Callable[[float], None]  # told the share done (0 to 1) now and then; raises to end the work
LabelCounts = Mapping[frozenset[str], int]  # of each set of labels, how many examples have it
# Told the labels before and after a change, and the classifier then; may refuse it.
LabelsCheck = Callable[[LabelCounts, LabelCounts, Classifier], None]


class Heads(Protocol):
    """Trains and applies heads; holds no state and knows no database."""

    def train(self, examples: Examples, options: TrainingOptions, going: Going) -> TrainedHead:
        """The best head by cross-validation, calibrated, with its report. Raises InvalidInput."""
        ...

    def refit(self, head: Head, examples: Examples, options: TrainingOptions) -> TrainedHead:
        """The same kind and hyper-parameters fitted to changed examples, in at most about a second.

        New labels may have come; without enough for calibration the earlier calibration is kept.
        """
        ...

    def scores(self, head: Head, vectors: Float32) -> HeadScores:
        """For `vectors` (n, d). Arithmetic on arrays alone: fit for the path of a request."""
        ...

    def linear(self, head: Head, label: str) -> tuple[Float32, float] | None:
        """Weights (d,) and bias of a label's logit; None where the head is not linear in the vector."""
        ...

    def suggest(
        self, head: Head, documents: DocumentVectors, labelled: Float32, k: int
    ) -> list[SuggestedRow]:
        """At most k documents whose label would help most, first; `labelled` (m, d) are the examples'."""
        ...

    def plot(self, report: Mapping[str, Any], name: str) -> bytes:
        """A PNG: confusion, calibration or learning_curve. Raises NotFound for another name or no data."""
        ...


class EncoderTuner(Protocol):
    """Contrastive few-shot tuning of adapters in the service's own encoder."""

    def tune(self, texts: Sequence[str], truth: npt.NDArray[Any], seed: int, going: Going) -> Arrays:
        """Adapter arrays for `truth` (n, c). Raises InvalidInput or Unavailable when there are none.

        What `going` raises ends the work, and is raised.
        """
        ...

    def encoder(self, adapters: Arrays) -> Encoder:
        """The service's encoder with these adapters; the last few are kept."""
        ...


class ClassifierStore(Protocol):
    """Classifiers, their examples, versions and labelling rules."""

    def put(
        self,
        name: str,
        encoder: EncoderInfo,
        options: TrainingOptions,
        descriptions: Mapping[str, str],
        source: CollectionSource | None,
        examples: Sequence[LabelledText] | None,
        job_details: Mapping[str, Any],
    ) -> tuple[Classifier, str]:
        """Creates or changes a classifier and queues a training job, whose id is returned.

        `examples` replace the stored ones; None keeps them. A `source` is noted in the job's details, and
        the classifier's from the version on that is made of it. Versions stay, and the active one serves on.
        The job's details name the `classifier`. Vectors stay with texts that stay, unless the encoder is
        another. Raises Conflict, naming the job, while an earlier training of this name is not over.
        """
        ...

    def get(self, name: str) -> Classifier:
        """Raises NotFound."""
        ...

    def delete(self, name: str) -> None:
        """With examples, versions and rules. Raises NotFound, or Conflict while a training is not over."""
        ...

    def examples(self, classifier_id: int, limit: int | None = None, after: int = 0) -> list[StoredExample]:
        """In order of id."""
        ...

    def vectors(self, classifier_id: int) -> dict[int, Float32]:
        """Example id -> embedding (d,), of those stored."""
        ...

    def save_vectors(self, classifier_id: int, vectors: Mapping[int, Float32]) -> None:
        """Example id -> embedding (d,), kept as float16; examples gone meanwhile are left out."""
        ...

    def change_examples(
        self,
        classifier_id: int,
        changed: Sequence[LabelledText],
        removed: Sequence[str],
        check: LabelsCheck | None = None,
    ) -> ExampleChanges:
        """Adds examples, corrects the labels of texts already there, removes those of the given texts.

        Of equal texts the last counts. `check` is called while nobody else can change the examples; where it
        raises, all stays as it was. Raises NotFound when the classifier is gone.
        """
        ...

    def removed(self, classifier_id: int, texts: Iterable[str]) -> Set[str]:
        """Those of the texts that were removed since the present training from a collection was accepted."""
        ...

    def add_version(
        self,
        classifier_id: int,
        made_by: MadeBy,
        trained: TrainedHead,
        encoder: EncoderInfo,
        data_hash: str,
        examples: int,
        adapters: Arrays | None = None,
    ) -> ClassifierVersion:
        """Adds a version and makes it the active one. Of those that feedback made only the newest are kept.

        The training that made it ends with it, and what that collected takes the place of the examples.
        Raises NotFound when the classifier is gone, Overtaken when what it was made by no longer holds, of
        which ExamplesChanged says that they were, since the training read them.
        """
        ...

    def behind(self) -> Sequence[Classifier]:
        """Those changed since the examples were read of which their newest version, which serves, was made.

        Left out are those in training, and those whose newest training was sent examples and came to nothing:
        whoever cancels it does not want them learned.
        """
        ...

    def versions(self, classifier_id: int) -> list[ClassifierVersion]:
        """Newest first."""
        ...

    def version(self, classifier_id: int, number: int) -> ClassifierVersion:
        """Raises NotFound."""
        ...

    def head(self, classifier_id: int, number: int) -> tuple[Head, Arrays | None]:
        """The head and, of a tuned version, its adapters. Raises NotFound."""
        ...

    def report(self, classifier_id: int, number: int) -> Mapping[str, Any]:
        """Raises NotFound."""
        ...

    def activate(self, classifier_id: int, number: int) -> ClassifierVersion:
        """Raises NotFound."""
        ...

    def rules(self, collection_id: int) -> list[LabelingRule]: ...

    def arrival_rules(self, collection_id: int) -> Sequence[ArrivalRule]:
        """The same rules, each with the version that is active now."""
        ...

    def add_rule(self, rule: LabelingRule) -> None:
        """Replaces a rule of the same collection and field. Raises NotFound."""
        ...

    def remove_rule(self, collection_id: int, field: str) -> None:
        """Raises NotFound."""
        ...

    def list(self) -> list[Classifier]:
        """By name."""
        ...


class LabelStore(Protocol):
    """Reads vectors of documents in pages, and writes labels into their metadata."""

    def document_vectors(self, collection_id: int, after: int, limit: int) -> DocumentVectors:
        """At most `limit` searchable documents with an id greater than `after`, in order of id.

        Fewer of many passages; none when there are no more.
        """
        ...

    def labelled(
        self, collection_id: int, field: str, after: int, limit: int, with_none: bool = False
    ) -> tuple[list[tuple[str, tuple[str, ...]]], DocumentVectors]:
        """(text, values of the metadata field as text) and vectors, of searchable documents that have any.

        Only what callers sent counts, not what labelling wrote there. `with_none`: also those of an empty
        list, which is to say that none of the labels fits. At most `limit`, fewer of many
        passages; none when there are no more.
        """
        ...

    def has_annotations(self, collection_id: int, field: str) -> bool:
        """Whether labelling wrote a value to metadata `field` of any searchable document."""
        ...

    def holder(self, collection_id: int, field: str) -> str | None:
        """The external id of a searchable document with passages whose caller sent a value in `field`.

        Left out are those that labelling wrote to in that field: theirs is hidden already.
        """
        ...

    def annotated(self, collection_id: int, field: str, after: int, limit: int) -> list[int]:
        """At most `limit` searchable documents with an id greater than `after` that labelling wrote to."""
        ...

    def write(
        self,
        collection_id: int,
        field: str,
        labels: Mapping[int, GivenLabel | None],
        step: JobStep | None = None,
    ) -> int:
        """Document id -> what metadata `field` and `{field}_confidence` are to say; the seq of the change.

        None takes off what labelling wrote.

        Stays when the caller sends the document's metadata anew, and goes with its content. Documents gone
        meanwhile are left out. The `step` of the job that labels is noted with the change, or neither is
        made. Raises NotFound when the collection is gone, Conflict when the job is over: cancelled, say.
        """
        ...

    def rows(self, collection_id: int, document_ids: Int64) -> dict[int, tuple[str, str, str]]:
        """Document id -> (external id, title, text) of searchable ones."""
        ...
