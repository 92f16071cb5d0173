"""The states of followed jobs: however many streams follow them, the database is asked once a tick."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import AsyncGenerator, Iterable, Mapping
from dataclasses import replace

import anyio

from api.threads import Writers
from core.errors import NotFound, Overloaded, Unavailable
from core.job_types import Job
from core.ports.stores import JobStore

POLL_S = 0.25


class JobFeed:
    """Belongs to one event loop. `close` ends all streams and waits at once."""

    def __init__(self, jobs: JobStore, writers: Writers) -> None:
        self.writers = writers
        self._jobs = jobs
        self._followed: Counter[str] = Counter()
        self._known: Mapping[str, Job] = {}
        self._asked_at = -POLL_S
        self._asking = anyio.Lock()
        self._closed = anyio.Event()

    def close(self) -> None:
        self._closed.set()

    async def follow(self, job: Job) -> AsyncGenerator[Job | None]:
        """The job, then its state at each tick: None when nothing changed. Ends after the final state.

        Ends too when the job is gone (it may be purged), or the feed is closed.
        """
        yield job
        self._followed[job.id] += 1
        try:
            while not job.state.is_final and await self.pause(POLL_S):
                found = await self._latest(job)
                if found is None:
                    return
                yield found if _without_errors(found) != _without_errors(job) else None
                job = found
        finally:
            self._followed[job.id] -= 1
            self._followed += Counter()  # drops what nobody follows any more

    async def pause(self, seconds: float) -> bool:
        """False, at once, when the feed is closed."""
        with anyio.move_on_after(seconds):
            await self._closed.wait()
        return not self._closed.is_set()

    async def _latest(self, job: Job) -> Job | None:
        """At most about POLL_S old; while the database is away, what was known before."""
        async with self._asking:
            if job.id not in self._known or time.monotonic() - self._asked_at >= POLL_S / 2:
                try:
                    self._known = await self.writers.run(self._read, list(self._followed), self._known)
                except (Unavailable, Overloaded):
                    self._known = {job.id: job, **self._known}
                finally:
                    self._asked_at = time.monotonic()
            return self._known.get(job.id)

    def _read(self, job_ids: Iterable[str], known: Mapping[str, Job]) -> Mapping[str, Job]:
        """Those of the jobs that exist; errors are read again only of those that changed."""
        found: dict[str, Job] = {}
        for job_id, job in self._jobs.progress(list(job_ids)).items():
            before = known.get(job_id)
            if before is not None and _without_errors(before) == job:
                found[job_id] = before
                continue
            try:
                found[job_id] = self._jobs.get(job_id)
            except NotFound:  # purged between the two reads
                continue
        return found


def _without_errors(job: Job) -> Job:
    return replace(job, errors=())
