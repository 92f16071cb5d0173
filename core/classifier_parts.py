"""Puts the use cases of trained classifiers together: what they share is made once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from core.active_heads import ActiveHeads
from core.classifier_feedback import ClassifierFeedback
from core.classifier_serving import ClassifierServing
from core.classifier_training import ClassifierTraining
from core.classifiers import ClassifierService
from core.evidence import EvidenceService
from core.example_checks import ClassifierLimits
from core.example_memory import ExampleMemory
from core.fine_tuning import FineTuning
from core.labelled_documents import LabelledDocuments
from core.labelling import LabellingService
from core.long_jobs import LongJobRunner
from core.metering import ClassifierMeter
from core.ports.classifiers import ClassifierStore, EncoderTuner, Heads, LabelStore
from core.ports.models import Encoder
from core.ports.stores import CollectionStore
from core.ports.work import Notifier
from core.suggesting import SuggestionService
from core.training_examples import TrainingExamples


@dataclass(frozen=True, slots=True)
class ClassifierPorts:
    """What trained classifiers need; `tuner` is None where no tuned encoder can be made or applied.

    `sentence_starts` gives the offsets at which sentences of a text begin.
    """

    store: ClassifierStore
    labels: LabelStore
    collections: CollectionStore
    heads: Heads
    encoder: Encoder
    tuner: EncoderTuner | None
    long: LongJobRunner
    notifier: Notifier
    meter: ClassifierMeter
    sentence_starts: Callable[[str], Sequence[int]]


def classifier_service(ports: ClassifierPorts, limits: ClassifierLimits) -> ClassifierService:
    """All use cases over these ports."""
    store, heads, encoder = ports.store, ports.heads, ports.encoder
    memory, active = ExampleMemory(store), ActiveHeads(store, encoder, ports.tuner)
    training = ClassifierTraining(
        store,
        heads,
        encoder,
        memory,
        active,
        TrainingExamples(store, memory, encoder, limits),
        LabelledDocuments(ports.labels, ports.collections, encoder, limits),
        FineTuning(ports.tuner, heads) if ports.tuner is not None else None,
        ports.long,
        limits,
        ports.meter,
    )
    labelling = LabellingService(
        store,
        ports.labels,
        heads,
        active,
        ports.collections,
        encoder,
        ports.notifier,
        ports.long,
        ports.meter,
    )
    return ClassifierService(
        store,
        heads,
        training,
        ClassifierFeedback(store, ports.long.jobs, active, training, limits),
        ClassifierServing(
            active, heads, EvidenceService(heads, memory, ports.sentence_starts), limits, ports.meter
        ),
        labelling,
        SuggestionService(active, memory, ports.labels, heads, ports.collections, encoder, limits),
    )
