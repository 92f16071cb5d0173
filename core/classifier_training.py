"""Use case train: accept a training as a job, encode what is missing, train, activate the version."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final

from core.active_heads import ActiveHeads, ServedHead
from core.classifier_types import (
    ByFeedback,
    ByTraining,
    Classifier,
    ClassifierVersion,
    CollectedExamples,
    CollectionSource,
    EncodedExamples,
    LabelledText,
    MadeBy,
    TrainedHead,
    TrainRequest,
)
from core.collections import check_name
from core.data_hash import data_hash
from core.errors import (
    CognateError,
    Conflict,
    EncoderMismatch,
    ExamplesChanged,
    InvalidInput,
    NotFound,
    Overloaded,
    Overtaken,
    Unavailable,
)
from core.example_checks import ClassifierLimits, check_examples, check_labels, check_one
from core.example_memory import ExampleMemory, to_train
from core.fine_tuning import FineTuning, with_tuning
from core.ingest import request_details
from core.job_types import FROM_COLLECTION, Job, JobKind
from core.labelled_documents import LabelledDocuments
from core.long_jobs import LongJobRunner
from core.metering import ClassifierMeter
from core.ports.classifiers import Arrays, ClassifierStore, Going, Heads
from core.ports.models import Encoder
from core.training_examples import Reading, TrainingExamples

log = logging.getLogger(__name__)

CLASSIFIER: Final = "classifier"  # in the details of a job
PLAIN_SHARE: Final = 0.2  # of a training with tuning: the head on the encoder as it is
ROUNDS: Final = 5  # in which a training takes in what came while it was about to end
CHANGED: Final = (
    "Examples came, were corrected or removed during the training. The head was fitted to them too; the"
    " figures are of the examples before."
)


@dataclass(frozen=True, slots=True)
class ClassifierTraining:
    """Trainings are long jobs; the version that serves goes on until the new one is there, whole."""

    store: ClassifierStore
    heads: Heads
    encoder: Encoder
    memory: ExampleMemory
    active: ActiveHeads
    examples: TrainingExamples
    documents: LabelledDocuments
    tuning: FineTuning | None
    long: LongJobRunner
    limits: ClassifierLimits
    meter: ClassifierMeter
    turn: threading.Lock = field(default_factory=threading.Lock)  # of refits, each on all cores
    looked_at: dict[int, datetime] = field(default_factory=dict)  # classifier id -> its change caught up with

    def put(self, name: str, request: TrainRequest, request_id: str = "") -> Job:
        """Queues a training of a new or a known classifier.

        Raises InvalidInput, NotFound (a collection), EncoderMismatch, or Conflict while a training of the
        name is not over.
        """
        check_name(name, "Classifier")
        examples = self._checked(name, request)
        details = {CLASSIFIER: name, **request_details(request_id)}
        _, job_id = self.store.put(
            name, self.encoder.info, request.options, request.descriptions, request.source, examples, details
        )
        self.active.forget(name)
        job = self.long.jobs.get(job_id)
        self.long.accepted(job)
        return job

    def run(self, job_id: str) -> None:
        """Works on a training; raises Unavailable or Overloaded, to be tried again."""
        self.long.run(job_id, {JobKind.TRAIN: self._train})
        self.catch_up_all()

    def catch_up(self, name: str) -> ClassifierVersion | None:
        """Fits the active head to the examples as they are now; the new version, None if it knew them.

        None also when another version was activated meanwhile: that one serves on.
        Raises NotFound, Conflict, EncoderMismatch, InvalidInput when too few labels are left.
        """
        added = None
        with self.turn:
            while True:
                try:
                    version = self._refit(self.active.get(name))
                except Overtaken:
                    self.active.forget(name)
                    if self.is_rolled_back(self.store.get(name)):
                        return None
                    continue  # from the version that a training has made
                if version is None:
                    return added
                added = version  # and once more, for what came meanwhile

    def is_rolled_back(self, classifier: Classifier) -> bool:
        """Whether an earlier version than the newest serves."""
        return self.store.versions(classifier.id)[0].number != classifier.active

    def catch_up_all(self) -> None:
        """Fits the heads that serve to examples that no training took in, cancelled or killed as it was.

        To be called after each training and at each sweep: each change of a classifier is looked at once.
        What cannot be fitted is told in the log; the version that serves goes on.
        """
        for classifier in self.store.behind():
            if self.looked_at.get(classifier.id) == classifier.updated_at:
                continue
            try:
                self._catch_up_slowly(classifier)
            except (Unavailable, Overloaded) as error:
                self._tell_left_behind(classifier, error)
                continue  # it is looked at again
            except CognateError as error:
                self._tell_left_behind(classifier, error)
            self.looked_at[classifier.id] = classifier.updated_at

    def _catch_up_slowly(self, classifier: Classifier) -> None:
        """What is to be encoded, much perhaps, is so before the turn of refits is taken, and until a stop."""
        assert classifier.active is not None
        known = self.store.version(classifier.id, classifier.active).data_hash
        if data_hash(self.store.examples(classifier.id)) == known:
            return
        self.active.forget(classifier.name)
        space = self.active.get(classifier.name).space
        self.memory.load(space, lambda done, total: self.long.require_process())
        self.catch_up(classifier.name)

    def _tell_left_behind(self, classifier: Classifier, error: CognateError) -> None:
        told = {"classifier": classifier.name, "reason": str(error)}
        log.warning("feedback not taken in; the version before serves", extra=told)

    def _refit(self, served: ServedHead) -> ClassifierVersion | None:
        now = self.store.get(served.classifier.name)  # before its examples are read
        known = self.memory.load(served.space)
        if known.data_hash == served.version.data_hash:
            return None
        started_s = time.perf_counter()
        trained = self.heads.refit(served.head, to_train(known.encoded), now.options)
        by = ByFeedback(served.version.number, now.updated_at)
        version = self._add(served.classifier, by, trained, known.encoded, served.adapters)
        # Of what was changed since they were read, the classifier's last change is not the version's time.
        self.memory.confirm(served.space, known, version.created_at)
        self.meter.refitted(time.perf_counter() - started_s)
        return version

    def _checked(self, name: str, request: TrainRequest) -> list[LabelledText] | None:
        """The examples to be stored, each text once. Raises InvalidInput, NotFound."""
        for label, words in request.descriptions.items():
            check_one(label, "a label", self.limits.max_label_bytes)
            if words:
                check_one(words, f"the description of {label!r}", self.limits.max_text_bytes)
        if request.examples is not None and request.source is not None:
            raise InvalidInput("Both examples and from_collection were sent; train on one of them.")
        if request.source is not None:
            self.documents.check(request.source)
            return None
        if request.examples is None:
            self._require_examples(name)
            return None
        multi = request.options.multi_label
        examples = check_examples(request.examples, multi, self.limits)
        check_labels((example.labels for example in examples), multi, self.limits)
        return examples

    def _require_examples(self, name: str) -> None:
        try:
            stored = self.store.get(name).examples
        except NotFound:
            stored = 0
        if not stored:
            raise InvalidInput(
                f"Classifier {name!r} has no stored examples to train on; send examples, or from_collection."
                " To classify by the labels' names alone, send them to POST /v1/classify."
            )

    def _train(self, job: Job) -> int:
        started_s = time.monotonic()
        collected, problems = self._collected(job, self._classifier_of(job).options.multi_label)
        classifier = self._classifier_of(job)
        count = classifier.examples if collected is None else len(collected.encoded.labelled)
        going = _Going(self.long.going(job.id, count), count)
        reading = self.examples.read(classifier, job.created_at, collected, going.encoded)
        trained, adapters = self._best(classifier, reading.encoded, going.trained)
        made = _Made(trained, adapters, reading, problems)
        version = self._add_current(job, classifier, made, collected, going)
        self.meter.trained(time.monotonic() - started_s)
        return version.examples

    def _collected(
        self, job: Job, multi_label: bool | None
    ) -> tuple[CollectedExamples | None, tuple[str, ...]]:
        """The examples of a training from a collection, and their problems."""
        source = job.details.get(FROM_COLLECTION)
        if source is None:
            return None, ()
        return self.documents.take(CollectionSource(**source), multi_label, self.long.going(job.id, 0))

    def _add_current(
        self,
        job: Job,
        classifier: Classifier,
        made: _Made,
        collected: CollectedExamples | None,
        going: _Going,
    ) -> ClassifierVersion:
        """Adds the version, which ends the job; what came during the training is taken in before.

        After `ROUNDS` times that more came, the rest is left to what follows the training; not where the
        examples of a collection are to replace the stored ones, which would lose it.
        """
        rounds = 0
        while True:
            is_exact = rounds < ROUNDS or collected is not None
            try:
                return self._add_made(job, classifier, made, made.reading.as_of if is_exact else None)
            except ExamplesChanged:
                rounds += 1
                classifier = self._classifier_of(job)
                reading = self.examples.read(classifier, job.created_at, collected, going.encoded)
                made = self._fitted_again(classifier, made, reading, going.trained)

    def _add_made(
        self, job: Job, classifier: Classifier, made: _Made, as_of: datetime | None
    ) -> ClassifierVersion:
        by = ByTraining(job.id, as_of, made.reading.collected)
        problems = made.problems + _without_examples(classifier, made.trained)
        trained = _with_problems(made.trained, problems)
        return self._add(classifier, by, trained, made.reading.encoded, made.adapters)

    def _fitted_again(self, classifier: Classifier, made: _Made, reading: Reading, going: Going) -> _Made:
        """What was made, for examples as they are now; its figures stay those of the training.

        It is trained anew where its head gives each text one label, and some now have several, or none.
        """
        trained, encoded = made.trained, reading.encoded
        if data_hash(encoded.labelled) == data_hash(made.reading.encoded.labelled):
            return replace(made, reading=reading)
        if not trained.head.is_multi and any(len(one.labels) != 1 for one in encoded.labelled):
            trained, adapters = self._best(classifier, encoded, going)
            return replace(made, trained=trained, adapters=adapters, reading=reading)
        examples = to_train(encoded)
        if made.adapters is None:
            fitted = self.heads.refit(trained.head, examples, classifier.options)
        else:
            assert self.tuning is not None
            fitted = self.tuning.refit(trained, made.adapters, examples, classifier.options, going)
        problems = tuple(dict.fromkeys((*made.problems, CHANGED)))
        return replace(made, trained=replace(trained, head=fitted.head), reading=reading, problems=problems)

    def _classifier_of(self, job: Job) -> Classifier:
        classifier = self.store.get(job.details[CLASSIFIER])
        if classifier.job_id != job.id:
            raise Conflict(f"Classifier {classifier.name!r} was made anew since this training was accepted.")
        if classifier.encoder.fingerprint != self.encoder.info.fingerprint:
            raise EncoderMismatch(
                f"The training was accepted for encoder {classifier.encoder.id} (fingerprint"
                f" {classifier.encoder.fingerprint[:12]}) but this process runs {self.encoder.info.id}"
                f" ({self.encoder.info.fingerprint[:12]}); give all processes the same COGNATE_ENCODER_PATH,"
                " then train again."
            )
        return classifier

    def _best(
        self, classifier: Classifier, encoded: EncodedExamples, going: Going
    ) -> tuple[TrainedHead, Arrays | None]:
        """The head on the encoder as it is, or on a tuned one where cross-validation says that it helps."""
        examples, options = to_train(encoded), classifier.options
        if not options.fine_tune:
            return self.heads.train(examples, options, going), None
        trained = self.heads.train(examples, options, lambda share: going(PLAIN_SHARE * share))
        if self.tuning is None:
            told = {"kept": False, "reason": "this server cannot tune encoders; install 'cognate[torch]'"}
            return with_tuning(trained, told), None
        rest = 1 - PLAIN_SHARE
        return self.tuning.improve(
            trained, examples, options, lambda share: going(PLAIN_SHARE + rest * share)
        )

    def _add(
        self,
        classifier: Classifier,
        made_by: MadeBy,
        trained: TrainedHead,
        encoded: EncodedExamples,
        adapters: Arrays | None,
    ) -> ClassifierVersion:
        encoder, count = self.encoder.info, len(encoded.labelled)
        version = self.store.add_version(
            classifier.id, made_by, trained, encoder, data_hash(encoded.labelled), count, adapters
        )
        self.active.forget(classifier.name)
        told = {"classifier": classifier.name, "version": version.number, "origin": version.origin}
        told["examples"] = count
        if self.store.get(classifier.name).active == version.number:
            log.info("classifier version active", extra=told)
        else:
            log.info("classifier version made; the one activated meanwhile serves on", extra=told)
        return version


@dataclass(frozen=True, slots=True, eq=False)
class _Made:
    """What a training made, of which examples, and what is to be told of them."""

    trained: TrainedHead
    adapters: Arrays | None
    reading: Reading
    problems: tuple[str, ...]


@dataclass(slots=True)
class _Going:
    """Progress in examples: to encode one counts as much as to train on it."""

    tell: Callable[[int], None]
    examples: int
    before: float = 0.0

    def encoded(self, done: int, total: int) -> None:
        missing = total / max(1, self.examples)
        self.before = missing / (1 + missing) * done / total
        self.trained(0.0)

    def trained(self, share: float) -> None:
        self.tell(int(self.examples * (self.before + (1 - self.before) * min(1.0, share))))


def _without_examples(classifier: Classifier, trained: TrainedHead) -> tuple[str, ...]:
    absent = sorted(set(classifier.descriptions) - set(trained.head.labels))
    if not absent:
        return ()
    shown = ", ".join(map(repr, absent[:5])) + (" …" if len(absent) > 5 else "")
    return (f"{len(absent):,} labels have no example and are never given: {shown}.",)


def _with_problems(trained: TrainedHead, problems: tuple[str, ...]) -> TrainedHead:
    if not problems:
        return trained
    told = [*trained.report.get("problems", ()), *problems]
    return replace(trained, report={**trained.report, "problems": told})
