"""Deleting a collection: gone in one short transaction, its rows in many, so that nobody waits for long."""

from __future__ import annotations

import logging
from datetime import datetime
from typing import Final

from sqlalchemy import Connection, delete, select, update

from core.errors import Overloaded, Unavailable
from core.job_types import BatchState, JobState
from storage.clock import new_id
from storage.database import Database, chunked
from storage.faults import repeated
from storage.pages import fitting
from storage.schema import Batches, Collections, Documents, Jobs, LabelingRules
from storage.waiting import leave

log = logging.getLogger(__name__)

HIDDEN: Final = "."  # begins the name of a collection that nobody sees: one being restored, until it is whole
GONE: Final = f"{HIDDEN}gone-"  # begins the name of one that was deleted, until its rows are
DELETED_REASON: Final = "collection was deleted or replaced by a restore before this document was embedded"
MAX_DOCUMENTS: Final = 1000  # of one transaction


def hide_collection(connection: Connection, collection_id: int, now: datetime) -> None:
    """Deletes a locked collection but for its rows, which are left to `clear_gone`.

    Its name is free. Its jobs are cancelled: what they had left to do has failed.
    """
    is_open = Jobs.state.in_([JobState.QUEUED, JobState.RUNNING])
    mine = (Jobs.collection_id == collection_id, is_open)
    for job_id in connection.execute(select(Jobs.id).where(*mine).order_by(Jobs.id)).scalars().all():
        leave(connection, job_id, DELETED_REASON)
    ended = {"state": JobState.CANCELLED, "is_complete": True, "finished_at": now}
    connection.execute(update(Jobs).where(*mine).values(failed=Jobs.total - Jobs.done, **ended))
    batches = update(Batches).where(Batches.collection_id == collection_id, Batches.state != BatchState.DONE)
    connection.execute(batches.values(state=BatchState.DONE, lease_until=None))
    connection.execute(delete(LabelingRules).where(LabelingRules.collection_id == collection_id))
    this = update(Collections).where(Collections.id == collection_id)
    connection.execute(this.values(name=GONE + new_id()))


def clear_gone(database: Database) -> None:
    """Removes the rows of all collections that were deleted; what the database refuses is left to the purge.

    It may be stopped at any point, and run several times at once.
    """
    query = select(Collections.id).where(Collections.name.startswith(GONE)).order_by(Collections.id)
    try:
        with database.read() as connection:
            ids = connection.execute(query).scalars().all()
        for collection_id in ids:
            while _clear_some(database, collection_id):
                pass
    except (Unavailable, Overloaded) as error:
        log.warning("rows of deleted collections are left to the purge", extra={"reason": str(error)})


@repeated
def _clear_some(database: Database, collection_id: int) -> bool:
    """Removes documents with all that hangs on them, at last the collection; whether there may be more."""
    query = select(Documents.id, Documents.passage_count).where(Documents.collection_id == collection_id)
    with database.write() as connection:
        rows = connection.execute(query.limit(MAX_DOCUMENTS)).all()
        ids = [row.id for row in rows[: fitting(row.passage_count for row in rows)]]
        for chunk in chunked(ids):
            connection.execute(delete(Documents).where(Documents.id.in_(chunk)))
        if not ids:
            connection.execute(delete(Collections).where(Collections.id == collection_id))
    return bool(ids)
