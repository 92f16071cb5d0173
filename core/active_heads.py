"""The heads that serve, kept in memory; a new active version is noticed within a second."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter, OrderedDict
from dataclasses import dataclass, field, replace
from typing import Final

from core.classifier_types import Classifier, ClassifierVersion, Head
from core.errors import Conflict, EncoderMismatch, NotFound, Unavailable
from core.example_memory import Space
from core.ports.classifiers import Arrays, ClassifierStore, EncoderTuner
from core.ports.models import Encoder

log = logging.getLogger(__name__)

ASK_EVERY_S: Final = 0.5
MAX_HEADS: Final = 32


@dataclass(frozen=True, slots=True, eq=False)
class ServedHead:
    """One version of a classifier, ready to predict. `encoder` is its own if it was tuned."""

    classifier: Classifier
    version: ClassifierVersion
    head: Head
    encoder: Encoder
    adapters: Arrays | None = None

    @property
    def space(self) -> Space:
        """Where its examples' vectors are. A training since may have stored those of another encoder."""
        kept = self.classifier.encoder.fingerprint
        return Space(self.classifier.id, self.encoder, kept == self.encoder.info.fingerprint)


@dataclass(frozen=True, slots=True)
class _Known:
    classifier: Classifier
    asked_at: float


@dataclass(slots=True)
class ActiveHeads:
    """Safe to share between threads. `tuner` is None where no tuned encoder can be served."""

    store: ClassifierStore
    encoder: Encoder
    tuner: EncoderTuner | None = None
    _known: dict[str, _Known] = field(default_factory=dict)
    _forgotten: Counter[str] = field(default_factory=Counter)
    _heads: OrderedDict[tuple[int, int], ServedHead] = field(default_factory=OrderedDict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def get(self, name: str, number: int | None = None) -> ServedHead:
        """The active version of a classifier, or that of a number.

        Raises NotFound, Conflict when nothing was trained yet, EncoderMismatch.
        """
        classifier = self.classifier(name)
        wanted = classifier.active if number is None else number
        if wanted is None:
            raise no_version(classifier)
        served = self._loaded(classifier.id, wanted) or self._open(classifier, wanted)
        check_version(name, served.version, self.encoder)
        return replace(served, classifier=classifier)

    def classifier(self, name: str) -> Classifier:
        """As it was at most half a second ago, or longer if the database is away. Raises NotFound."""
        with self._lock:
            known, forgotten = self._known.get(name), self._forgotten[name]
        if known is not None and time.monotonic() - known.asked_at < ASK_EVERY_S:
            return known.classifier
        asked_at = time.monotonic()
        try:
            classifier = self.store.get(name)
        except NotFound:  # not noted as a change: any name may be asked for
            with self._lock:
                self._known.pop(name, None)
            raise
        except Unavailable as error:
            if known is None:
                raise
            log.warning("classifier not asked for; the known version serves", extra={"reason": str(error)})
            classifier = known.classifier
        with self._lock:
            if self._forgotten[name] == forgotten:  # else what was read may be older than the change
                self._known[name] = _Known(classifier, asked_at)
        return classifier

    def forget(self, name: str) -> None:
        """To be called after a change, which this process then sees at once."""
        with self._lock:
            self._forgotten[name] += 1
            self._known.pop(name, None)

    def _loaded(self, classifier_id: int, number: int) -> ServedHead | None:
        key = (classifier_id, number)
        with self._lock:
            served = self._heads.get(key)
            if served is not None:
                self._heads.move_to_end(key)
        return served

    def _open(self, classifier: Classifier, number: int) -> ServedHead:
        version = self.store.version(classifier.id, number)
        check_version(classifier.name, version, self.encoder)
        head, adapters = self.store.head(classifier.id, number)
        served = ServedHead(classifier, version, head, self._encoder_of(adapters, version), adapters)
        with self._lock:
            self._heads[(classifier.id, number)] = served
            while len(self._heads) > MAX_HEADS:
                self._heads.popitem(last=False)
        return served

    def _encoder_of(self, adapters: Arrays | None, version: ClassifierVersion) -> Encoder:
        if adapters is None:
            return self.encoder
        if self.tuner is None:
            raise Conflict(
                f"Version {version.number} reads texts with adapters of its own, which this process cannot"
                " apply; activate a version without them, or train without fine_tune."
            )
        return self.tuner.encoder(adapters)


def no_version(classifier: Classifier) -> Conflict:
    """The error for a classifier that was not trained yet; says how that comes to be."""
    if classifier.job_id is not None:
        return Conflict(
            f"Classifier {classifier.name!r} has no version yet; its training is job {classifier.job_id}."
            " Wait for it, or see why it failed."
        )
    stored = (
        f"its {classifier.examples:,} stored examples" if classifier.examples else "examples that you send"
    )
    return Conflict(
        f"Classifier {classifier.name!r} has no trained version, and no training is known; train it on"
        f" {stored} (PUT /v1/classifiers/{classifier.name})."
    )


def check_version(name: str, version: ClassifierVersion, encoder: Encoder) -> None:
    """Raises EncoderMismatch unless the version's head reads vectors of this very encoder."""
    ours, theirs = encoder.info, version.encoder
    if ours.fingerprint != theirs.fingerprint:
        raise EncoderMismatch(
            f"Version {version.number} of classifier {name!r} was trained on vectors of encoder {theirs.id}"
            f" (d={theirs.dim}, fingerprint {theirs.fingerprint[:12]}) but this server runs {ours.id}"
            f" (d={ours.dim}, fingerprint {ours.fingerprint[:12]}); train the classifier again, or start the"
            " server with that encoder (COGNATE_ENCODER_PATH)."
        )
