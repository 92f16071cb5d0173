"""Where a task comes from: the job and the request that its log lines name."""

from __future__ import annotations

from sqlalchemy import select

from core.job_types import REQUEST_ID, Task, TaskKind
from storage.database import Database
from storage.schema import Batches, Jobs


class SqlTaskTrace:
    """Reads the ids of a task."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def ids(self, task: Task) -> dict[str, str]:
        """batch_id, job_id and request_id, as far as they exist. Raises Unavailable, Overloaded."""
        query = select(Jobs.id, Jobs.details)
        if task.kind is TaskKind.INGEST_BATCH:
            query = query.join(Batches, Batches.job_id == Jobs.id).where(Batches.id == task.id)
        else:
            query = query.where(Jobs.id == task.id)
        with self._database.read() as connection:
            row = connection.execute(query).first()
        ids = dict(task.named_id)
        if row is not None:
            ids["job_id"] = row.id
            if request_id := row.details.get(REQUEST_ID):
                ids[REQUEST_ID] = request_id
        return ids
