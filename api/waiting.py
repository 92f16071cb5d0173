"""Waiting until a job's documents are searchable in this process, without holding a thread."""

from __future__ import annotations

import time

import anyio

from api.threads import Writers
from core.services import Services
from core.types import Collection, Job

FIRST_POLL_S = 0.01
LAST_POLL_S = 0.25


async def wait_for_job(
    services: Services, writers: Writers, collection: Collection, job: Job, limit_s: float
) -> tuple[Job, bool]:
    """The job after at most `limit_s`, and whether it is over and this process serves its documents."""
    deadline, pause_s = time.monotonic() + limit_s, FIRST_POLL_S
    while True:
        if not job.state.is_final:
            job = await writers.run(services.jobs.get, job.id)
        if job.state.is_final and await writers.run(services.indexes.wait_for, collection, job.seq, 0.0):
            return job, True
        if time.monotonic() + pause_s > deadline:
            return job, False
        await anyio.sleep(pause_s)
        pause_s = min(2 * pause_s, LAST_POLL_S)
