"""Which classifiers label a collection's documents on arrival, inside the caller's transaction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, delete, insert, select

from core.classifier_types import LabelingRule
from core.errors import NotFound
from core.job_types import ArrivalRule
from storage.collections import collection_gone, lock_collection
from storage.database import can_be_stored
from storage.schema import Classifiers, LabelingRules


def read_rules(connection: Connection, collection_id: int) -> list[LabelingRule]:
    """By field."""
    rows = _rules(
        connection, collection_id, LabelingRules.collection_id, Classifiers.name, LabelingRules.field
    )
    return [LabelingRule(*row) for row in rows]


def read_arrival_rules(connection: Connection, collection_id: int) -> list[ArrivalRule]:
    """By field, each with the version that is active."""
    rows = _rules(connection, collection_id, LabelingRules.field, Classifiers.name, Classifiers.active)
    return [ArrivalRule(*row) for row in rows]


def _rules(connection: Connection, collection_id: int, *columns: Any) -> Sequence[Any]:
    query = (
        select(*columns)
        .select_from(LabelingRules)
        .join(Classifiers, Classifiers.id == LabelingRules.classifier_id)
        .where(LabelingRules.collection_id == collection_id)
        .order_by(LabelingRules.field)
    )
    return connection.execute(query).all()


def put_rule(connection: Connection, rule: LabelingRule, classifier_id: int) -> None:
    """Replaces a rule of the same collection and field. Raises NotFound when the collection is gone."""
    if not lock_collection(connection, rule.collection_id):
        raise collection_gone()
    mine = (LabelingRules.collection_id == rule.collection_id, LabelingRules.field == rule.field)
    connection.execute(delete(LabelingRules).where(*mine))
    row = {"collection_id": rule.collection_id, "field": rule.field, "classifier_id": classifier_id}
    connection.execute(insert(LabelingRules).values(**row))


def delete_rule(connection: Connection, collection_id: int, field: str) -> None:
    """Raises NotFound. Batches that are being published go before it, later ones do without the rule."""
    lock_collection(connection, collection_id)
    mine = (LabelingRules.collection_id == collection_id, LabelingRules.field == field)
    if not can_be_stored(field) or not connection.execute(delete(LabelingRules).where(*mine)).rowcount:
        raise NotFound(f"no rule labels field {field!r} of this collection; list its rules")
