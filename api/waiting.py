"""Waiting until a job's documents are searchable in this process, without holding a thread."""

from __future__ import annotations

import time

from api.job_feed import JobFeed
from core.services import Services
from core.types import Collection, Job

FIRST_POLL_S = 0.01
LAST_POLL_S = 0.25


async def wait_for_job(
    services: Services, feed: JobFeed, collection: Collection, job: Job, limit_s: float
) -> tuple[Job, bool]:
    """The job after at most `limit_s`, and whether it is over and this process serves its documents.

    It does not wait when the server stops: the job goes on without it.
    """
    writers = feed.writers
    deadline, pause_s = time.monotonic() + limit_s, FIRST_POLL_S
    while True:
        if not job.state.is_final:
            job = await writers.run(services.jobs.get, job.id)
        if job.state.is_final and await writers.run(services.indexes.wait_for, collection, job.seq, 0.0):
            return job, True
        if time.monotonic() + pause_s > deadline or not await feed.pause(pause_s):
            return job, False
        pause_s = min(2 * pause_s, LAST_POLL_S)
