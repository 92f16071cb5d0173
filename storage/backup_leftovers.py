"""What a killed restore left: a collection that nobody sees, and the job of its pending documents."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from sqlalchemy import Connection, delete, select

from storage.clock import new_id
from storage.jobs import OPEN_STATES
from storage.removal import HIDDEN, hide_collection
from storage.schema import Collections, Jobs

RESTORING: Final = f"{HIDDEN}restoring-"


def hidden_name(job_id: str) -> str:
    """A name for a collection that an attempt at this job restores, until it is whole."""
    return f"{RESTORING}{job_id}-{new_id()}"


def remove_leftovers(connection: Connection, now: datetime, ours: str | None = None) -> list[str]:
    """Deletes what is hidden and whose name begins with `ours`, or whose job is over; the names.

    Rows are left to `clear_gone`.
    """
    hidden = select(Collections.id, Collections.name).where(Collections.name.startswith(RESTORING))
    removed = []
    for row in connection.execute(hidden).all():
        job_id = row.name.removeprefix(RESTORING).partition("-")[0]
        is_open = select(Jobs.id).where(Jobs.id == job_id, Jobs.state.in_(OPEN_STATES))
        is_ours = ours is not None and row.name.startswith(ours)
        if is_ours or connection.execute(is_open).first() is None:
            connection.execute(delete(Jobs).where(Jobs.collection_id == row.id))
            hide_collection(connection, row.id, now)
            removed.append(row.name)
    return removed
