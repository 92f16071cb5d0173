"""Classifiers: what they are to learn, their trainings, and the versions these made."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import asdict
from datetime import datetime
from typing import Any

import numpy.typing as npt
from sqlalchemy import Connection, Row, delete, update
from sqlalchemy.exc import IntegrityError

from core.classifier_types import (
    ByTraining,
    Classifier,
    ClassifierVersion,
    CollectedExamples,
    CollectionSource,
    ExampleChanges,
    Head,
    LabelingRule,
    LabelledText,
    MadeBy,
    StoredExample,
    TrainedHead,
    TrainingOptions,
    VersionOrigin,
)
from core.job_types import EXAMPLES_SENT, FROM_COLLECTION, ArrivalRule, JobKind, JobState
from core.ports.classifiers import LabelsCheck
from core.types import EncoderInfo, Float32
from storage import classifier_examples, classifier_rules, classifier_versions
from storage.classifier_rows import (
    ACTIVE,
    behind_query,
    classifier_query,
    find_locked,
    lock_classifier,
    no_classifier,
    note_removed,
    put_row,
    read_classifier,
    refuse_open_training,
    removed_meanwhile,
    require_made_by,
    set_active,
    to_classifier,
    touch,
    training_is_over,
    was_rolled_back_since,
)
from storage.classifier_versions import encoder_columns
from storage.clock import Clock
from storage.database import Database, can_be_stored
from storage.faults import repeated
from storage.long_jobs import end_well, open_job
from storage.schema import Classifiers

CLASSIFIER = "classifier"  # in the details of a training: the name


class SqlClassifierStore:
    """core.ports.ClassifierStore on SQL. Whoever changes a classifier locks its row first."""

    def __init__(self, database: Database, clock: Clock | None = None) -> None:
        self._database = database
        self._clock = clock or database.now

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

        `examples` replace the stored ones; None keeps them. The classifier's `source` is where its examples
        come from: it changes when they do, and that of a training from a collection waits in the job's
        details. Raises Conflict, naming the job, while an earlier training of this name is not over.
        """
        details = dict(job_details)
        if source is not None:
            details[FROM_COLLECTION] = asdict(source)
        about: dict[str, Any] = {
            **encoder_columns(encoder),
            "options": asdict(options),
            "descriptions": dict(descriptions),
        }
        if examples is not None:
            about["source"], details[EXAMPLES_SENT] = None, True
        try:
            return self._put(name, about, examples, details)
        except IntegrityError:  # another process has just created it
            return self._put(name, about, examples, details)

    @repeated
    def _put(
        self,
        name: str,
        about: Mapping[str, Any],
        examples: Sequence[LabelledText] | None,
        job_details: Mapping[str, Any],
    ) -> tuple[Classifier, str]:
        now = self._clock()
        with self._database.write() as connection:
            id_ = put_row(connection, name, about, now)
            if examples is not None:
                classifier_examples.put_in_place(connection, id_, examples, now)
            collection = job_details.get(FROM_COLLECTION, {}).get("collection", "")
            active = read_classifier(connection, id_).active
            details = {**job_details, CLASSIFIER: name, ACTIVE: active}
            job_id = open_job(connection, JobKind.TRAIN, collection, details, now)
            this = update(Classifiers).where(Classifiers.id == id_)
            connection.execute(this.values(job_id=job_id, updated_at=now))
            return read_classifier(connection, id_), job_id

    def get(self, name: str) -> Classifier:
        """Raises NotFound."""
        if can_be_stored(name):
            with self._database.read() as connection:
                row = connection.execute(classifier_query().where(Classifiers.name == name)).first()
            if row is not None:
                return to_classifier(row)
        raise no_classifier(name)

    @repeated
    def delete(self, name: str) -> None:
        """With examples, versions and rules. Raises NotFound, or Conflict while a training is not over."""
        with self._database.write() as connection:
            found = find_locked(connection, name)
            if found is None:
                raise no_classifier(name)
            refuse_open_training(connection, found)
            connection.execute(delete(Classifiers).where(Classifiers.id == found.id))

    def examples(self, classifier_id: int, limit: int | None = None, after: int = 0) -> list[StoredExample]:
        """In order of id."""
        with self._database.read() as connection:
            return classifier_examples.read_examples(connection, classifier_id, limit, after)

    def vectors(self, classifier_id: int) -> dict[int, Float32]:
        """Example id -> embedding (d,), of those stored."""
        with self._database.read() as connection:
            return classifier_examples.read_vectors(connection, classifier_id)

    @repeated
    def save_vectors(self, classifier_id: int, vectors: Mapping[int, Float32]) -> None:
        """Example id -> embedding (d,), kept as float16; examples gone meanwhile are left out."""
        with self._database.write() as connection:
            classifier_examples.save_vectors(connection, classifier_id, vectors)

    @repeated
    def change_examples(
        self,
        classifier_id: int,
        changed: Sequence[LabelledText],
        removed: Sequence[str],
        check: LabelsCheck | None = None,
    ) -> ExampleChanges:
        """Adds examples, corrects the labels of texts already there, removes those of the given texts.

        Of equal texts the last counts. `check` is called while the classifier is locked, before an example is
        changed; where it raises, all stays as it was. Raises NotFound when the classifier is gone.
        """
        with self._database.write() as connection:
            now = touch(connection, classifier_id, self._clock)
            change = classifier_examples.read_change(connection, classifier_id, changed, removed)
            if check is not None:
                before = classifier_examples.label_counts(connection, classifier_id)
                check(before, change.counts_after(before), read_classifier(connection, classifier_id))
            note_removed(connection, classifier_id, change.gone)
            return classifier_examples.write_change(connection, classifier_id, change, now)

    def removed(self, classifier_id: int, texts: Iterable[str]) -> Set[str]:
        """Those of the texts that were removed since the present training from a collection was accepted."""
        with self._database.read() as connection:
            gone = removed_meanwhile(connection, classifier_id)
        return {text for text in texts if classifier_examples.hash_text(text) in gone} if gone else set()

    @repeated
    def add_version(
        self,
        classifier_id: int,
        made_by: MadeBy,
        trained: TrainedHead,
        encoder: EncoderInfo,
        data_hash: str,
        examples: int,
        adapters: Mapping[str, npt.NDArray[Any]] | None = None,
    ) -> ClassifierVersion:
        """Adds a version and makes it the active one. Of those that feedback made only the newest are kept.

        An earlier version that was activated while a training went on stays the active one.

        The training that made it ends with it, and what that collected takes the place of the examples: a
        cancel comes before all of it, or after and changes nothing; a training that failed, or whose process
        was killed, leaves the examples as they were. Raises NotFound when the classifier is gone, Overtaken
        when what it was made by no longer holds, of which ExamplesChanged.
        """
        now = self._clock()
        origin = VersionOrigin.TRAINING if isinstance(made_by, ByTraining) else VersionOrigin.FEEDBACK
        with self._database.write() as connection:
            found = lock_classifier(connection, classifier_id)
            require_made_by(connection, found, made_by)
            if isinstance(made_by, ByTraining):
                if not end_well(connection, made_by.job_id, examples, now):
                    raise training_is_over(found, made_by)
                _store_collected(connection, classifier_id, made_by.collected, now)
            number = found.last_number + 1
            version = classifier_versions.new_version(
                number, origin, trained, encoder, data_hash, examples, adapters is not None, now
            )
            classifier_versions.insert_version(connection, classifier_id, version, trained, adapters)
            # The version's own time only if it knows all examples: see `behind_query`.
            changed_at = now if made_by.as_of == found.updated_at else found.updated_at
            active = found.active if was_rolled_back_since(connection, found, made_by) else number
            set_active(connection, classifier_id, active, last_number=number, updated_at=changed_at)
            classifier_versions.delete_old_feedback(connection, classifier_id, active)
        return version

    def behind(self) -> Sequence[Classifier]:
        """Those changed since the examples were read of which their newest version, which serves, was made.

        Left out are those in training, and those whose newest training was sent examples and came to nothing.
        One statement over the classifiers, none of examples: cheap enough for every sweep.
        """
        with self._database.read() as connection:
            rows = connection.execute(behind_query()).all()
        return [to_classifier(row) for row in rows if not _is_to_be_left(row)]

    def versions(self, classifier_id: int) -> list[ClassifierVersion]:
        """Newest first."""
        with self._database.read() as connection:
            return classifier_versions.read_versions(connection, classifier_id)

    def version(self, classifier_id: int, number: int) -> ClassifierVersion:
        """Raises NotFound."""
        with self._database.read() as connection:
            return classifier_versions.read_version(connection, classifier_id, number)

    def head(self, classifier_id: int, number: int) -> tuple[Head, Mapping[str, npt.NDArray[Any]] | None]:
        """The head and, of a tuned version, its adapters. Raises NotFound."""
        with self._database.read() as connection:
            return classifier_versions.read_head(connection, classifier_id, number)

    def report(self, classifier_id: int, number: int) -> Mapping[str, Any]:
        """Raises NotFound."""
        with self._database.read() as connection:
            return classifier_versions.read_report(connection, classifier_id, number)

    @repeated
    def activate(self, classifier_id: int, number: int) -> ClassifierVersion:
        """Raises NotFound."""
        with self._database.write() as connection:
            touch(connection, classifier_id, self._clock)
            version = classifier_versions.read_version(connection, classifier_id, number)
            set_active(connection, classifier_id, number)
        return version

    def rules(self, collection_id: int) -> list[LabelingRule]:
        """By field."""
        with self._database.read() as connection:
            return classifier_rules.read_rules(connection, collection_id)

    def arrival_rules(self, collection_id: int) -> Sequence[ArrivalRule]:
        """The same, each with the version that is active now."""
        with self._database.read() as connection:
            return classifier_rules.read_arrival_rules(connection, collection_id)

    @repeated
    def add_rule(self, rule: LabelingRule) -> None:
        """Replaces a rule of the same collection and field. Raises NotFound."""
        with self._database.write() as connection:
            found = find_locked(connection, rule.classifier)
            if found is None:
                raise no_classifier(rule.classifier)
            classifier_rules.put_rule(connection, rule, found.id)

    @repeated
    def remove_rule(self, collection_id: int, field: str) -> None:
        """Raises NotFound."""
        with self._database.write() as connection:
            classifier_rules.delete_rule(connection, collection_id, field)

    def list(self) -> list[Classifier]:
        """By name."""
        with self._database.read() as connection:
            return [
                to_classifier(row)
                for row in connection.execute(classifier_query().order_by(Classifiers.name))
            ]


def _is_to_be_left(row: Row[Any]) -> bool:
    """Whether the examples are those of a training that came to nothing."""
    return row.job_state != JobState.SUCCEEDED and EXAMPLES_SENT in row.job_details


def _store_collected(
    connection: Connection, classifier_id: int, collected: CollectedExamples | None, now: datetime
) -> None:
    if collected is None:
        return
    classifier_examples.put_encoded(connection, classifier_id, collected.encoded, now)
    this = update(Classifiers).where(Classifiers.id == classifier_id)
    connection.execute(this.values(source=asdict(collected.source)))
