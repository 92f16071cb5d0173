"""How a long job runs: begun, told of, tried again after an outage, given up at last."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from core.errors import CognateError, Conflict, NotFound, Overloaded, Unavailable
from core.ingest import describe_error, request_details
from core.job_types import ATTEMPTS, LONG_JOBS, Job, JobKind, Task
from core.ports.stores import JobStore, LongJobs
from core.ports.work import TaskQueue

log = logging.getLogger(__name__)

MAX_ATTEMPTS: Final = 10  # that ended with the process, in a row that came no further
MAX_TRIES: Final = 3  # of which the last ended with an unexpected error
ADVANCE_EVERY_S: Final = 0.5

# What a kind of job does; returns how many items were done.
Step = Callable[[Job], int]


class _Over(Exception):
    """The job was ended by someone else, for example cancelled."""


@dataclass(frozen=True, slots=True)
class LongJobRunner:
    """Accepts long jobs and works on them.

    `owed` are jobs whose attempt could not be taken back while the database was away.
    """

    work: LongJobs
    jobs: JobStore
    queue: TaskQueue
    is_stopping: Callable[[], bool]
    owed: set[str] = field(default_factory=set)

    def open(self, kind: JobKind, about: str, details: Mapping[str, Any], request_id: str = "") -> Job:
        """A queued job; `about` is the collection, or empty."""
        job = self.work.open(kind, about, {**details, **request_details(request_id)})
        self.accepted(job)
        return job

    def accepted(self, job: Job) -> None:
        """After commit: queues the job's task."""
        log.info("job accepted", extra={"job_id": job.id, "kind": job.kind})
        self.queue.enqueue([Task(LONG_JOBS[job.kind], job.id)])

    def run(self, job_id: str, steps: Mapping[JobKind, Step]) -> bool:
        """Works on a job, from its beginning if it was begun before; whether it succeeded now.

        Raises Unavailable or Overloaded, to be tried again after a pause, as often as it takes: these are no
        attempts. Any other error of ours ends the job with its reason. What is counted is attempts that ended
        with the process, or with an unexpected error, which is raised to be tried again too. After
        `MAX_ATTEMPTS` that came no further than those before the job fails, with such an error after
        `MAX_TRIES`.
        """
        try:
            job = self.jobs.get(job_id)
            return not job.state.is_final and self._attempt(job, steps[job.kind])
        except NotFound:
            log.warning("job is gone", extra={"job_id": job_id})
        except _Over:
            log.info("job was ended meanwhile", extra={"job_id": job_id})
        return False

    def going(self, job_id: str, total: int, before: int = 0) -> Callable[[int], None]:
        """To be told what is done: notes it now and then, and ends the work by raising.

        Conflict when the job is over, for example cancelled; Unavailable when the process stops.
        """
        self.work.advance(job_id, before, total)
        noted_at = time.monotonic()

        def going(done: int) -> None:
            nonlocal noted_at
            self.require_process()
            if time.monotonic() - noted_at >= ADVANCE_EVERY_S:
                noted_at = time.monotonic()
                self.work.advance(job_id, before + done, total)

        return going

    def require_process(self) -> None:
        """Raises Unavailable when this process stops."""
        if self.is_stopping():
            raise Unavailable("This process stops; the job goes on after the next start.")

    def _attempt(self, job: Job, step: Step) -> bool:
        self.require_process()
        attempts = self._begin(job.id)
        log.info("job begun", extra={"kind": job.kind, "attempt": attempts})
        try:
            if attempts > MAX_ATTEMPTS:
                raise Conflict(f"given up after {MAX_ATTEMPTS} attempts; the log says what ended them")
            done = step(job)
            self.work.succeed(job.id, done)
            log.info("job done", extra={"kind": job.kind, "done": done})
            return True
        except (Unavailable, Overloaded):
            self._take_back(job.id)
            raise
        except CognateError as error:
            if self.jobs.get(job.id).state.is_final:  # cancelled, and noticed at the next step
                raise _Over from None
            log.warning("job failed", extra={"kind": job.kind, "reason": str(error)})
            self.work.fail(job.id, str(error))
        except Exception as error:  # the outer edge of a job: its reason is kept with it
            attempts = self._counted(job.id)
            if attempts < MAX_TRIES:
                raise
            log.exception("job failed", extra={"kind": job.kind})
            self.work.fail(job.id, f"given up after {attempts} attempts: {describe_error(error)}")
        return False

    def _counted(self, job_id: str) -> int:
        """How many attempts are counted on a job that is not over; 0 when the last came further."""
        job = self.jobs.get(job_id)
        if job.state.is_final:
            raise _Over
        return int(job.details.get(ATTEMPTS, 0))

    def _begin(self, job_id: str) -> int:
        """Counts an attempt on the job, where it outlives the process; how many that makes."""
        try:
            if job_id in self.owed:
                self.work.take_back(job_id)
                self.owed.discard(job_id)
            return self.work.begin(job_id)
        except Conflict:
            raise _Over from None

    def _take_back(self, job_id: str) -> None:
        """Makes the attempt uncounted; if the database is away, at the next attempt."""
        try:
            self.work.take_back(job_id)
        except Exception:  # what led here is to be told
            log.warning("attempt not taken back yet", extra={"job_id": job_id}, exc_info=True)
            self.owed.add(job_id)
