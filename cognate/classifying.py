"""Composes trained classifiers, for every kind of process that serves them or works on their tasks."""

from __future__ import annotations

import threading
from contextlib import ExitStack

from classifier.heads import ClassifierHeads, preload
from cognate.settings import Settings
from core.classifier_parts import ClassifierPorts, classifier_service
from core.classifiers import ClassifierService
from core.example_checks import ClassifierLimits
from core.long_jobs import LongJobRunner
from core.metering import ClassifierMeter
from core.ports.classifiers import EncoderTuner
from core.ports.models import Encoder
from core.ports.work import Notifier
from encoder.tuning import AdapterTuner, ModelSource
from indexer.chunking import sentence_starts
from storage.classifiers import SqlClassifierStore
from storage.collections import SqlCollectionStore
from storage.database import Database
from storage.labels import SqlLabelStore


def open_tuner(settings: Settings, encoder: Encoder, stack: ExitStack) -> EncoderTuner:
    """Tunes and applies adapters of the service's encoder; what it loads is closed with the stack."""
    source = ModelSource(
        settings.encoder_path, settings.backend.value, settings.precision.value, settings.threads
    )
    tuner = AdapterTuner(encoder.info, source)
    stack.callback(tuner.close)
    return tuner


def make_classifiers(
    database: Database,
    encoder: Encoder,
    tuner: EncoderTuner | None,
    long: LongJobRunner,
    notifier: Notifier,
    meter: ClassifierMeter,
) -> ClassifierService:
    """Classifiers on this database and encoder; without `tuner` texts are read by the encoder as it is."""
    ports = ClassifierPorts(
        SqlClassifierStore(database),
        SqlLabelStore(database),
        SqlCollectionStore(database),
        ClassifierHeads(),
        encoder,
        tuner,
        long,
        notifier,
        meter,
        sentence_starts,
    )
    return classifier_service(ports, ClassifierLimits())


def expect_feedback(classifiers: ClassifierService, stack: ExitStack) -> None:
    """Where there are classifiers, has the first feedback find in memory what it needs."""
    if classifiers.list():
        thread = threading.Thread(target=preload, name="classifier-preload", daemon=True)
        thread.start()
        stack.callback(thread.join)
