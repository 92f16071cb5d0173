"""Classifiers in a backup: each with its examples, versions and rules, as they were at one moment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from typing import Any, Final

from sqlalchemy import Connection, Table, delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from core.backup_types import Going
from core.errors import Conflict
from storage.backup_file import Archive, ArchiveWriter, Damaged
from storage.backup_loading import RESTORED, chunks_of
from storage.backup_rows import decoded, table_row, to_line
from storage.backup_rules import RESTORED_CLASSIFIERS, load_rules
from storage.classifier_rows import find_locked, lock_labelled, read_classifier, refuse_open_training
from storage.clock import new_id
from storage.database import Database, chunked
from storage.faults import repeated
from storage.long_jobs import lock_open, note_details
from storage.removal import HIDDEN
from storage.schema import (
    Base,
    ClassifierExamples,
    Classifiers,
    ClassifierVersions,
    Collections,
    LabelingRules,
)

ROWS_AT_ONCE: Final = 200
_TABLE = Base.metadata.tables[Classifiers.__tablename__]
_COLUMNS = {column.name for column in _TABLE.columns} - {"id", "name", "job_id"}
PARTS = {
    name: Base.metadata.tables[name]
    for name in (ClassifierExamples.__tablename__, ClassifierVersions.__tablename__)
}


def add_classifiers(database: Database, archive: ArchiveWriter, going: Going) -> list[Mapping[str, Any]]:
    """Copies all classifiers; what the manifest says of them. `going` is called now and then."""
    with database.read() as connection:
        ids = list(connection.execute(select(Classifiers.id).order_by(Classifiers.name)).scalars())
    saved = [
        _add(database, archive, id_, f"classifiers/{number:04}", going) for number, id_ in enumerate(ids, 1)
    ]
    return [one for one in saved if one is not None]


def check_classifiers(database: Database, names: Sequence[str], replace: bool) -> None:
    """Raises Conflict where `load_classifier` would as things are: a name is taken, or it is in training."""
    with database.read() as connection:
        for chunk in chunked(names):
            query = select(_TABLE).where(Classifiers.name.in_(chunk)).order_by(Classifiers.name)
            for found in connection.execute(query).all():
                if not replace:
                    raise taken_classifier(found.name)
                refuse_open_training(connection, found)


def load_classifier(
    database: Database, archive: Archive, saved: Mapping[str, Any], job_id: str, replace: bool
) -> None:
    """Restores one classifier in one transaction, and notes it on the job.

    One that it replaces gives way; rules that named it go on with the new one. Rules of a collection that
    the job has yet to restore come with that. Raises Conflict where that may
    not be, while it is in training, or when the job is over; Damaged.
    """
    try:
        _load(database, archive, saved, job_id, replace)
    except IntegrityError:  # another process has just created one of this name
        _load(database, archive, saved, job_id, replace)


@repeated
def _load(database: Database, archive: Archive, saved: Mapping[str, Any], job_id: str, replace: bool) -> None:
    name = saved["name"]
    with database.write() as connection:
        details = lock_open(connection, job_id)
        if name in details.get(RESTORED_CLASSIFIERS, ()):  # by another attempt at the job, beside this one
            return
        old = find_locked(connection, name)
        if old is not None:
            if not replace:
                raise taken_classifier(name)
            refuse_open_training(connection, old)
            aside = update(Classifiers).where(Classifiers.id == old.id)
            connection.execute(aside.values(name=f"{HIDDEN}replaced-{new_id()}"))
        row = decoded(saved["row"], _TABLE, _COLUMNS)
        made = insert(Classifiers).values(**row, name=name).returning(Classifiers.id)
        classifier_id = int(connection.execute(made).scalar_one())
        _require_readable(connection, classifier_id, name)
        for part, table in PARTS.items():
            _load_part(connection, archive, saved["tables"][part], table, classifier_id)
        if old is not None:
            lock_labelled(connection, old.id)
            rules = update(LabelingRules).where(LabelingRules.classifier_id == old.id)
            connection.execute(rules.values(classifier_id=classifier_id))
            connection.execute(delete(Classifiers).where(Classifiers.id == old.id))
        awaited = _awaited(details)
        ready = [rule for rule in saved["rules"] if rule["collection"] not in awaited]
        load_rules(connection, ready, classifier_id)
        details[RESTORED_CLASSIFIERS] = [*details.get(RESTORED_CLASSIFIERS, []), name]
        note_details(connection, job_id, details)


def taken_classifier(name: str) -> Conflict:
    """The error for a name that a classifier has already."""
    return Conflict(
        f"Classifier {name!r} exists. Delete it, let it be replaced (replace), or restore one"
        " collection alone."
    )


def _add(
    database: Database, archive: ArchiveWriter, classifier_id: int, folder: str, going: Going
) -> Mapping[str, Any] | None:
    """None when it was deleted meanwhile."""
    with database.read() as connection:
        database.let_pause(connection)
        row = connection.execute(select(_TABLE).where(Classifiers.id == classifier_id)).first()
        if row is None:
            return None
        rules = (
            select(Collections.name, LabelingRules.field)
            .join(Collections, Collections.id == LabelingRules.collection_id)
            .where(LabelingRules.classifier_id == classifier_id)
            .order_by(Collections.name, LabelingRules.field)
        )
        return {
            "name": row.name,
            "row": {name: value for name, value in row._mapping.items() if name in _COLUMNS},
            "rules": [{"collection": of, "field": field} for of, field in connection.execute(rules)],
            "tables": {
                part: _add_part(connection, archive, table, classifier_id, f"{folder}/{part}.jsonl", going)
                for part, table in PARTS.items()
            },
        }


def _add_part(
    connection: Connection, archive: ArchiveWriter, table: Table, classifier_id: int, file: str, going: Going
) -> dict[str, Any]:
    columns = [column for column in table.columns if column.name in _kept(table)]
    query = select(*columns).where(table.c.classifier_id == classifier_id).order_by(*table.primary_key)
    found = connection.execution_options(yield_per=ROWS_AT_ONCE).execute(query)
    with archive.member(file) as member, closing(found) as rows:
        for number, row in enumerate(rows):
            member.add(to_line(dict(row._mapping)))
            if number % ROWS_AT_ONCE == 0:
                going(0)
    return member.description(file)


def _load_part(
    connection: Connection, archive: Archive, description: Mapping[str, Any], table: Table, classifier_id: int
) -> None:
    for lines in chunks_of(archive.lines(description), ROWS_AT_ONCE):
        rows = [table_row(line, table, _kept(table)) for line in lines]
        connection.execute(insert(table), [row | {"classifier_id": classifier_id} for row in rows])


def _require_readable(connection: Connection, classifier_id: int, name: str) -> None:
    try:
        read_classifier(connection, classifier_id)
    except (TypeError, KeyError, ValueError) as error:
        raise Damaged(f"The options of classifier {name!r} are of a newer version: {error}.") from None


def _awaited(details: Mapping[str, Any]) -> set[str]:
    """Collections that a job has yet to restore."""
    return {move["target"] for move in details.get("moves", ())} - set(details.get(RESTORED, ()))


def _kept(table: Table) -> set[str]:
    return {column.name for column in table.columns} - {"id", "classifier_id"}
