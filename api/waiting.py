"""Waiting until a job is over, or its documents are searchable here, without holding a thread."""

from __future__ import annotations

import time
from contextlib import aclosing

from api.job_feed import JobFeed
from core.job_types import Job, JobState
from core.services import Services
from core.types import Collection

FIRST_POLL_S = 0.01
LAST_POLL_S = 0.25


async def wait_for_job(
    services: Services, feed: JobFeed, collection: Collection, job: Job, limit_s: float
) -> tuple[Job, bool]:
    """The job after at most `limit_s`, and whether it is over and this process serves its documents.

    It does not wait when the server stops: the job goes on without it. A cancelled job is over, but its
    documents are not served. Raises NotFound when the collection is deleted meanwhile.
    """
    deadline = time.monotonic() + limit_s
    job = await until_over(services, feed, job, limit_s)
    pause_s = FIRST_POLL_S
    while job.state.is_final:
        is_cancelled = job.state is JobState.CANCELLED
        if is_cancelled or pause_s >= LAST_POLL_S:
            await feed.writers.run(services.collections.require, collection)
        if is_cancelled:
            break
        if await feed.writers.run(services.indexes.wait_for, collection, job.seq, 0.0):
            return job, True
        if time.monotonic() + pause_s > deadline or not await feed.pause(pause_s):
            break
        pause_s = min(2 * pause_s, LAST_POLL_S)
    return job, False


async def until_over(services: Services, feed: JobFeed, job: Job, limit_s: float) -> Job:
    """The job when it is over, or after `limit_s`; sooner when the server stops.

    Who waits for a short job asks for it alone, and soon. Later all ask together: many questions would take
    the processor from the work that is waited for.
    """
    deadline = time.monotonic() + limit_s
    pause_s = FIRST_POLL_S
    while not job.state.is_final and pause_s < LAST_POLL_S:
        job = await feed.writers.run(services.jobs.get, job.id)
        if job.state.is_final or time.monotonic() + pause_s > deadline or not await feed.pause(pause_s):
            return job
        pause_s *= 2
    async with aclosing(feed.follow(job)) as states:
        async for found in states:
            job = found or job
            if time.monotonic() + LAST_POLL_S > deadline:
                break
    return job
