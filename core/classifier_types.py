"""The nouns of trained classifiers. Shapes: n examples or texts, c labels, d dimensions of an embedding."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from core.job_types import Job
from core.types import EncoderInfo, Float32, Int64

Bools = npt.NDArray[np.bool_]


MAX_NEIGHBOUR_EXAMPLES: Final = 4000  # more make neighbours slow to serve, and other heads better


class HeadKind(StrEnum):
    """How a head decides; what each learns is in docs/classification.md."""

    LOGISTIC = "logistic"
    NEIGHBOURS = "neighbours"
    PROTOTYPES = "prototypes"


class VersionOrigin(StrEnum):
    TRAINING = "training"
    FEEDBACK = "feedback"  # the head of an earlier version, fitted again to changed examples


class Abstention(StrEnum):
    """Why a prediction is marked as not to be relied upon."""

    LOW_CONFIDENCE = "low_confidence"
    OUT_OF_SCOPE = "out_of_scope"  # unlike all that the head was trained on


@dataclass(frozen=True, slots=True)
class TrainingOptions:
    """What the caller leaves to the service is None.

    `target_precision` is what the answers that are not abstained should reach; `abstain_below` fixes the
    probability instead. `multi_label`: an example may have none or several labels.
    """

    head: HeadKind | None = None
    multi_label: bool | None = None
    target_precision: float = 0.95
    abstain_below: float | None = None
    out_of_scope: bool = True
    fine_tune: bool = False
    seed: int = 0


@dataclass(frozen=True, slots=True)
class LabelledText:
    """An example as a caller sent it. `labels` is empty only where examples may have several."""

    text: str
    labels: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class CollectionSource:
    """Examples are the searchable documents of a collection that have a value in a metadata field."""

    collection: str
    label_field: str


@dataclass(frozen=True, slots=True)
class TrainRequest:
    """What to train on: examples, or a collection's labels; with neither what is stored.

    `descriptions` are of labels: name -> words, which may be empty.
    """

    examples: tuple[LabelledText, ...] | None = None
    descriptions: Mapping[str, str] = field(default_factory=dict)
    source: CollectionSource | None = None
    options: TrainingOptions = TrainingOptions()


@dataclass(frozen=True, slots=True, eq=False)
class Examples:
    """What a head is trained on: `vectors` (n, d) float32 unit rows, `truth` (n, c) over `labels`."""

    labels: tuple[str, ...]
    texts: tuple[str, ...]
    vectors: Float32
    truth: Bools


@dataclass(frozen=True, slots=True, eq=False)
class Head:
    """A trained head as plain arrays and plain numbers; all that predicting needs.

    `parameters` holds what JSON can: hyper-parameters, temperature, thresholds, the probability below which
    it abstains.
    """

    kind: HeadKind
    labels: tuple[str, ...]
    is_multi: bool
    arrays: Mapping[str, npt.NDArray[Any]]
    parameters: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class TrainedHead:
    """`report` is what `GET …/report` answers (JSON), `metrics` its chief numbers."""

    head: Head
    metrics: Mapping[str, float]
    report: Mapping[str, Any]


@dataclass(frozen=True, slots=True, eq=False)
class HeadScores:
    """`logits` and calibrated `probabilities` (n, c) float32; `is_chosen` (n, c): the labels given.

    Rows of single-label probabilities add up to 1, and have one chosen label; of several labels each has a
    probability of its own, and those above their thresholds are chosen. `abstentions` (n) are None for
    what can be relied upon.
    """

    logits: Float32
    probabilities: Float32
    is_chosen: Bools
    abstentions: tuple[Abstention | None, ...]


@dataclass(frozen=True, slots=True)
class Neighbour:
    """A labelled example near a text; `similarity` is the cosine of their embeddings."""

    text: str
    labels: tuple[str, ...]
    similarity: float


@dataclass(frozen=True, slots=True)
class TokenWeight:
    """What a token, word or sentence adds to the winning label's logit; [start, end) are characters."""

    text: str
    start: int
    end: int
    contribution: float


@dataclass(frozen=True, slots=True)
class LabelWeights:
    """Of another label than the winning one: `bias` and `contributions`, one a token, add up to `logit`."""

    label: str
    logit: float
    bias: float
    contributions: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Evidence:
    """`bias` and the contributions of `tokens` add up to `logit`, so do those of `words` and `sentences`.

    `others` are the labels that came next, the most probable first. Where the head is not linear, or the
    embedding no sum over tokens, there are the `neighbours` alone.
    """

    label: str
    logit: float
    neighbours: tuple[Neighbour, ...]
    bias: float | None = None
    tokens: tuple[TokenWeight, ...] = ()
    words: tuple[TokenWeight, ...] = ()
    sentences: tuple[TokenWeight, ...] = ()
    others: tuple[LabelWeights, ...] = ()


@dataclass(frozen=True, slots=True)
class Prediction:
    """`label` is the most probable one, `labels` those given: none or several with a multi-label head."""

    label: str
    labels: tuple[str, ...]
    score: float
    scores: Mapping[str, float]
    abstention: Abstention | None
    is_truncated: bool = False
    evidence: Evidence | None = None


@dataclass(frozen=True, slots=True)
class Predictions:
    classifier: str
    version: int
    predictions: tuple[Prediction, ...]


@dataclass(frozen=True, slots=True)
class ClassifierVersion:
    """One training's outcome. Numbers count from 1 and are never given out twice."""

    number: int
    origin: VersionOrigin
    kind: HeadKind
    labels: tuple[str, ...]
    is_multi: bool
    encoder: EncoderInfo
    data_hash: str
    examples: int
    metrics: Mapping[str, float]
    created_at: datetime
    is_tuned: bool = False  # reads texts with adapters of its own, not the service's encoder as it is


@dataclass(frozen=True, slots=True)
class Classifier:
    """A named classifier. `active` is the number of the version that serves; None before the first training.

    `descriptions` are of labels; `job_id` is the newest training.
    """

    id: int
    name: str
    encoder: EncoderInfo
    options: TrainingOptions
    descriptions: Mapping[str, str]
    source: CollectionSource | None
    active: int | None
    examples: int
    job_id: str | None
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class StoredExample:
    """`id` grows with age of the first writing. `is_encoded`: its embedding is stored too."""

    id: int
    text: str
    labels: tuple[str, ...]
    is_encoded: bool
    updated_at: datetime


@dataclass(frozen=True, slots=True, eq=False)
class EncodedExamples:
    """Labelled texts, each once, stored or not, and their vectors (n, d)."""

    labelled: tuple[LabelledText | StoredExample, ...]
    vectors: Float32


@dataclass(frozen=True, slots=True, eq=False)
class CollectedExamples:
    """Examples out of a collection, which take the place of all that are stored."""

    source: CollectionSource
    encoded: EncodedExamples


@dataclass(frozen=True, slots=True, eq=False)
class ByTraining:
    """A version is what this job made, which must still be open and the classifier's newest training.

    `as_of` is the classifier's last change when the examples were read: if it was changed since, there is no
    version; None adds it all the same. What was `collected` is stored with the version, or neither is; what
    was changed since `as_of` would be lost then, so it is not None.
    """

    job_id: str
    as_of: datetime | None = None
    collected: CollectedExamples | None = None


@dataclass(frozen=True, slots=True)
class ByFeedback:
    """A version goes on from the one of this number, which must still be the active one.

    `as_of` is the classifier's last change when the examples were read, None if that is not known.
    """

    active: int
    as_of: datetime | None = None


MadeBy = ByTraining | ByFeedback


@dataclass(frozen=True, slots=True)
class ExampleChanges:
    """What a call did to the stored examples; `problems` tell what looks wrong with them."""

    added: int
    corrected: int
    unchanged: int
    removed: int
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Feedback:
    """`version` is the newly active one; None when a training in progress (`job`) will take the change in."""

    changes: ExampleChanges
    version: ClassifierVersion | None
    job: Job | None = None


@dataclass(frozen=True, slots=True)
class SuggestedRow:
    """A row of document vectors whose label would help most, and why: see `Suggestion`."""

    row: int
    label: str
    probability: float
    uncertainty: float
    density: float
    score: float


@dataclass(frozen=True, slots=True)
class Suggestion:
    """A document whose label would help most. `score` ranks, the others say why (0 to 1 each)."""

    id: str
    title: str
    text: str
    label: str
    probability: float
    uncertainty: float
    density: float
    score: float


@dataclass(frozen=True, slots=True)
class Labelling:
    """What is asked of a labelling: labels of `classifier` into metadata `field` of all documents.

    `on_arrival`: documents that become searchable later get the label of the version then active.
    `may_hide`: what documents hold in the field may go out of sight.
    """

    classifier: str
    field: str
    on_arrival: bool = False
    may_hide: bool = False


@dataclass(frozen=True, slots=True)
class LabelingRule:
    """Documents of a collection get the classifier's label in metadata `field` when they are encoded."""

    collection_id: int
    classifier: str
    field: str


@dataclass(frozen=True, slots=True, eq=False)
class DocumentVectors:
    """`ids` (n,) of searchable documents, `vectors` (n, d) float32: the unit mean of each one's passages.

    `passages` (n,) are the ids of their first passages: new content has others.
    """

    ids: Int64
    vectors: Float32
    passages: Int64


@dataclass(frozen=True, slots=True)
class GivenLabel:
    """What labelling writes into a document's metadata; an abstained one has no labels.

    `passage` is the first passage of the content that was labelled: the label is not written when the
    document has other content by then. None writes it in any case.
    """

    labels: tuple[str, ...]
    confidence: float
    is_multi: bool = False
    passage: int | None = None
