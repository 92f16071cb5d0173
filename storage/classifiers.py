"""Classifiers: what they are to learn, their trainings, and the versions these made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

import numpy.typing as npt
from sqlalchemy import Connection, Row, Select, delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from core.classifier_types import (
    Classifier,
    ClassifierVersion,
    CollectionSource,
    ExampleChanges,
    Head,
    HeadKind,
    LabelingRule,
    LabelledText,
    StoredExample,
    TrainedHead,
    TrainingOptions,
    VersionOrigin,
)
from core.errors import Conflict, NotFound
from core.types import EncoderInfo, Float32, JobKind
from storage import classifier_examples, classifier_rules, classifier_versions
from storage.classifier_versions import encoder_columns, to_encoder
from storage.clock import Clock, utc_now
from storage.database import Database, can_be_stored
from storage.faults import repeated
from storage.jobs import OPEN_STATES
from storage.long_jobs import open_job
from storage.schema import ClassifierExamples, Classifiers, Jobs

CLASSIFIER = "classifier"  # in the details of a training: the name

_TABLE = Classifiers.__table__


class SqlClassifierStore:
    """core.ports.ClassifierStore on SQL. Whoever changes a classifier locks its row first."""

    def __init__(self, database: Database, clock: Clock = utc_now) -> None:
        self._database = database
        self._clock = clock

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

        `examples` replace the stored ones; None keeps them. Raises Conflict, naming the job, while an
        earlier training of this name is not over.
        """
        about = {
            **encoder_columns(encoder),
            "options": asdict(options),
            "source": None if source is None else asdict(source),
            "descriptions": dict(descriptions),
        }
        try:
            return self._put(name, about, examples, job_details)
        except IntegrityError:  # another process has just created it
            return self._put(name, about, examples, job_details)

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
            id_ = _changed(connection, name, about, now)
            if examples is not None:
                classifier_examples.put_in_place(connection, id_, examples, now)
            collection = (about["source"] or {}).get("collection", "")
            details = {**job_details, CLASSIFIER: name}
            job_id = open_job(connection, JobKind.TRAIN, collection, details, now)
            this = update(Classifiers).where(Classifiers.id == id_)
            connection.execute(this.values(job_id=job_id, updated_at=now))
            return _read(connection, id_), job_id

    def get(self, name: str) -> Classifier:
        """Raises NotFound."""
        if can_be_stored(name):
            with self._database.read() as connection:
                row = connection.execute(_query().where(Classifiers.name == name)).first()
            if row is not None:
                return _to_classifier(row)
        raise no_classifier(name)

    @repeated
    def delete(self, name: str) -> None:
        """With examples, versions and rules. Raises NotFound, or Conflict while a training is not over."""
        with self._database.write() as connection:
            found = _find(connection, name)
            if found is None:
                raise no_classifier(name)
            _refuse_open_training(connection, found)
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
        self, classifier_id: int, changed: Sequence[LabelledText], removed: Sequence[str]
    ) -> ExampleChanges:
        """Adds examples, corrects the labels of texts already there, removes those of the given texts.

        Of equal texts the last counts. Raises NotFound when the classifier is gone.
        """
        now = self._clock()
        with self._database.write() as connection:
            _touch(connection, classifier_id, now)
            return classifier_examples.change_examples(connection, classifier_id, changed, removed, now)

    @repeated
    def replace_examples(
        self, classifier_id: int, examples: Sequence[LabelledText], vectors: Float32
    ) -> None:
        """Puts these with their `vectors` (n, d) in the place of all earlier ones. Raises NotFound."""
        now = self._clock()
        with self._database.write() as connection:
            _touch(connection, classifier_id, now)
            classifier_examples.put_encoded(connection, classifier_id, examples, vectors, now)

    @repeated
    def add_version(
        self,
        classifier_id: int,
        origin: VersionOrigin,
        trained: TrainedHead,
        encoder: EncoderInfo,
        data_hash: str,
        examples: int,
        adapters: Mapping[str, npt.NDArray[Any]] | None = None,
    ) -> ClassifierVersion:
        """Adds a version and makes it the active one. Raises NotFound when the classifier is gone."""
        now = self._clock()
        with self._database.write() as connection:
            number = _lock(connection, classifier_id).last_number + 1
            version = classifier_versions.new_version(
                number, origin, trained, encoder, data_hash, examples, adapters is not None, now
            )
            classifier_versions.insert_version(connection, classifier_id, version, trained, adapters)
            this = update(Classifiers).where(Classifiers.id == classifier_id)
            connection.execute(this.values(active=number, last_number=number, updated_at=now))
        return version

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
            _touch(connection, classifier_id, self._clock())
            version = classifier_versions.read_version(connection, classifier_id, number)
            this = update(Classifiers).where(Classifiers.id == classifier_id)
            connection.execute(this.values(active=number))
        return version

    def rules(self, collection_id: int) -> list[LabelingRule]:
        """By field."""
        with self._database.read() as connection:
            return classifier_rules.read_rules(connection, collection_id)

    @repeated
    def add_rule(self, rule: LabelingRule) -> None:
        """Replaces a rule of the same collection and field. Raises NotFound."""
        with self._database.write() as connection:
            found = _find(connection, rule.classifier)
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
            return [_to_classifier(row) for row in connection.execute(_query().order_by(Classifiers.name))]


def no_classifier(name: object) -> NotFound:
    """The error for a classifier that is not there."""
    return NotFound(f"classifier {name!r} does not exist; train it first, or check the name")


def _changed(connection: Connection, name: str, about: Mapping[str, Any], now: datetime) -> int:
    """Id of the classifier, made or changed, of which no training is open. Raises Conflict."""
    found = _find(connection, name)
    if found is None:
        row = {"name": name, "last_number": 0, "created_at": now, "updated_at": now}
        made = insert(Classifiers).values(**row, **about).returning(Classifiers.id)
        return int(connection.execute(made).scalar_one())
    _refuse_open_training(connection, found)
    if found.encoder_fingerprint != about["encoder_fingerprint"]:
        classifier_examples.drop_vectors(connection, found.id)
    connection.execute(update(Classifiers).where(Classifiers.id == found.id).values(**about))
    return int(found.id)


def _find(connection: Connection, name: str) -> Row[Any] | None:
    """Locks the classifier of this name, if there is one."""
    if not can_be_stored(name):
        return None
    return connection.execute(select(_TABLE).where(Classifiers.name == name).with_for_update()).first()


def _lock(connection: Connection, classifier_id: int) -> Row[Any]:
    """Raises NotFound."""
    query = select(_TABLE).where(Classifiers.id == classifier_id).with_for_update()
    row = connection.execute(query).first()
    if row is None:
        raise NotFound("this classifier was deleted meanwhile; train it again")
    return row


def _touch(connection: Connection, classifier_id: int, now: datetime) -> None:
    """Locks the classifier and notes the change. Raises NotFound."""
    _lock(connection, classifier_id)
    connection.execute(update(Classifiers).where(Classifiers.id == classifier_id).values(updated_at=now))


def _refuse_open_training(connection: Connection, found: Row[Any]) -> None:
    is_open = select(Jobs.id).where(Jobs.id == found.job_id, Jobs.state.in_(OPEN_STATES))
    if connection.execute(is_open).first() is not None:
        raise Conflict(
            f"classifier {found.name!r} is in training by job {found.job_id}; wait until that is over,"
            " or cancel it"
        )


def _query() -> Select[Any]:
    counted = (
        select(func.count())
        .where(ClassifierExamples.classifier_id == Classifiers.id)
        .correlate(Classifiers)
        .scalar_subquery()
    )
    return select(_TABLE, counted.label("examples"))


def _read(connection: Connection, classifier_id: int) -> Classifier:
    return _to_classifier(connection.execute(_query().where(Classifiers.id == classifier_id)).one())


def _to_classifier(row: Row[Any]) -> Classifier:
    head = row.options["head"]
    return Classifier(
        id=row.id,
        name=row.name,
        encoder=to_encoder(row),
        options=TrainingOptions(**{**row.options, "head": None if head is None else HeadKind(head)}),
        descriptions=row.descriptions,
        source=None if row.source is None else CollectionSource(**row.source),
        active=row.active,
        examples=row.examples,
        job_id=row.job_id,
        created_at=row.created_at,
        updated_at=row.updated_at,
    )
