"""Labelled examples of a classifier, inside the caller's transaction, which has locked the classifier."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
from sqlalchemy import Connection, Row, Text, bindparam, cast, delete, func, insert, select, update

from core.classifier_types import EncodedExamples, ExampleChanges, LabelledText, StoredExample
from core.ports.classifiers import LabelCounts
from core.types import Float32
from storage.database import chunked
from storage.publishing import VECTOR_DTYPE
from storage.schema import ClassifierExamples


@dataclass(frozen=True, slots=True)
class _Stored:
    id: int
    labels: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Change:
    """By the hashes of their texts: what examples are to be, which are to go, and what is stored of both."""

    latest: Mapping[str, LabelledText]
    gone: frozenset[str]
    stored: Mapping[str, _Stored]

    def counts_after(self, before: LabelCounts) -> LabelCounts:
        """What `label_counts` will be."""
        counts = Counter(before)
        counts.subtract(frozenset(found.labels) for found in self.stored.values())
        counts.update(frozenset(example.labels) for example in self.latest.values())
        return +counts  # those that no example has are left out


def read_change(
    connection: Connection, classifier_id: int, changed: Sequence[LabelledText], removed: Sequence[str]
) -> Change:
    """A change that is still to be written; a text that is both changed and removed stays."""
    latest = _latest(changed)
    gone = frozenset(hash_text(text) for text in removed) - latest.keys()
    return Change(latest, gone, _stored(connection, classifier_id, [*latest, *gone]))


def write_change(connection: Connection, classifier_id: int, change: Change, now: datetime) -> ExampleChanges:
    """Adds, corrects and removes."""
    gone = change.gone & change.stored.keys()
    delete_examples(connection, [change.stored[key].id for key in gone])
    changes = _write(connection, classifier_id, change.latest, change.stored, now)
    return ExampleChanges(*changes, removed=len(gone))


def label_counts(connection: Connection, classifier_id: int) -> LabelCounts:
    """Of each set of labels, how many examples have it; neither texts nor vectors are read."""
    written = cast(ClassifierExamples.labels, Text)  # Postgres cannot group by JSON
    query = select(written, func.count()).where(ClassifierExamples.classifier_id == classifier_id)
    counts: Counter[frozenset[str]] = Counter()
    for labels, count in connection.execute(query.group_by(written)):
        counts[frozenset(json.loads(labels))] += count
    return counts


def put_in_place(
    connection: Connection, classifier_id: int, examples: Sequence[LabelledText], now: datetime
) -> None:
    """Leaves these and no others; texts that stay keep their id and vector."""
    latest = _latest(examples)
    stored = _all_stored(connection, classifier_id)
    delete_examples(connection, [found.id for key, found in stored.items() if key not in latest])
    _write(connection, classifier_id, latest, stored, now)


def put_encoded(connection: Connection, classifier_id: int, encoded: EncodedExamples, now: datetime) -> None:
    """Puts examples with their vectors in the place of all earlier ones; of equal texts the last counts."""
    connection.execute(delete(ClassifierExamples).where(ClassifierExamples.classifier_id == classifier_id))
    rows = {
        hash_text(example.text): _row(classifier_id, example, now) | {"vector": _packed(vector)}
        for example, vector in zip(encoded.labelled, encoded.vectors, strict=True)
    }
    if rows:
        connection.execute(insert(ClassifierExamples), list(rows.values()))


def save_vectors(connection: Connection, classifier_id: int, vectors: Mapping[int, Float32]) -> None:
    """Example id -> embedding (d,); ids that are gone are passed over."""
    this = update(ClassifierExamples).where(
        ClassifierExamples.id == bindparam("row_id"), ClassifierExamples.classifier_id == classifier_id
    )
    rows = [{"row_id": id_, "vector": _packed(vector)} for id_, vector in vectors.items()]
    if rows:
        connection.execute(this, rows)


def drop_vectors(connection: Connection, classifier_id: int) -> None:
    """All examples are to be encoded anew."""
    mine = update(ClassifierExamples).where(ClassifierExamples.classifier_id == classifier_id)
    connection.execute(mine.values(vector=None))


def read_examples(
    connection: Connection, classifier_id: int, limit: int | None, after: int
) -> list[StoredExample]:
    """In order of id."""
    query = (
        select(
            ClassifierExamples.id,
            ClassifierExamples.text,
            ClassifierExamples.labels,
            ClassifierExamples.vector.is_not(None).label("is_encoded"),
            ClassifierExamples.updated_at,
        )
        .where(ClassifierExamples.classifier_id == classifier_id, ClassifierExamples.id > after)
        .order_by(ClassifierExamples.id)
        .limit(limit)
    )
    return [
        StoredExample(row.id, row.text, tuple(row.labels), bool(row.is_encoded), row.updated_at)
        for row in connection.execute(query)
    ]


def read_vectors(connection: Connection, classifier_id: int) -> dict[int, Float32]:
    """Example id -> embedding (d,), of those stored."""
    query = select(ClassifierExamples.id, ClassifierExamples.vector).where(
        ClassifierExamples.classifier_id == classifier_id, ClassifierExamples.vector.is_not(None)
    )
    rows = connection.execute(query.order_by(ClassifierExamples.id)).all()
    if not rows:
        return {}
    data = b"".join(row.vector for row in rows)
    vectors = np.frombuffer(data, VECTOR_DTYPE).astype(np.float32).reshape(len(rows), -1)
    return dict(zip([row.id for row in rows], vectors, strict=True))


def delete_examples(connection: Connection, ids: Sequence[int]) -> None:
    for chunk in chunked(ids):
        connection.execute(delete(ClassifierExamples).where(ClassifierExamples.id.in_(chunk)))


def _write(
    connection: Connection,
    classifier_id: int,
    latest: Mapping[str, LabelledText],
    stored: Mapping[str, _Stored],
    now: datetime,
) -> tuple[int, int, int]:
    """How many were added, corrected, unchanged."""
    fresh = [_row(classifier_id, example, now) for key, example in latest.items() if key not in stored]
    corrected = [
        {"row_id": stored[key].id, "labels": list(example.labels), "updated_at": now}
        for key, example in latest.items()
        if key in stored and set(stored[key].labels) != set(example.labels)
    ]
    if fresh:
        connection.execute(insert(ClassifierExamples), fresh)
    if corrected:
        this = update(ClassifierExamples).where(ClassifierExamples.id == bindparam("row_id"))
        connection.execute(this, corrected)
    return len(fresh), len(corrected), len(latest) - len(fresh) - len(corrected)


def _stored(connection: Connection, classifier_id: int, keys: Sequence[str]) -> dict[str, _Stored]:
    query = _keys(classifier_id)
    found: dict[str, _Stored] = {}
    for chunk in chunked(keys):
        found |= _by_key(connection.execute(query.where(ClassifierExamples.text_hash.in_(chunk))))
    return found


def _all_stored(connection: Connection, classifier_id: int) -> dict[str, _Stored]:
    return _by_key(connection.execute(_keys(classifier_id)))


def _keys(classifier_id: int) -> Any:
    columns = (ClassifierExamples.id, ClassifierExamples.text_hash, ClassifierExamples.labels)
    return select(*columns).where(ClassifierExamples.classifier_id == classifier_id)


def _by_key(rows: Iterable[Row[Any]]) -> dict[str, _Stored]:
    return {row.text_hash: _Stored(row.id, tuple(row.labels)) for row in rows}


def _latest(examples: Iterable[LabelledText]) -> dict[str, LabelledText]:
    """By the hash of the text; of equal ones the last."""
    return {hash_text(example.text): example for example in examples}


def _row(classifier_id: int, example: LabelledText | StoredExample, now: datetime) -> dict[str, Any]:
    return {
        "classifier_id": classifier_id,
        "text_hash": hash_text(example.text),
        "updated_at": now,
        "labels": list(example.labels),
        "vector": None,
        "text": example.text,
    }


def hash_text(text: str) -> str:
    """By which a text is told from others."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _packed(vector: Float32) -> bytes:
    return vector.astype(VECTOR_DTYPE).tobytes()
