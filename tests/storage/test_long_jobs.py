"""Attempts at long jobs: which are counted, what makes them uncounted, and when a job is given up."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from core import long_jobs
from core.errors import Conflict, NotFound, Overloaded, Unavailable
from core.job_types import Job, JobKind, JobState, JobStep
from core.long_jobs import MAX_ATTEMPTS, MAX_TRIES, LongJobRunner
from storage.long_jobs import SqlLongJobs, note_step
from tests.fakes import ListQueue
from tests.storage.world import World

MANY = 2 * MAX_ATTEMPTS


class Killed(BaseException):
    """Stands for the end of the process: nothing of ours may catch it."""


class Away(SqlLongJobs):
    """Takes no attempt back while `is_away`."""

    is_away = True

    def take_back(self, job_id: str) -> None:
        if self.is_away:
            raise Unavailable("the database is away")
        super().take_back(job_id)


@dataclass
class Bench:
    """One job, and what runs it."""

    world: World
    is_stopping: bool = False

    def __post_init__(self) -> None:
        self.runner = self.runner_on(self.world.long_jobs)
        self.job_id = self.runner.open(JobKind.VERIFY, "", {}).id

    def runner_on(self, work: SqlLongJobs) -> LongJobRunner:
        return LongJobRunner(work, self.world.jobs, ListQueue(), lambda: self.is_stopping)

    def run(self, step: Callable[[Job], int]) -> bool:
        return self.runner.run(self.job_id, {JobKind.VERIFY: step})

    def run_to(self, done: int, end: BaseException) -> None:
        """Works from the beginning up to so many of 100 items, then ends with the error."""

        def step(job: Job) -> int:
            going = self.runner.going(job.id, 100)
            for items in range(1, done + 1):
                going(items)
            raise end

        with pytest.raises(type(end)):
            self.run(step)

    @property
    def job(self) -> Job:
        return self.world.jobs.get(self.job_id)


@pytest.fixture
def bench(world: World, monkeypatch: pytest.MonkeyPatch) -> Bench:
    monkeypatch.setattr(long_jobs, "ADVANCE_EVERY_S", 0.0)
    return Bench(world)


def all_done(job: Job) -> int:
    return 100


def divided(job: Job) -> int:
    raise ZeroDivisionError(f"of job {job.kind}")


@pytest.mark.parametrize("error", [Unavailable("the store is away"), Overloaded("busy")])
def test_an_outage_is_no_attempt_however_long_it_lasts(bench: Bench, error: Exception) -> None:
    for _ in range(MANY):
        bench.run_to(0, error)
    assert (bench.job.state, bench.job.errors) == (JobState.RUNNING, ())
    assert bench.run(all_done)
    assert bench.job.state is JobState.SUCCEEDED


def test_a_stop_of_the_process_is_no_attempt(bench: Bench) -> None:
    def stopped(job: Job) -> int:
        going = bench.runner.going(job.id, 100)
        bench.is_stopping = True
        going(1)
        raise AssertionError("it went on")

    for _ in range(MANY):
        bench.is_stopping = False
        with pytest.raises(Unavailable, match="the job goes on after the next start"):
            bench.run(stopped)
    bench.is_stopping = False
    assert bench.run(all_done)


def test_a_process_that_stops_begins_nothing(bench: Bench) -> None:
    bench.is_stopping = True
    with pytest.raises(Unavailable):
        bench.run(all_done)
    assert (bench.job.state, dict(bench.job.details)) == (JobState.QUEUED, {})


def test_a_job_that_ends_its_process_again_and_again_is_given_up(bench: Bench) -> None:
    for _ in range(MAX_ATTEMPTS):
        bench.run_to(0, Killed())
    assert not bench.run(all_done)
    assert bench.job.state is JobState.FAILED
    assert bench.job.errors[0].reason == "given up after 10 attempts; the log says what ended them"


def test_an_unexpected_error_is_tried_again_and_ends_the_job_at_the_third_time(bench: Bench) -> None:
    for _ in range(MAX_TRIES - 1):
        bench.run_to(0, ZeroDivisionError("nothing to divide by"))
        assert (bench.job.state, bench.job.errors) == (JobState.RUNNING, ())
    assert not bench.run(divided)
    assert bench.job.state is JobState.FAILED
    assert bench.job.errors[0].reason == "given up after 3 attempts: ZeroDivisionError: of job verify"


def test_a_job_that_an_unexpected_error_ended_once_succeeds_at_its_next_attempt(bench: Bench) -> None:
    bench.run_to(5, ZeroDivisionError("once"))
    assert bench.run(all_done)
    assert (bench.job.state, bench.job.errors) == (JobState.SUCCEEDED, ())


def test_unexpected_errors_that_come_further_each_time_are_no_reason_to_give_up(bench: Bench) -> None:
    for done in range(1, MANY):
        bench.run_to(done, ZeroDivisionError("each time later"))
    assert bench.run(all_done)


def test_an_unexpected_error_of_a_job_cancelled_meanwhile_is_not_tried_again(bench: Bench) -> None:
    def cancelled(job: Job) -> int:
        bench.world.jobs.cancel(job.id)
        return divided(job)

    assert not bench.run(cancelled)
    assert (bench.job.state, bench.job.errors) == (JobState.CANCELLED, ())


def test_outages_between_the_ends_of_a_process_do_not_hide_them(bench: Bench) -> None:
    for _ in range(MAX_ATTEMPTS):
        bench.run_to(0, Killed())
        if bench.job.details["attempts"] < MAX_ATTEMPTS:
            bench.run_to(0, Unavailable("away"))
    assert not bench.run(all_done)
    assert bench.job.state is JobState.FAILED


def test_the_ends_of_a_process_that_came_further_each_time_are_no_reason_to_give_up(bench: Bench) -> None:
    for done in range(1, MANY):
        bench.run_to(done, Killed())
    assert bench.run(all_done)


def test_a_job_that_begins_anew_and_always_ends_its_process_at_the_same_place_is_given_up(
    bench: Bench,
) -> None:
    bench.run_to(5, Killed())
    for _ in range(MAX_ATTEMPTS):
        assert bench.job.state is JobState.RUNNING
        bench.run_to(5, Killed())
    assert not bench.run(all_done)
    assert bench.job.state is JobState.FAILED


def test_an_attempt_that_could_not_be_taken_back_is_taken_back_before_the_next(bench: Bench) -> None:
    work = Away(bench.world.database, bench.world.clock)
    bench.runner = bench.runner_on(work)
    for _ in range(MANY):
        work.is_away = True
        bench.run_to(0, Unavailable("away"))
        assert bench.job.details["attempts"] == 1
        work.is_away = False
    assert bench.run(all_done)


def test_an_attempt_that_came_further_leaves_nothing_to_take_back(bench: Bench) -> None:
    for _ in range(3):
        bench.run_to(0, Killed())
    bench.run_to(5, Unavailable("away"))
    assert "attempts" not in bench.job.details
    assert bench.world.long_jobs.begin(bench.job_id) == 1


def test_what_is_over_or_gone_has_no_attempts(bench: Bench) -> None:
    jobs = bench.world.long_jobs
    jobs.begin(bench.job_id)
    bench.world.jobs.cancel(bench.job_id)
    before = bench.job
    jobs.take_back(bench.job_id)
    jobs.take_back("gone")
    assert bench.job == before
    with pytest.raises(Conflict):
        jobs.begin(bench.job_id)
    with pytest.raises(NotFound):
        jobs.begin("gone")


def test_a_step_that_keeps_its_place_makes_attempts_uncounted(world: World) -> None:
    job = world.long_jobs.open(JobKind.LABEL, "news", {"classifier": "mood"})
    assert [world.long_jobs.begin(job.id) for _ in range(3)] == [1, 2, 3]
    with world.database.write() as connection:
        note_step(connection, JobStep(job.id, 1, 2, {"after": 7}), seq=5)
    noted = world.jobs.get(job.id)
    assert (noted.done, noted.total, noted.seq) == (1, 2, 5)
    assert dict(noted.details) == {"classifier": "mood", "after": 7}
    assert world.long_jobs.begin(job.id) == 1
