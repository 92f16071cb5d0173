"""Counts of what waits and runs, and the way from a task back to its request."""

from __future__ import annotations

from core.job_types import JobKind, JobState, Task, TaskKind
from storage.database import Database
from storage.progress_state import SqlProgressState
from storage.task_trace import SqlTaskTrace
from tests.storage.world import World, new


def test_batches_and_jobs_are_counted_by_what_becomes_of_them(world: World, database: Database) -> None:
    progress = SqlProgressState(database, world.clock)
    empty = progress.read()
    assert (empty.queued, empty.running, empty.expired, empty.oldest_waiting_s) == (0, 0, 0, 0.0)
    assert empty.jobs == dict.fromkeys(JobState, 0)
    world.add(new("a"))
    world.claim(world.send(new("b")).batch_ids[0], lease_s=10)
    world.clock.advance(4)
    world.send(new("c"))
    world.clock.advance(3)
    found = progress.read()
    assert (found.queued, found.running, found.expired, found.oldest_waiting_s) == (1, 1, 0, 3.0)
    assert found.jobs == dict.fromkeys(JobState, 0) | {"succeeded": 1, "running": 1, "queued": 1}
    world.clock.advance(4)
    later = progress.read()
    assert (later.queued, later.running, later.expired) == (1, 1, 1)
    assert later.oldest_waiting_s == 11.0, "nobody holds the batch whose lease ran out"


def test_a_task_leads_to_its_job_and_the_request_behind_it(world: World, database: Database) -> None:
    trace, details = SqlTaskTrace(database), {"request_id": "mine"}
    sent = world.documents.submit(world.id, [new("a")], [], details)
    batch = Task(TaskKind.INGEST_BATCH, sent.batch_ids[0])
    assert trace.ids(batch) == {"batch_id": batch.id, "job_id": sent.job_id, "request_id": "mine"}
    job_id = world.jobs.create(world.id, JobKind.IMPORT, {"file": "x"} | details).id
    assert trace.ids(Task(TaskKind.IMPORT_FILE, job_id)) == {"job_id": job_id, "request_id": "mine"}


def test_a_task_without_a_request_or_of_a_job_that_is_gone_has_what_is_known(
    world: World, database: Database
) -> None:
    trace = SqlTaskTrace(database)
    sent = world.send(new("a"))
    batch_id = sent.batch_ids[0]
    assert trace.ids(Task(TaskKind.INGEST_BATCH, batch_id)) == {"batch_id": batch_id, "job_id": sent.job_id}
    assert trace.ids(Task(TaskKind.INGEST_BATCH, "gone")) == {"batch_id": "gone"}
    assert trace.ids(Task(TaskKind.IMPORT_FILE, "gone")) == {"job_id": "gone"}
