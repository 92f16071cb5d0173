"""How fast a job goes, measured from what its batches settled."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.job_types import JobKind
from storage.acceptance import MAX_BATCH_DOCUMENTS
from storage.rates import IDLE_S, MEMORY_S, next_rate
from tests.storage.world import World, new

START = datetime(2030, 1, 1, tzinfo=UTC)


def run(intervals: list[tuple[float, int]], rate: float | None = None) -> float | None:
    now = START
    for seconds, items in intervals:
        before, now = now, now + timedelta(seconds=seconds)
        rate = next_rate(rate, before, now, items)
    return rate


@given(st.lists(st.floats(0.01, 30), min_size=1, max_size=50), st.floats(1, 1000))
def test_a_steady_rate_is_found_however_irregular_the_batches(seconds: list[float], rate: float) -> None:
    found = run([(s, rate * s) for s in seconds])  # type: ignore[misc]  # fractions of items will do
    assert found == pytest.approx(rate, rel=1e-3)


def test_a_new_speed_is_followed_within_a_minute() -> None:
    assert run([(1, 10)] * 60, rate=200.0) == pytest.approx(10, abs=10)


def test_batches_of_one_moment_count() -> None:
    assert next_rate(10.0, START, START, 40) == 10 + 40 / MEMORY_S
    assert next_rate(None, START, START, 40) is None


def test_a_time_without_workers_is_not_measured() -> None:
    assert next_rate(100.0, START, START + timedelta(seconds=IDLE_S + 1), 10) is None


def test_a_job_measures_what_was_encoded_and_not_what_needed_no_encoding(world: World) -> None:
    world.add(*(new(f"old {i}") for i in range(300)))
    job = world.start_job(JobKind.IMPORT)
    old = [new(f"old {i}") for i in range(300)]
    fresh = [new(f"{i}") for i in range(2 * MAX_BATCH_DOCUMENTS)]
    accepted = world.documents.accept(job, [*old, *fresh], is_last=True)
    assert (world.jobs.get(job).done, world.jobs.get(job).rate_per_s) == (300, None)
    for batch_id in accepted.batch_ids:
        batch = world.claim(batch_id)
        world.clock.advance(MAX_BATCH_DOCUMENTS / 2)
        world.batches.complete(batch, [], [])  # failing is settling too
    assert world.jobs.get(job).rate_per_s == pytest.approx(2)
    assert world.jobs.get(job).worked_at == world.clock.now


def test_progress_tells_of_many_jobs_and_leaves_out_what_is_gone(world: World) -> None:
    jobs = [world.send(new(f"{i}")).job_id for i in range(3)]
    found = world.jobs.progress([*jobs, "nope"])
    assert found == {job_id: world.jobs.get(job_id) for job_id in jobs}
