"""Creating, cancelling and failing jobs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from sqlalchemy import Connection

from core.errors import Conflict, InvalidInput, NotFound, Unavailable
from core.job_types import JobKind, JobState
from core.types import RejectedItem
from storage.acceptance import MAX_BATCH_DOCUMENTS
from storage.database import Database
from storage.jobs import CANCELLED_REASON
from storage.long_jobs import SqlLongJobs
from storage.waiting import MAX_ERRORS
from tests.storage.world import World, encode, new


def test_a_new_job_is_queued_and_empty(world: World) -> None:
    job = world.jobs.create(world.id, JobKind.IMPORT, {"path": "x.csv"})
    assert job == world.jobs.get(job.id)
    assert (job.kind, job.collection, job.state) == ("import", "news", "queued")
    assert (job.total, job.done, job.failed, job.seq, job.errors) == (0, 0, 0, 0, ())
    assert (job.created_at, job.started_at, job.finished_at) == (world.clock.now, None, None)
    assert dict(job.details) == {"path": "x.csv"}


class AwayAfterwards(Database):
    """Commits what is written, and can no longer be asked."""

    @contextmanager
    def read(self) -> Iterator[Connection]:
        raise Unavailable("the database is away")
        yield


def test_who_opens_a_job_is_told_of_it_even_if_the_database_is_away_afterwards(
    world: World, database_url: str
) -> None:
    database = AwayAfterwards(database_url)
    opened = SqlLongJobs(database, world.clock).open(JobKind.BACKUP, "news", {"backup": "b"})
    database.close()
    assert opened == world.jobs.get(opened.id)
    assert (opened.kind, opened.collection, opened.state) == ("backup", "news", "queued")


def test_unknown_jobs_and_collections_are_not_found(world: World) -> None:
    for call in (world.jobs.get, world.jobs.cancel, lambda id_: world.jobs.fail(id_, "?")):
        with pytest.raises(NotFound, match="job 'nope' does not exist"):
            call("nope")
    with pytest.raises(NotFound, match="the collection does not exist any more"):
        world.jobs.create(99, JobKind.DOCUMENTS, {})


def test_jobs_are_listed_newest_first(world: World) -> None:
    ids = [world.send(rejected=[RejectedItem("x", "bad")]).job_id for _ in range(3)]
    listed = world.jobs.list(2)
    assert [job.id for job in listed] == ids[:0:-1]


def test_a_list_of_jobs_goes_on_behind_a_job_and_may_be_of_one_state(world: World) -> None:
    jobs = [world.jobs.create(world.id, JobKind.IMPORT, {}).id for _ in range(4)]
    for job_id in jobs[:3:2]:
        world.jobs.fail(job_id, f"damaged {job_id}")
    assert [job.id for job in world.jobs.list(2, before=jobs[3])] == [jobs[2], jobs[1]]
    failed = world.jobs.list(10, JobState.FAILED)
    assert [(job.id, job.errors[0].reason) for job in failed] == [
        (jobs[2], f"damaged {jobs[2]}"),
        (jobs[0], f"damaged {jobs[0]}"),
    ]
    assert [job.id for job in world.jobs.list(10, JobState.FAILED, jobs[2])] == [jobs[0]]


@pytest.mark.parametrize("before", ["abc", "", "a\0b", "\ud800"])
def test_a_list_does_not_go_on_behind_a_job_that_is_not_there(world: World, before: str) -> None:
    world.start_job()
    with pytest.raises(InvalidInput, match="there is no such job: finished jobs are removed"):
        world.jobs.list(10, before=before)


def test_a_list_does_not_go_on_behind_a_job_that_was_removed(world: World) -> None:
    accepted = world.add(new("a"))
    world.clock.advance(1)
    assert world.retention.purge(world.clock.now).jobs == 1
    with pytest.raises(InvalidInput, match=f"{accepted.job_id}.*there is no such job"):
        world.jobs.list(10, before=accepted.job_id)


def test_a_list_has_the_first_errors_of_each_job_and_the_job_all(world: World) -> None:
    sent = world.send(*[new(str(number)) for number in range(5)])
    world.jobs.cancel(sent.job_id)
    (listed,) = world.jobs.list(1)
    assert len(world.jobs.get(sent.job_id).errors) == 5
    assert listed.errors == world.jobs.get(sent.job_id).errors[:3]


def test_a_job_tells_at_most_a_thousand_errors(world: World) -> None:
    rejected = [RejectedItem(str(i), "bad") for i in range(MAX_ERRORS + 5)]
    job = world.jobs.get(world.send(rejected=rejected).job_id)
    assert (job.failed, len(job.errors), job.errors[0].id) == (1005, 1000, "0")


def test_cancelling_fails_what_was_never_searchable_and_keeps_old_versions(world: World) -> None:
    world.add(new("old", "one"))
    accepted = world.send(new("old", "two"), new("fresh"))
    running = world.claim(accepted.batch_ids[0])
    world.clock.advance(1)
    job = world.jobs.cancel(accepted.job_id)
    assert (job.state, job.total, job.done, job.failed) == ("cancelled", 2, 0, 2)
    assert job.finished_at == world.clock.now
    assert job.errors == tuple(RejectedItem(id_, CANCELLED_REASON) for id_ in ("old", "fresh"))
    fresh, old = (world.documents.get(world.id, id_) for id_ in ("fresh", "old"))
    assert (fresh.state, fresh.reason) == ("failed", CANCELLED_REASON)
    assert (old.state, old.text, old.reason) == (
        "searchable",
        "one",
        f"last update failed: {CANCELLED_REASON}",
    )
    assert world.batches.complete(running, encode(running.items), []) is None
    assert world.counts() == (1, 0, 1)
    assert world.found() == {"old": "one"}
    assert world.batches.unfinished() == []


def test_cancelling_keeps_what_is_already_searchable(world: World) -> None:
    accepted = world.send(*(new(f"{i:03}") for i in range(MAX_BATCH_DOCUMENTS + 2)))
    batch = world.claim(accepted.batch_ids[0])
    world.batches.complete(batch, encode(batch.items), [])
    assert world.progress(world.jobs.cancel(accepted.job_id).id) == (
        "cancelled",
        MAX_BATCH_DOCUMENTS + 2,
        MAX_BATCH_DOCUMENTS,
        2,
    )
    assert world.counts() == (MAX_BATCH_DOCUMENTS, 0, 2)


def test_a_cancelled_job_lists_no_more_errors_than_any(world: World) -> None:
    accepted = world.send(*(new(str(i)) for i in range(MAX_ERRORS + 5)), rejected=[RejectedItem("x", "bad")])
    job = world.jobs.cancel(accepted.job_id)
    assert (job.total, job.failed, len(job.errors)) == (MAX_ERRORS + 6, MAX_ERRORS + 6, MAX_ERRORS)
    assert job.errors[:2] == (RejectedItem("x", "bad"), RejectedItem("0", CANCELLED_REASON))


def test_cancelling_leaves_documents_that_a_newer_job_waits_for(world: World) -> None:
    first = world.send(new("a", "one"), new("b", "one"))
    second = world.send(new("a", "one"))
    world.jobs.cancel(first.job_id)
    assert world.counts() == (0, 1, 1)
    world.encode(first)
    assert world.found() == {"a": "one"}
    assert world.progress(first.job_id) == ("cancelled", 2, 0, 2)
    assert world.progress(second.job_id) == ("succeeded", 1, 1, 0)


def test_cancelling_leaves_documents_that_an_older_job_waits_for(world: World) -> None:
    first = world.send(new("a", "one"))
    second = world.send(new("a", "two"))
    world.jobs.cancel(second.job_id)
    assert world.progress(second.job_id) == ("cancelled", 1, 0, 1)
    assert (world.counts(), world.progress(first.job_id)) == ((0, 1, 0), ("queued", 1, 0, 0))
    world.encode(second)
    assert world.found() == {"a": "two"}
    assert world.progress(first.job_id) == ("succeeded", 1, 1, 0)
    assert world.progress(second.job_id) == ("cancelled", 1, 0, 1)


def test_when_the_last_job_that_waits_is_cancelled_the_document_is_dropped(world: World) -> None:
    first = world.send(new("a", "one"))
    second = world.send(new("a", "two"))
    for accepted in (second, first):
        world.jobs.cancel(accepted.job_id)
        assert world.progress(accepted.job_id) == ("cancelled", 1, 0, 1)
    assert (world.counts(), world.documents.get(world.id, "a").reason) == ((0, 0, 1), CANCELLED_REASON)
    assert world.batches.claim(second.batch_ids[0], 60) is None
    assert world.counts() == (0, 0, 1)


def test_a_job_is_read_once_no_more_documents_will_follow(world: World) -> None:
    jobs = [world.start_job(JobKind.IMPORT) for _ in range(4)]
    world.documents.accept(jobs[1], [new("a")], is_last=True)
    world.jobs.cancel(jobs[2])
    world.jobs.fail(jobs[3], "damaged")
    assert [world.jobs.get(job_id).is_read for job_id in jobs] == [False, True, True, True]


def test_a_final_job_is_left_as_it_is(world: World) -> None:
    accepted = world.add(new("a"))
    before = world.jobs.get(accepted.job_id)
    assert world.jobs.cancel(accepted.job_id) == before
    world.jobs.fail(accepted.job_id, "too late")
    assert world.jobs.get(accepted.job_id) == before


def test_a_cancelled_import_takes_no_more_documents(world: World) -> None:
    job_id = world.start_job(JobKind.IMPORT)
    world.jobs.cancel(job_id)
    with pytest.raises(Conflict, match="cancelled"):
        world.documents.accept(job_id, [new("a")], is_last=False)
    assert world.batches.unfinished() == []


def test_a_failed_import_finishes_what_it_had_accepted(world: World) -> None:
    job_id = world.start_job(JobKind.IMPORT)
    part = world.documents.accept(job_id, [new("a")], is_last=False)
    world.jobs.fail(job_id, "row 7 is damaged")
    assert world.progress(job_id) == ("running", 2, 0, 1)
    world.encode(part)
    assert world.progress(job_id) == ("partial", 2, 1, 1)
    assert world.jobs.get(job_id).errors == (RejectedItem(None, "row 7 is damaged"),)


def test_an_import_that_fails_before_its_first_document_has_failed(world: World) -> None:
    job_id = world.start_job(JobKind.IMPORT)
    world.jobs.fail(job_id, "not a csv file")
    assert world.progress(job_id) == ("failed", 1, 0, 1)
