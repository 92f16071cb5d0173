"""Versions of a classifier, inside the caller's transaction: what each learned, and how good it is."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Any

import numpy as np
import numpy.typing as npt
from sqlalchemy import Connection, Row, delete, insert, select

from core.classifier_types import ClassifierVersion, Head, HeadKind, TrainedHead, VersionOrigin
from core.errors import NotFound
from core.types import EncoderInfo
from storage.arrays import pack, unpack
from storage.schema import ClassifierVersions

# Each holds a whole head, up to some megabytes; those of trainings are kept for good.
KEPT_FEEDBACK_VERSIONS = 20
_ENCODER = "encoder_"
_NARROW = (
    ClassifierVersions.number,
    ClassifierVersions.origin,
    ClassifierVersions.kind,
    ClassifierVersions.is_multi,
    ClassifierVersions.is_tuned,
    ClassifierVersions.encoder_id,
    ClassifierVersions.encoder_fingerprint,
    ClassifierVersions.encoder_dim,
    ClassifierVersions.encoder_max_tokens,
    ClassifierVersions.data_hash,
    ClassifierVersions.examples,
    ClassifierVersions.created_at,
    ClassifierVersions.metrics,
    ClassifierVersions.labels,
)


def insert_version(
    connection: Connection,
    classifier_id: int,
    version: ClassifierVersion,
    trained: TrainedHead,
    adapters: Mapping[str, npt.NDArray[Any]] | None,
) -> None:
    """Writes a version with its head. Raises ValueError for arrays of objects or parameters not finite."""
    row = {
        "classifier_id": classifier_id,
        "number": version.number,
        "origin": version.origin,
        "kind": version.kind,
        "is_multi": version.is_multi,
        "is_tuned": version.is_tuned,
        **encoder_columns(version.encoder),
        "data_hash": version.data_hash,
        "examples": version.examples,
        "created_at": version.created_at,
        "metrics": dict(version.metrics),
        "labels": list(version.labels),
        "parameters": _plain(trained.head.parameters, is_strict=True),
        "head": pack(trained.head.arrays),
        "report": _plain(trained.report),
        "adapters": None if adapters is None else pack(adapters),
    }
    connection.execute(insert(ClassifierVersions).values(**row))


def new_version(
    number: int,
    origin: VersionOrigin,
    trained: TrainedHead,
    encoder: EncoderInfo,
    data_hash: str,
    examples: int,
    is_tuned: bool,
    now: datetime,
) -> ClassifierVersion:
    """The version that a training made; metrics that are not finite are left out."""
    head = trained.head
    metrics = {name: float(value) for name, value in trained.metrics.items() if math.isfinite(value)}
    return ClassifierVersion(
        number=number,
        origin=origin,
        kind=head.kind,
        labels=tuple(head.labels),
        is_multi=head.is_multi,
        encoder=encoder,
        data_hash=data_hash,
        examples=examples,
        metrics=metrics,
        created_at=now,
        is_tuned=is_tuned,
    )


def delete_old_feedback(connection: Connection, classifier_id: int, active: int) -> None:
    """Leaves the newest `KEPT_FEEDBACK_VERSIONS` versions that feedback made, and the active one."""
    made = select(ClassifierVersions.number).where(
        ClassifierVersions.classifier_id == classifier_id,
        ClassifierVersions.origin == VersionOrigin.FEEDBACK,
    )
    newest = made.order_by(ClassifierVersions.number.desc())
    old = connection.execute(newest.offset(KEPT_FEEDBACK_VERSIONS)).scalars().all()
    gone = delete(ClassifierVersions).where(
        ClassifierVersions.classifier_id == classifier_id,
        ClassifierVersions.number.in_(old),
        ClassifierVersions.number != active,
    )
    if old:
        connection.execute(gone)


def read_versions(connection: Connection, classifier_id: int) -> list[ClassifierVersion]:
    """Newest first."""
    query = select(*_NARROW).where(ClassifierVersions.classifier_id == classifier_id)
    rows = connection.execute(query.order_by(ClassifierVersions.number.desc()))
    return [_to_version(row) for row in rows]


def read_version(connection: Connection, classifier_id: int, number: int) -> ClassifierVersion:
    """Raises NotFound."""
    return _to_version(_one(connection, classifier_id, number, *_NARROW))


def read_head(
    connection: Connection, classifier_id: int, number: int
) -> tuple[Head, dict[str, npt.NDArray[Any]] | None]:
    """The head, and the adapters of a tuned version. Raises NotFound."""
    row = _one(
        connection,
        classifier_id,
        number,
        ClassifierVersions.kind,
        ClassifierVersions.labels,
        ClassifierVersions.is_multi,
        ClassifierVersions.parameters,
        ClassifierVersions.head,
        ClassifierVersions.adapters,
    )
    head = Head(HeadKind(row.kind), tuple(row.labels), row.is_multi, unpack(row.head), row.parameters)
    return head, None if row.adapters is None else unpack(row.adapters)


def read_report(connection: Connection, classifier_id: int, number: int) -> Mapping[str, Any]:
    """Raises NotFound."""
    report: Mapping[str, Any] = _one(connection, classifier_id, number, ClassifierVersions.report).report
    return report


def encoder_columns(encoder: EncoderInfo) -> dict[str, Any]:
    """An encoder's identity as columns."""
    return {_ENCODER + name: value for name, value in asdict(encoder).items()}


def to_encoder(row: Row[Any]) -> EncoderInfo:
    """An encoder's identity from a row that has those columns."""
    return EncoderInfo(row.encoder_id, row.encoder_fingerprint, row.encoder_dim, row.encoder_max_tokens)


def _one(connection: Connection, classifier_id: int, number: int, *columns: Any) -> Row[Any]:
    mine = (ClassifierVersions.classifier_id == classifier_id, ClassifierVersions.number == number)
    row = connection.execute(select(*columns).where(*mine)).first()
    if row is None:
        raise NotFound(f"version {number} of this classifier does not exist; list its versions")
    return row


def _to_version(row: Row[*tuple[Any, ...]]) -> ClassifierVersion:
    return ClassifierVersion(
        number=row.number,
        origin=VersionOrigin(row.origin),
        kind=HeadKind(row.kind),
        labels=tuple(row.labels),
        is_multi=row.is_multi,
        encoder=to_encoder(row),
        data_hash=row.data_hash,
        examples=row.examples,
        metrics=row.metrics,
        created_at=row.created_at,
        is_tuned=row.is_tuned,
    )


def _plain(value: Any, is_strict: bool = False) -> Any:
    """As JSON has it: numbers of numpy as plain ones, NaN and infinity as null, unless `is_strict`."""
    if isinstance(value, Mapping):
        return {str(key): _plain(inner, is_strict) for key, inner in value.items()}
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if isinstance(value, list | tuple):
        return [_plain(inner, is_strict) for inner in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        if is_strict:
            raise ValueError(f"a head's parameters hold {value}, which JSON has not; put it into its arrays")
        return None
    return value
