"""What a killed restore left: a collection that nobody sees, and the job of its pending documents."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from sqlalchemy import Connection, delete, select

from storage.collections import HIDDEN, remove_collection
from storage.jobs import OPEN_STATES
from storage.schema import Collections, Jobs

RESTORING: Final = f"{HIDDEN}restoring-"


def remove_leftovers(connection: Connection, now: datetime, job_id: str | None = None) -> int:
    """Removes what is hidden and belongs to this job, or to none that still runs; how many collections."""
    hidden = select(Collections.id, Collections.name).where(Collections.name.startswith(RESTORING))
    removed = 0
    for row in connection.execute(hidden).all():
        owner = row.name.removeprefix(RESTORING)
        is_open = select(Jobs.id).where(Jobs.id == owner, Jobs.state.in_(OPEN_STATES))
        if owner == job_id or connection.execute(is_open).first() is None:
            connection.execute(delete(Jobs).where(Jobs.collection_id == row.id))
            remove_collection(connection, row.id, now)
            removed += 1
    return removed
