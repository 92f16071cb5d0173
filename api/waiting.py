"""Waiting until a job's documents are searchable in this process."""

from __future__ import annotations

import time

from core.services import Services
from core.types import Collection, Job

POLL_S = 0.02


def wait_for_job(services: Services, collection: Collection, job: Job, limit_s: float) -> Job:
    """The job when it is over and this process serves its documents, or as it is after `limit_s`."""
    deadline = time.monotonic() + limit_s
    while not job.state.is_final and time.monotonic() < deadline:
        time.sleep(POLL_S)
        job = services.jobs.get(job.id)
    if job.state.is_final:
        services.indexes.wait_for(collection, job.seq, max(0.0, deadline - time.monotonic()))
    return job
