"""Which classifiers label a collection's documents on arrival, inside the caller's transaction."""

from __future__ import annotations

from sqlalchemy import Connection, delete, insert, select

from core.classifier_types import LabelingRule
from core.errors import NotFound
from storage.collections import lock_collection, no_collection
from storage.database import can_be_stored
from storage.schema import Classifiers, LabelingRules


def read_rules(connection: Connection, collection_id: int) -> list[LabelingRule]:
    """By field."""
    query = (
        select(LabelingRules.collection_id, Classifiers.name, LabelingRules.field)
        .join(Classifiers, Classifiers.id == LabelingRules.classifier_id)
        .where(LabelingRules.collection_id == collection_id)
        .order_by(LabelingRules.field)
    )
    return [LabelingRule(*row) for row in connection.execute(query)]


def put_rule(connection: Connection, rule: LabelingRule, classifier_id: int) -> None:
    """Replaces a rule of the same collection and field. Raises NotFound when the collection is gone."""
    if not lock_collection(connection, rule.collection_id):
        raise no_collection(rule.collection_id)
    mine = (LabelingRules.collection_id == rule.collection_id, LabelingRules.field == rule.field)
    connection.execute(delete(LabelingRules).where(*mine))
    row = {"collection_id": rule.collection_id, "field": rule.field, "classifier_id": classifier_id}
    connection.execute(insert(LabelingRules).values(**row))


def delete_rule(connection: Connection, collection_id: int, field: str) -> None:
    """Raises NotFound."""
    mine = (LabelingRules.collection_id == collection_id, LabelingRules.field == field)
    if not can_be_stored(field) or not connection.execute(delete(LabelingRules).where(*mine)).rowcount:
        raise NotFound(f"no rule labels field {field!r} of this collection; list its rules")
