"""Rules that label on arrival, brought back from a backup with the classifier or the collection they join."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from sqlalchemy import Connection, insert, select

from storage.collections import find_collection, lock_collection
from storage.schema import Classifiers, LabelingRules

RESTORED_CLASSIFIERS: Final = "restored_classifiers"  # in the details of a job: names that are there again


def load_rules(connection: Connection, rules: Sequence[Mapping[str, str]], classifier_id: int) -> None:
    """A classifier's rules of the collections that are there; a field that has a rule keeps it."""
    for rule in rules:
        collection = find_collection(connection, rule["collection"])
        if collection is not None and lock_collection(connection, collection.id):
            _add_rule(connection, collection.id, rule["field"], classifier_id)


def load_rules_of(
    connection: Connection, manifest: Mapping[str, Any], name: str, details: Mapping[str, Any]
) -> None:
    """The rules of one collection, which is there by now, by classifiers that the same job brought back."""
    there = details.get(RESTORED_CLASSIFIERS, ())
    for saved in manifest.get("classifiers", ()):
        rules = [rule for rule in saved["rules"] if rule["collection"] == name]
        if rules and saved["name"] in there:
            query = select(Classifiers.id).where(Classifiers.name == saved["name"]).with_for_update()
            classifier_id = connection.execute(query).scalar()
            if classifier_id is not None:  # else it was deleted meanwhile
                load_rules(connection, rules, classifier_id)


def _add_rule(connection: Connection, collection_id: int, field: str, classifier_id: int) -> None:
    mine = (LabelingRules.collection_id == collection_id, LabelingRules.field == field)
    if connection.execute(select(LabelingRules.field).where(*mine)).first() is None:
        row = {"collection_id": collection_id, "field": field, "classifier_id": classifier_id}
        connection.execute(insert(LabelingRules).values(**row))
