"""What waits and what runs, over all processes: read for metrics."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import and_, case, func, or_, select

from core.job_types import BatchState, JobState
from storage.clock import Clock
from storage.database import Database
from storage.schema import Batches, Jobs


@dataclass(frozen=True, slots=True)
class ProgressState:
    """`expired` of the `running` batches have a lease that ran out: their worker died.

    `oldest_waiting_s`: since when, in seconds, the oldest batch exists that nobody holds; 0 when none waits.
    """

    queued: int
    running: int
    expired: int
    oldest_waiting_s: float
    jobs: Mapping[JobState, int]


class SqlProgressState:
    """Reads counts of batches and jobs."""

    def __init__(self, database: Database, clock: Clock | None = None) -> None:
        self._database = database
        self._clock = clock or database.now

    def read(self) -> ProgressState:
        """One snapshot of both tables. Raises Unavailable, Overloaded."""
        now = self._clock()
        queued, running = Batches.state == BatchState.QUEUED, Batches.state == BatchState.RUNNING
        expired = and_(running, Batches.lease_until < now)
        batches = select(
            func.count(case((queued, 1))).label("queued"),
            func.count(case((running, 1))).label("running"),
            func.count(case((expired, 1))).label("expired"),
            func.min(case((or_(queued, expired), Batches.created_at))).label("oldest"),
        ).where(Batches.state.in_([BatchState.QUEUED, BatchState.RUNNING]))
        jobs = select(Jobs.state, func.count().label("jobs")).group_by(Jobs.state)
        with self._database.read() as connection:
            row = connection.execute(batches).one()
            counts: dict[str, int] = {row.state: row.jobs for row in connection.execute(jobs)}
        waited_s = 0.0 if row.oldest is None else max(0.0, (now - row.oldest).total_seconds())
        by_state = {state: counts.get(state, 0) for state in JobState}
        return ProgressState(row.queued, row.running, row.expired, waited_s, by_state)
