"""Use case label: a classifier's labels into the metadata of documents, from stored vectors alone."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np

from core.active_heads import ActiveHeads, ServedHead
from core.annotations import CONFIDENCE_SUFFIX, label_annotations
from core.classifier_types import DocumentVectors, GivenLabel, Head, HeadScores, LabelingRule, Labelling
from core.collections import check_encoder, in_use
from core.errors import CognateError, Conflict, InvalidInput, NotFound, Overloaded, Unavailable
from core.example_checks import check_one
from core.filters import MAX_FIELD_BYTES
from core.job_types import Annotated, ArrivalRule, EncodedDocument, Job, JobKind, JobStep
from core.long_jobs import LongJobRunner
from core.metering import ClassifierMeter
from core.ports.classifiers import ClassifierStore, Heads, LabelStore
from core.ports.models import Encoder
from core.ports.stores import CollectionStore
from core.ports.work import Notifier
from core.types import Collection, Float32

log = logging.getLogger(__name__)

PAGE: Final = 1000  # documents
AFTER: Final = "after"  # in the details of a job: the last document labelled
REMOVES: Final = "removes"  # in the details of a job that takes labels off


@dataclass(frozen=True, slots=True)
class LabellingService:
    """Labels whole collections as jobs, and documents as they arrive."""

    store: ClassifierStore
    labels: LabelStore
    heads: Heads
    active: ActiveHeads
    collections: CollectionStore
    encoder: Encoder
    notifier: Notifier
    long: LongJobRunner
    meter: ClassifierMeter

    def start(self, collection: str, asked: Labelling, request_id: str = "") -> Job:
        """Queues the labelling of all searchable documents by the version that is active now.

        Raises NotFound, InvalidInput, EncoderMismatch, and Conflict where documents hold something of their
        own in the field.
        """
        classifier, field = asked.classifier, asked.field
        _check_field(field)
        target = self.collections.get(collection)
        check_encoder(target, self.encoder)
        served = self._of_stored_vectors(classifier)
        if not asked.may_hide:
            self._check_free(target, field)
        if asked.on_arrival:  # before the job, so that no document falls between the two
            with in_use(target):
                self.store.add_rule(LabelingRule(target.id, classifier, field))
        details = {
            "classifier": classifier,
            "classifier_id": served.classifier.id,
            "version": served.version.number,
            "field": field,
            "collection_id": target.id,
        }
        return self.long.open(JobKind.LABEL, collection, details, request_id)

    def rules(self, collection: str) -> list[LabelingRule]:
        """Raises NotFound."""
        return self.store.rules(self.collections.get(collection).id)

    def remove_rule(self, collection: str, field: str) -> None:
        """Documents keep what they have. Raises NotFound."""
        self.store.remove_rule(self.collections.get(collection).id, field)

    def remove_labels(self, collection: str, field: str, request_id: str = "") -> Job:
        """Queues that what labelling wrote to the field is taken off again; its rule ends.

        Raises InvalidInput, and NotFound where there is neither.
        """
        _check_field(field)
        target = self.collections.get(collection)
        try:
            self.store.remove_rule(target.id, field)
        except NotFound:
            if not self.labels.annotated(target.id, field, 0, 1):
                raise
        details = {"field": field, "collection_id": target.id, REMOVES: True}
        return self.long.open(JobKind.LABEL, collection, details, request_id)

    def run(self, job_id: str) -> None:
        """Works on a labelling; raises Unavailable or Overloaded, to be tried again."""
        self.long.run(job_id, {JobKind.LABEL: self._label})

    def annotated(self, collection: Collection, encoded: Sequence[EncodedDocument]) -> Annotated:
        """The documents with the labels that the collection's rules ask for, and these rules.

        A rule that cannot be followed leaves them unlabelled, with a log line.

        Raises Unavailable, Overloaded.
        """
        if not encoded:
            return Annotated(encoded)
        rules = self.store.arrival_rules(collection.id)
        if not rules:
            return Annotated(encoded, rules)
        vectors = np.stack([_mean(document) for document in encoded])
        found: list[dict[str, Any]] = [dict(document.annotations or {}) for document in encoded]
        for rule in rules:
            for known, given in zip(found, self._arrived(rule, vectors), strict=False):
                known |= label_annotations(rule.field, given)
        labelled = zip(encoded, found, strict=True)
        return Annotated([replace(document, annotations=known) for document, known in labelled], rules)

    def _arrived(self, rule: ArrivalRule, vectors: Float32) -> list[GivenLabel]:
        """One label a row, or none at all."""
        told = {"classifier": rule.classifier, "field": rule.field}
        try:
            given = self._given(self._of_stored_vectors(rule.classifier, rule.version), vectors)
        except (Unavailable, Overloaded):
            raise
        except CognateError as error:
            log.warning("documents stay unlabelled", extra=told | {"reason": str(error)})
            return []
        except Exception:  # the outer edge of one rule: documents must not wait for their labels
            log.exception("documents stay unlabelled", extra=told)
            return []
        self.meter.labelled(len(given))
        return given

    def _check_free(self, collection: Collection, field: str) -> None:
        """Labels are shown over what the caller sent, which would be out of sight. Raises Conflict."""
        for name in (field, field + CONFIDENCE_SUFFIX):
            held_by = self.labels.holder(collection.id, name)
            if held_by is not None:
                raise Conflict(
                    f"Document {held_by!r} has metadata of its own in the field {name!r}, which labels would"
                    " hide. Choose another write_to, or send overwrite: true to have it hidden."
                )

    def _collection_of(self, job: Job) -> Collection:
        collection = self.collections.get(job.collection)
        if collection.id != job.details["collection_id"]:
            raise NotFound(f"Collection {job.collection!r} was made anew since this job was accepted.")
        return collection

    def _served_to(self, job: Job) -> ServedHead:
        """The version that the job was accepted with, and not one of a classifier that has its name now."""
        name = job.details["classifier"]
        served = self._of_stored_vectors(name, job.details["version"])
        if served.classifier.id != job.details.get("classifier_id", served.classifier.id):
            raise NotFound(f"Classifier {name!r} was made anew since this job was accepted.")
        return served

    def _unlabel(self, job: Job) -> int:
        collection, field = self._collection_of(job), job.details["field"]
        done, after = _place(job)
        while ids := self.labels.annotated(collection.id, field, after, PAGE):
            done, after = done + len(ids), ids[-1]
            step = JobStep(job.id, done, done, {AFTER: after})
            seq = self.labels.write(collection.id, field, dict.fromkeys(ids), step)
            self.notifier.publish(collection.id, seq)
            self.long.require_process()
        return done

    def _label(self, job: Job) -> int:
        if REMOVES in job.details:
            return self._unlabel(job)
        details, collection = job.details, self._collection_of(job)
        check_encoder(collection, self.encoder)
        served = self._served_to(job)
        done, after = _place(job)
        while len((page := self.labels.document_vectors(collection.id, after, PAGE)).ids):
            done, after = done + len(page.ids), int(page.ids[-1])
            total = max(done, self.collections.counts(collection.id).searchable)
            labels = self._labels(page, served)
            step = JobStep(job.id, done, total, {AFTER: after})
            seq = self.labels.write(collection.id, details["field"], labels, step)
            self.notifier.publish(collection.id, seq)
            self.meter.labelled(len(labels))
            self.long.require_process()
        return done

    def _labels(self, page: DocumentVectors, served: ServedHead) -> dict[int, GivenLabel]:
        """Document id -> what it is to get if its content is still that of the page."""
        rows = zip(page.ids.tolist(), self._given(served, page.vectors), page.passages.tolist(), strict=True)
        return {document: replace(label, passage=passage) for document, label, passage in rows}

    def _given(self, served: ServedHead, vectors: Float32) -> list[GivenLabel]:
        return given_labels(served.head, self.heads.scores(served.head, vectors))

    def _of_stored_vectors(self, classifier: str, number: int | None = None) -> ServedHead:
        """Raises Conflict for a version that reads other vectors than those stored."""
        served = self.active.get(classifier, number)
        if served.adapters is not None:
            raise Conflict(
                f"Version {served.version.number} of classifier {classifier!r} was fine-tuned and reads"
                " vectors of its own, not those stored with documents; activate a version without"
                " fine_tune, or train one."
            )
        return served


def given_labels(head: Head, scores: HeadScores) -> list[GivenLabel]:
    """What n documents get: the labels chosen, none where the head abstains, and the best probability."""
    return [
        GivenLabel(
            () if abstention is not None else tuple(head.labels[i] for i in chosen.nonzero()[0]),
            float(row.max()),
            head.is_multi and abstention is None,  # of several labels, none is an answer; abstaining is null
        )
        for row, chosen, abstention in zip(
            scores.probabilities, scores.is_chosen, scores.abstentions, strict=True
        )
    ]


def _place(job: Job) -> tuple[int, int]:
    """How many documents are done, and the last of them."""
    return (job.done, job.details[AFTER]) if AFTER in job.details else (0, 0)


def _mean(document: EncodedDocument) -> Float32:
    """(d,) the unit mean of its passages' vectors."""
    total = document.vectors.astype(np.float32).sum(axis=0)
    return np.asarray(total / max(float(np.linalg.norm(total)), 1e-12), dtype=np.float32)


def _check_field(field: str) -> None:
    check_one(field, "write_to", MAX_FIELD_BYTES - len(CONFIDENCE_SUFFIX))
    if field.endswith(CONFIDENCE_SUFFIX):
        raise InvalidInput(
            f"write_to {field!r} ends in {CONFIDENCE_SUFFIX!r}, which is where confidences are kept."
        )
