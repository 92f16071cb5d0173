"""Judged queries of collections: which documents are relevant to them."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    and_,
    delete,
    func,
    insert,
    select,
)

from core.judgement_types import JudgedPage, JudgedQuery, JudgementCounts
from core.types import DocumentState
from storage.collections import collection_gone, lock_collection
from storage.database import Database, chunked
from storage.faults import repeated
from storage.schema import Documents, JudgedQueries, Judgements

EXAMPLES = 20  # of judged documents that are not searchable

_DOCUMENT = and_(
    Documents.collection_id == JudgedQueries.collection_id, Documents.external_id == Judgements.external_id
)
# Of no document too; and hidden from SQLite, which would else start from all documents that are searchable.
_IS_SEARCHABLE = func.coalesce(Documents.state, "") == DocumentState.SEARCHABLE


class SqlJudgementStore:
    """core.ports.JudgementStore on SQL."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @repeated
    def replace(self, collection_id: int, judged: Sequence[JudgedQuery]) -> JudgementCounts:
        """Puts these in the place of all earlier ones. Raises NotFound when the collection is gone."""
        with self._database.write() as connection:
            _clear(connection, collection_id)
            _insert(connection, collection_id, judged)
            return _counts(connection, collection_id)

    @repeated
    def clear(self, collection_id: int) -> int:
        """How many judged queries there were. Raises NotFound when the collection is gone."""
        with self._database.write() as connection:
            return _clear(connection, collection_id)

    def counts(self, collection_id: int) -> JudgementCounts:
        """What there is, and how much of it can be measured now."""
        with self._database.read() as connection:
            return _counts(connection, collection_id)

    def page(self, collection_id: int, limit: int, after: int | None) -> JudgedPage:
        """At most `limit` queries with all that was judged for them, those behind `after`."""
        query = (
            select(JudgedQueries.id)
            .where(JudgedQueries.collection_id == collection_id, JudgedQueries.id > (after or 0))
            .order_by(JudgedQueries.id)
            .limit(limit)
        )
        with self._database.read() as connection:
            ids = list(connection.execute(query).scalars())
            queries = _read(connection, ids)
        return JudgedPage(tuple(queries), ids[-1] if len(ids) == limit else None)

    def sample(self, collection_id: int, limit: int, seed: int) -> list[JudgedQuery]:
        """Queries that have a relevant document which is searchable now, with what is searchable of theirs.

        All of them in the order sent, or if there are more, `limit` drawn by the seed.
        """
        with self._database.read() as connection:
            ids = list(connection.execute(measurable_queries(collection_id)).scalars())
            if len(ids) > limit:
                ids = sorted(random.Random(seed).sample(ids, limit))
            return _read(connection, ids, _IS_SEARCHABLE)


def _clear(connection: Connection, collection_id: int) -> int:
    if not lock_collection(connection, collection_id):
        raise collection_gone()
    return connection.execute(
        delete(JudgedQueries).where(JudgedQueries.collection_id == collection_id)
    ).rowcount


def _insert(connection: Connection, collection_id: int, judged: Sequence[JudgedQuery]) -> None:
    """Adds queries to a collection that has none and whose row is locked: ids then go up in their order."""
    connection.execute(
        insert(JudgedQueries), [{"collection_id": collection_id, "text": query.text} for query in judged]
    )
    ids = connection.execute(
        select(JudgedQueries.id)
        .where(JudgedQueries.collection_id == collection_id)
        .order_by(JudgedQueries.id)
    ).scalars()
    rows = [
        {"query_id": query_id, "external_id": external_id, "relevance": relevance}
        for query_id, query in zip(ids, judged, strict=True)
        for external_id, relevance in query.relevance.items()
    ]
    connection.execute(insert(Judgements), rows)


def _counts(connection: Connection, collection_id: int) -> JudgementCounts:
    own = JudgedQueries.collection_id == collection_id
    queries = connection.execute(select(func.count()).select_from(JudgedQueries).where(own)).scalar_one()
    judged = select(func.count()).select_from(Judgements).join(JudgedQueries).where(own)
    measurable = select(func.count()).select_from(measurable_queries(collection_id).subquery())
    lost = (
        _with_documents(select(Judgements.external_id).distinct())
        .where(own, ~_IS_SEARCHABLE)
        .order_by(Judgements.external_id)
    )
    examples = connection.execute(lost.limit(EXAMPLES)).scalars()
    not_found = select(func.count()).select_from(lost.order_by(None).subquery())
    return JudgementCounts(
        queries=queries,
        judgements=connection.execute(judged).scalar_one(),
        measurable=connection.execute(measurable).scalar_one(),
        not_found=connection.execute(not_found).scalar_one(),
        examples=tuple(examples),
    )


def measurable_queries(collection_id: int) -> Select[int]:
    """Ids, in order, of queries with a relevant document that is searchable."""
    return (
        select(JudgedQueries.id)
        .distinct()
        .select_from(JudgedQueries)
        .join(Judgements)
        .outerjoin(Documents, _DOCUMENT)
        .where(JudgedQueries.collection_id == collection_id, Judgements.relevance > 0, _IS_SEARCHABLE)
        .order_by(JudgedQueries.id)
    )


def _with_documents(query: Select[*tuple[Any, ...]]) -> Select[*tuple[Any, ...]]:
    return query.select_from(JudgedQueries).join(Judgements).outerjoin(Documents, _DOCUMENT)


def _read(connection: Connection, ids: Sequence[int], *where: ColumnElement[bool]) -> list[JudgedQuery]:
    """Queries of these ids, in their order, with those judgements that meet the conditions."""
    texts: dict[int, str] = {}
    relevance: dict[int, dict[str, int]] = {id_: {} for id_ in ids}
    for chunk in chunked(ids):
        is_asked = JudgedQueries.id.in_(chunk)
        for row in connection.execute(select(JudgedQueries.id, JudgedQueries.text).where(is_asked)):
            texts[row.id] = row.text
        grades = _with_documents(select(JudgedQueries.id, Judgements.external_id, Judgements.relevance))
        found = connection.execute(grades.where(is_asked, *where).order_by(Judgements.external_id))
        for id_, external_id, relevance_ in found:
            relevance[id_][external_id] = relevance_
    return [JudgedQuery(texts[id_], relevance[id_]) for id_ in ids]
