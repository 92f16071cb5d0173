"""One process at a time for tasks without a lease in a table, on Postgres; one has an SQLite file alone."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, func, select
from sqlalchemy.exc import DBAPIError

from storage.database import Database

log = logging.getLogger(__name__)

_ENDS_IDLE_SESSIONS = (14,)  # the first version of Postgres that can be told to


class SqlTaskLock:
    """Locks of the database session: the server frees them when the process that held them is gone."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @contextmanager
    def hold(self, task_id: str) -> Iterator[bool]:
        """Whether the task is ours inside the block; False when another process or thread works on it."""
        with self._database.session() as connection:
            if connection.dialect.name != "postgresql":
                yield True
                return
            _let_idle(connection)
            key = func.hashtextextended(task_id, 0)
            is_ours = bool(connection.execute(select(func.pg_try_advisory_lock(key))).scalar_one())
            try:
                yield is_ours
            finally:
                if is_ours:
                    _unlock(connection, task_id)


def _let_idle(connection: Connection) -> None:
    """A session that only holds a lock is idle for as long as the task takes, and is not to end for it."""
    if (connection.dialect.server_version_info or ()) >= _ENDS_IDLE_SESSIONS:
        connection.exec_driver_sql("SET idle_session_timeout = 0")


def _unlock(connection: Connection, task_id: str) -> None:
    try:
        connection.execute(select(func.pg_advisory_unlock(func.hashtextextended(task_id, 0))))
    except DBAPIError as error:  # the session is gone, and the lock with it
        log.info("lock was gone already", extra={"task_id": task_id, "error": str(error.orig)})
        connection.invalidate()
