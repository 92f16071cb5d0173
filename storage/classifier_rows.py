"""Rows of classifiers, inside the caller's transaction; whoever changes one locks its row first."""

from __future__ import annotations

from collections.abc import Mapping, Set
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection, Row, Select, and_, func, insert, select, update

from core.classifier_types import (
    ByFeedback,
    ByTraining,
    Classifier,
    CollectionSource,
    HeadKind,
    MadeBy,
    TrainingOptions,
)
from core.errors import Conflict, ExamplesChanged, NotFound, Overtaken
from core.job_types import FROM_COLLECTION
from storage.classifier_examples import drop_vectors
from storage.classifier_versions import to_encoder
from storage.clock import Clock
from storage.collections import lock_collection
from storage.database import can_be_stored
from storage.jobs import OPEN_STATES
from storage.schema import ClassifierExamples, Classifiers, ClassifierVersions, Jobs, LabelingRules

_TABLE = Classifiers.__table__


def no_classifier(name: object) -> NotFound:
    """The error for a classifier that is not there."""
    return NotFound(f"classifier {name!r} does not exist; train it first, or check the name")


def put_row(connection: Connection, name: str, about: Mapping[str, Any], now: datetime) -> int:
    """Id of the classifier, made or changed, of which no training is open. Raises Conflict."""
    found = find_locked(connection, name)
    if found is None:
        row = {"name": name, "last_number": 0, "created_at": now, "updated_at": now}
        made = insert(Classifiers).values(**row, **about).returning(Classifiers.id)
        return int(connection.execute(made).scalar_one())
    refuse_open_training(connection, found)
    if found.encoder_fingerprint != about["encoder_fingerprint"]:
        drop_vectors(connection, found.id)
    connection.execute(update(Classifiers).where(Classifiers.id == found.id).values(**about))
    return int(found.id)


def find_locked(connection: Connection, name: str) -> Row[Any] | None:
    """Locks the classifier of this name, if there is one."""
    if not can_be_stored(name):
        return None
    query = select(_TABLE).where(Classifiers.name == name).with_for_update()
    # One that a restore put in the place of another, whose lock was waited for, only a new look finds.
    return connection.execute(query).first() or connection.execute(query).first()


ACTIVE: Final = "active"  # in the details of a training: the version that served when it was accepted


def lock_classifier(connection: Connection, classifier_id: int) -> Row[Any]:
    """The locked row. Raises NotFound."""
    query = select(_TABLE).where(Classifiers.id == classifier_id).with_for_update()
    row = connection.execute(query).first()
    if row is None:
        raise NotFound("this classifier was deleted meanwhile; train it again")
    return row


def touch(connection: Connection, classifier_id: int, clock: Clock) -> datetime:
    """Locks the classifier and notes when it is changed. Raises NotFound.

    The time is that of the lock and not that of a wait for it: what was accepted meanwhile came before.
    """
    lock_classifier(connection, classifier_id)
    now = clock()
    connection.execute(update(Classifiers).where(Classifiers.id == classifier_id).values(updated_at=now))
    return now


def require_made_by(connection: Connection, found: Row[Any], made_by: MadeBy) -> None:
    """Raises Overtaken unless the locked classifier is still as the maker of a change takes it to be."""
    if isinstance(made_by, ByFeedback):
        if found.active != made_by.active:
            raise Overtaken(
                f"version {found.active} of classifier {found.name!r} serves now, not {made_by.active} that"
                " was fitted to the examples"
            )
    elif found.job_id != made_by.job_id or not _is_in_training(connection, found):
        raise training_is_over(found, made_by)
    elif made_by.as_of not in (None, found.updated_at):
        raise ExamplesChanged(f"classifier {found.name!r} was changed since its examples were read")


def was_rolled_back_since(connection: Connection, found: Row[Any], made_by: MadeBy) -> bool:
    """Whether an earlier version than the newest was activated since the training was accepted."""
    if not isinstance(made_by, ByTraining):
        return False
    details = connection.execute(select(Jobs.details).where(Jobs.id == made_by.job_id)).scalar_one()
    return ACTIVE in details and found.active not in (details[ACTIVE], found.last_number)


def training_is_over(found: Row[Any], made_by: ByTraining) -> Overtaken:
    """The error for what a training brings that was cancelled, or is not the newest."""
    return Overtaken(f"training {made_by.job_id} of classifier {found.name!r} is over")


def set_active(connection: Connection, classifier_id: int, number: int, **values: Any) -> None:
    """Makes a version of the locked classifier the one that serves; `values` of its row change with it.

    Collections that it labels on arrival are locked first, so that no batch is published afterwards with
    the labels of the version before.
    """
    lock_labelled(connection, classifier_id)
    this = update(Classifiers).where(Classifiers.id == classifier_id)
    connection.execute(this.values(active=number, **values))


def lock_labelled(connection: Connection, classifier_id: int) -> None:
    """Locks the collections that a locked classifier labels on arrival."""
    labelled = select(LabelingRules.collection_id).where(LabelingRules.classifier_id == classifier_id)
    for collection_id in connection.execute(
        labelled.distinct().order_by(LabelingRules.collection_id)
    ).scalars():
        lock_collection(connection, collection_id)


REMOVED: Final = "removed"  # in the details of a training from a collection: hashes of texts no more wanted


def note_removed(connection: Connection, classifier_id: int, hashes: Set[str]) -> None:
    """Has the open training from a collection, if there is one, leave out these texts of the collection.

    The classifier must be locked. What was stored of them is gone, and would tell nothing.
    """
    row = connection.execute(_training(classifier_id).with_for_update(of=Jobs)).first()
    if row is not None and hashes and FROM_COLLECTION in row.details:
        removed = sorted({*row.details.get(REMOVED, ()), *hashes})
        this = update(Jobs).where(Jobs.id == row.id)
        connection.execute(this.values(details={**row.details, REMOVED: removed}))


def removed_meanwhile(connection: Connection, classifier_id: int) -> Set[str]:
    """The hashes that `note_removed` noted on the open training."""
    row = connection.execute(_training(classifier_id)).first()
    return set() if row is None else set(row.details.get(REMOVED, ()))


def _training(classifier_id: int) -> Select[Any]:
    """The newest training of the classifier, if it is open."""
    mine = select(Jobs.id, Jobs.details).join(Classifiers, Classifiers.job_id == Jobs.id)
    return mine.where(Classifiers.id == classifier_id, Jobs.state.in_(OPEN_STATES))


def refuse_open_training(connection: Connection, found: Row[Any]) -> None:
    """Raises Conflict while the newest training of the classifier is not over."""
    if _is_in_training(connection, found):
        raise Conflict(
            f"classifier {found.name!r} is in training by job {found.job_id}; wait until that is over,"
            " or cancel it"
        )


def _is_in_training(connection: Connection, found: Row[Any]) -> bool:
    is_open = select(Jobs.id).where(Jobs.id == found.job_id, Jobs.state.in_(OPEN_STATES))
    return connection.execute(is_open).first() is not None


def classifier_query() -> Select[Any]:
    """All columns, and how many examples are stored."""
    counted = (
        select(func.count())
        .where(ClassifierExamples.classifier_id == Classifiers.id)
        .correlate(Classifiers)
        .scalar_subquery()
    )
    return select(_TABLE, counted.label("examples"))


def behind_query() -> Select[Any]:
    """`classifier_query` of those whose newest version serves, and was made before their last change.

    None in training, nor those whose training is not known any more. With state and details of its job.
    """
    of_version = and_(
        ClassifierVersions.classifier_id == Classifiers.id, ClassifierVersions.number == Classifiers.active
    )
    return (
        classifier_query()
        .add_columns(Jobs.state.label("job_state"), Jobs.details.label("job_details"))
        .join(ClassifierVersions, of_version)
        .join(Jobs, Jobs.id == Classifiers.job_id)
        .where(
            Classifiers.active == Classifiers.last_number,
            Classifiers.updated_at != ClassifierVersions.created_at,
            Jobs.state.not_in(OPEN_STATES),
        )
        .order_by(Classifiers.id)
    )


def read_classifier(connection: Connection, classifier_id: int) -> Classifier:
    """The classifier, which must exist."""
    return to_classifier(connection.execute(classifier_query().where(Classifiers.id == classifier_id)).one())


def to_classifier(row: Row[Any]) -> Classifier:
    """A row of `classifier_query` as the type that leaves storage."""
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
