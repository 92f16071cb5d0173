"""Collections, and the head of each one's change log.

Every transaction that writes to a collection first locks its row. So the writers of one collection follow
each other, the order of commits is the order of `seq`, and locks are always taken in the same order.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from sqlalchemy import Connection, Row, bindparam, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from core.errors import CollectionGone, Conflict, NotFound
from core.types import (
    Collection,
    CollectionSettings,
    DocumentCounts,
    DocumentState,
    EncoderInfo,
    SearchDefaults,
)
from storage.clock import Clock, new_id
from storage.database import Database, can_be_stored
from storage.faults import repeated
from storage.removal import GONE, HIDDEN, clear_gone, hide_collection
from storage.schema import IS_UPDATE, Batches, Collections, Documents, Revisions

_TABLE = Collections.__table__
_BY_NAME = select(_TABLE).where(Collections.name == bindparam("name"))
# By batches: what waits is looked at, and not all documents.
_WAITING_UPDATES = (
    select(func.count())
    .select_from(Batches)
    .join(Revisions, Revisions.batch_id == Batches.id)
    .where(Batches.collection_id == bindparam("collection_id"), IS_UPDATE)
)


class SqlCollectionStore:
    """core.ports.CollectionStore on SQL."""

    def __init__(self, database: Database, clock: Clock | None = None) -> None:
        self._database = database
        self._clock = clock or database.now

    def create(
        self, name: str, description: str, encoder: EncoderInfo, settings: CollectionSettings
    ) -> tuple[Collection, bool]:
        """The collection and whether it is new.

        An existing one takes over a new description that is not empty. Raises Conflict when it exists with
        another encoder or other settings.
        """
        try:
            return self._create(name, description, encoder, settings)
        except IntegrityError:  # another process has just created it
            return self._create(name, description, encoder, settings)

    @repeated
    def _create(
        self, name: str, description: str, encoder: EncoderInfo, settings: CollectionSettings
    ) -> tuple[Collection, bool]:
        with self._database.write() as connection:
            found = find_collection(connection, name)
            if found is not None:
                _refuse_other(found, encoder, settings)
                return _redescribe(connection, found, description), False
            connection.execute(insert(Collections).values(**self._new(name, description, encoder, settings)))
            created = find_collection(connection, name)
            assert created is not None
            return created, True

    def _new(
        self, name: str, description: str, encoder: EncoderInfo, settings: CollectionSettings
    ) -> dict[str, Any]:
        return {
            "uid": new_id(),
            "name": name,
            "description": description,
            "encoder_id": encoder.id,
            "encoder_fingerprint": encoder.fingerprint,
            "encoder_dim": encoder.dim,
            "encoder_max_tokens": encoder.max_tokens,
            "settings": {**asdict(settings), "attributes": dict(settings.attributes)},
            "seq": 0,
            "purged_seq": 0,
            "created_at": self._clock(),
        }

    def get(self, name: str) -> Collection:
        """Raises NotFound."""
        with self._database.read() as connection:
            found = find_collection(connection, name)
        if found is None:
            raise no_collection(name)
        return found

    def list(self) -> list[Collection]:
        """All collections by name."""
        with self._database.read() as connection:
            rows = connection.execute(select(_TABLE).order_by(Collections.name)).all()
        return [to_collection(row) for row in rows if not row.name.startswith(HIDDEN)]

    @repeated
    def change(self, name: str, description: str | None, search: SearchDefaults | None) -> Collection:
        """The collection after the change; None leaves a value as it is. Raises NotFound."""
        values: dict[str, Any] = {}
        if description is not None:
            values["description"] = description
        if search is not None:
            values["search"] = _told(search)
        with self._database.write() as connection:
            found = find_collection(connection, name)
            if found is None or not lock_collection(connection, found.id):
                raise no_collection(name)
            if values:
                connection.execute(update(Collections).where(Collections.id == found.id).values(**values))
            return collection_by_id(connection, found.id)

    def delete(self, name: str) -> Collection:
        """Removes the collection with all rows and cancels its jobs. Raises NotFound.

        It is gone, and its name free, before the first row is removed.
        """
        found = self._hide(name)
        clear_gone(self._database)
        return found

    @repeated
    def _hide(self, name: str) -> Collection:
        with self._database.write() as connection:
            found = find_collection(connection, name)
            if found is None or not lock_collection(connection, found.id):
                raise no_collection(name)
            hide_collection(connection, found.id, self._clock())
            return found

    def counts(self, collection_id: int) -> DocumentCounts:
        """Documents by state and passages; zeros for a collection that is gone."""
        with self._database.read() as connection:
            return count_documents(connection, collection_id)


def count_documents(connection: Connection, collection_id: int) -> DocumentCounts:
    """Documents by state and passages; zeros for a collection that is gone."""
    query = (
        select(Documents.state, func.count(), func.sum(Documents.passage_count))
        .where(Documents.collection_id == collection_id)
        .group_by(Documents.state)
    )
    rows = {state: (count, passages) for state, count, passages in connection.execute(query)}
    searchable, passages = rows.get(DocumentState.SEARCHABLE, (0, 0))
    pending, _ = rows.get(DocumentState.PENDING, (0, 0))
    failed, _ = rows.get(DocumentState.FAILED, (0, 0))
    updates = connection.execute(_WAITING_UPDATES, {"collection_id": collection_id}).scalar_one()
    return DocumentCounts(searchable, pending, failed, int(passages), updates)


def no_collection(name: str) -> NotFound:
    """The error for a collection that is not there."""
    return NotFound(f"collection {name!r} does not exist; create it or check the name")


def collection_gone() -> CollectionGone:
    """The error for a collection of which only the id is known; who knows its name tells it."""
    return CollectionGone("the collection does not exist any more; it was deleted or replaced meanwhile")


def lock_collection(connection: Connection, collection_id: int) -> bool:
    """Makes this transaction the collection's only writer; False when the collection is gone."""
    query = select(Collections.name).where(Collections.id == collection_id).with_for_update()
    return _is_there(connection.execute(query).scalar_one_or_none())


def has_collection(connection: Connection, collection_id: int) -> bool:
    """Whether the collection is there, hidden perhaps; rows of one that was deleted may still be."""
    query = select(Collections.name).where(Collections.id == collection_id)
    return _is_there(connection.execute(query).scalar_one_or_none())


def _is_there(name: str | None) -> bool:
    return name is not None and not name.startswith(GONE)


def next_seq(connection: Connection, collection_id: int) -> int:
    """Moves the head of the change log by one; the caller stamps its rows with the result."""
    return connection.execute(
        update(Collections)
        .where(Collections.id == collection_id)
        .values(seq=Collections.seq + 1)
        .returning(Collections.seq)
    ).scalar_one()


def head_seq(connection: Connection, collection_id: int) -> int | None:
    """The head of the change log; None when the collection is gone."""
    return connection.execute(
        select(Collections.seq).where(Collections.id == collection_id)
    ).scalar_one_or_none()


def to_collection(row: Row[*tuple[Any, ...]]) -> Collection:
    """A row with all columns of the table as the type that leaves storage."""
    encoder = EncoderInfo(row.encoder_id, row.encoder_fingerprint, row.encoder_dim, row.encoder_max_tokens)
    return Collection(
        id=row.id,
        uid=row.uid,
        name=row.name,
        description=row.description,
        encoder=encoder,
        settings=CollectionSettings(**row.settings),
        seq=row.seq,
        purged_seq=row.purged_seq,
        created_at=row.created_at,
        search=SearchDefaults(**(row.search or {})),
    )


def collection_by_id(connection: Connection, collection_id: int) -> Collection:
    """The collection, which must exist."""
    return to_collection(connection.execute(select(_TABLE).where(Collections.id == collection_id)).one())


def _told(search: SearchDefaults) -> dict[str, Any] | None:
    """The values that are set, as they are stored; None when there are none."""
    return {name: value for name, value in asdict(search).items() if value is not None} or None


def find_collection(connection: Connection, name: str) -> Collection | None:
    """The collection of this name, if there is one that may be seen."""
    if not can_be_stored(name) or name.startswith(HIDDEN):
        return None
    row = connection.execute(_BY_NAME, {"name": name}).first()
    return None if row is None else to_collection(row)


def _redescribe(connection: Connection, found: Collection, description: str) -> Collection:
    if description in ("", found.description):
        return found
    change = update(Collections).where(Collections.id == found.id).values(description=description)
    connection.execute(change)
    return collection_by_id(connection, found.id)


def _refuse_other(found: Collection, encoder: EncoderInfo, settings: CollectionSettings) -> None:
    wanted = {"encoder": encoder, **asdict(settings)}
    stored = {"encoder": found.encoder, **asdict(found.settings)}
    differing = [field for field in wanted if wanted[field] != stored[field]]
    if differing:
        told = "; ".join(f"{field} is {stored[field]!r}, not {wanted[field]!r}" for field in differing)
        raise Conflict(
            f"collection {found.name!r} exists with other settings: {told}. "
            "Send the same settings, or delete the collection or choose another name"
        )
