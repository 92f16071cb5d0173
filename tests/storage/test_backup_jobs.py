"""The jobs of backups: tried again after an outage, given up at last, continued where they were."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace

import pytest

from core.backup import choose, default_name, listed
from core.backup_types import Backup, Going, Move, RestoreRequest
from core.errors import Conflict, EncoderMismatch, InvalidInput, NotFound, Overloaded, Unavailable
from core.job_types import Job, JobState, Task, TaskKind
from core.long_jobs import MAX_ATTEMPTS
from core.types import EncoderInfo
from storage.backups import SqlBackups
from storage.jobs import SqlJobStore
from storage.long_jobs import SqlLongJobs
from tests.storage.backup_desk import Desk, Dying
from tests.storage.world import DIM, World, new


class Failing(SqlBackups):
    """Its store is away."""

    def create(self, job_id: str, name: str, collections: Sequence[str] | None, going: Going) -> Backup:
        raise Unavailable("the store is away")


class Cancelled(SqlBackups):
    """Its job is cancelled while it works."""

    def create(self, job_id: str, name: str, collections: Sequence[str] | None, going: Going) -> Backup:
        SqlJobStore(self._database).cancel(job_id)
        SqlLongJobs(self._database).advance(job_id, 1, 2)
        raise AssertionError("it went on")


class CancelledWhenDone(SqlBackups):
    """Its job is cancelled just after the file is whole."""

    def create(self, job_id: str, name: str, collections: Sequence[str] | None, going: Going) -> Backup:
        made = super().create(job_id, name, collections, going)
        SqlJobStore(self._database).cancel(job_id)
        return made


class DyingWhenDone(SqlBackups):
    """The process ends just after the file is whole."""

    def create(self, job_id: str, name: str, collections: Sequence[str] | None, going: Going) -> Backup:
        super().create(job_id, name, collections, going)
        raise KeyboardInterrupt


class Busy(SqlLongJobs):
    """Takes no ends of jobs."""

    def succeed(self, job_id: str, done: int) -> None:
        raise Overloaded("busy")


class CancelledOnceRead(SqlJobStore):
    """Its jobs are cancelled just after they were read."""

    def get(self, job_id: str) -> Job:
        job = super().get(job_id)
        self.cancel(job_id)
        return job


@pytest.fixture
def kind() -> str:
    return "sqlite"


def test_an_accepted_backup_is_queued_and_found_again_after_a_restart(desk: Desk) -> None:
    job = desk.service().create("b", None, "r1")
    task = Task(TaskKind.BACKUP, job.id)
    assert desk.queue.tasks == [task]
    assert desk.world.batches.unfinished() == [task]
    desk.service().run(job.id)
    assert desk.world.batches.unfinished() == []
    desk.service().run(job.id)  # a task may be delivered twice
    done = desk.world.jobs.get(job.id)
    assert (done.state, done.total, done.done, done.details["request_id"]) == (JobState.SUCCEEDED, 2, 2, "r1")
    desk.service().run("gone")


def test_an_outage_of_the_store_is_waited_out(desk: Desk) -> None:
    job = desk.service().create("b", None)
    for _ in range(2 * MAX_ATTEMPTS):
        with pytest.raises(Unavailable):
            desk.service(Failing).run(job.id)
    assert desk.state(job.id) is JobState.RUNNING
    desk.service().run(job.id)
    assert desk.state(job.id) is JobState.SUCCEEDED


def test_a_job_that_keeps_ending_its_process_is_given_up(desk: Desk) -> None:
    job = desk.service().create("b", None)
    for _ in range(MAX_ATTEMPTS):
        SqlLongJobs(desk.world.database).begin(job.id)
    desk.service().run(job.id)
    assert desk.state(job.id) is JobState.FAILED
    assert "given up" in desk.world.jobs.get(job.id).errors[0].reason


def test_a_backup_made_before_the_process_ended_is_known_again(desk: Desk) -> None:
    job = desk.service().create("b", None)
    with pytest.raises(KeyboardInterrupt):
        desk.service(DyingWhenDone).run(job.id)
    made = desk.service().get("b")
    desk.world.collections.delete("news")  # as one may who sees that its backup is there
    desk.service().run(job.id)
    done = desk.world.jobs.get(job.id)
    assert (done.state, done.total, done.done, done.errors) == (JobState.SUCCEEDED, 2, 2, ())
    assert desk.service().get("b") == made


def test_a_backup_is_known_again_when_the_end_of_its_job_could_not_be_noted(desk: Desk) -> None:
    service = desk.service()
    job = service.create("b", None)
    with pytest.raises(Overloaded):
        replace(service, long=replace(service.long, work=Busy(desk.world.database))).run(job.id)
    (file,) = desk.folder.iterdir()
    written_at = file.stat().st_mtime_ns
    service.run(job.id)
    assert desk.state(job.id) is JobState.SUCCEEDED
    assert file.stat().st_mtime_ns == written_at, "it is not made a second time"


def test_a_backup_cancelled_when_its_file_was_whole_is_removed(desk: Desk) -> None:
    job = desk.service().create("b", None)
    desk.service(CancelledWhenDone).run(job.id)
    assert desk.state(job.id) is JobState.CANCELLED
    assert list(desk.folder.iterdir()) == []


def test_of_two_jobs_for_one_name_the_second_fails_and_leaves_the_file_of_the_first(desk: Desk) -> None:
    service = desk.service()
    jobs = [service.create("b", None) for _ in range(3)]
    for job in jobs[:2]:
        service.run(job.id)
    made = service.get("b")
    desk.world.jobs.cancel(jobs[2].id)
    service.run(jobs[2].id)
    assert [desk.state(job.id) for job in jobs] == [
        JobState.SUCCEEDED,
        JobState.FAILED,
        JobState.CANCELLED,
    ]
    assert "'b' exists" in desk.world.jobs.get(jobs[1].id).errors[0].reason
    assert service.get("b") == made


def test_a_stopping_process_leaves_the_job_to_the_next(desk: Desk) -> None:
    job = desk.service().create("b", None)
    desk.is_stopping = True
    with pytest.raises(Unavailable, match="stops"):
        desk.service().run(job.id)
    assert list(desk.folder.iterdir()) == []
    desk.is_stopping = False
    desk.service().run(job.id)
    assert desk.state(job.id) is JobState.SUCCEEDED


def test_a_restore_goes_on_behind_the_collections_that_are_there(desk: Desk) -> None:
    other = World(desk.world.database, "other")
    other.add(new("o"))
    desk.service().run(desk.service().create("b", None).id)
    first = desk.world.collections.get("news")
    job = desk.service().restore("b", RestoreRequest(replace=True))
    for _ in range(MAX_ATTEMPTS - 1):
        desk.world.long_jobs.begin(job.id)
    with pytest.raises(KeyboardInterrupt):
        desk.service(Dying).run(job.id)
    assert "attempts" not in desk.world.jobs.get(job.id).details, "a collection is there that was not"
    news = desk.world.collections.get("news")
    assert news.uid != first.uid
    assert desk.world.collections.get("other").uid == other.collection.uid
    desk.service().run(job.id)
    assert desk.world.collections.get("news").uid == news.uid, "it is not restored a second time"
    assert desk.world.collections.get("other").uid != other.collection.uid
    done = desk.world.jobs.get(job.id)
    assert (done.state, done.total, done.done) == (JobState.SUCCEEDED, 3, 3)
    assert [collection_id for collection_id, _ in desk.notifier.published] == [
        news.id,
        desk.world.collections.get("other").id,
    ]


def test_a_restore_that_brought_all_back_succeeds_though_its_backup_is_gone(desk: Desk) -> None:
    """As when the process ended while the index was built."""
    desk.service().run(desk.service().create("b", None).id)
    job = desk.service().restore("b", RestoreRequest(new_name="copy"))
    with pytest.raises(KeyboardInterrupt):
        desk.service(Dying).run(job.id)
    desk.service().delete("b")
    copy = desk.world.collections.get("copy")
    desk.service().run(job.id)
    done = desk.world.jobs.get(job.id)
    assert (done.state, done.total, done.done, done.errors) == (JobState.SUCCEEDED, 2, 2, ())
    assert desk.world.collections.get("copy").uid == copy.uid


def test_a_cancelled_job_does_nothing_more(desk: Desk) -> None:
    job = desk.service().create("b", None)
    assert desk.world.jobs.cancel(job.id).state is JobState.CANCELLED
    desk.service().run(job.id)
    assert desk.state(job.id) is JobState.CANCELLED
    assert desk.service().list() == []
    assert desk.world.jobs.cancel(job.id).state is JobState.CANCELLED


@pytest.mark.parametrize("is_begun", [False, True])
def test_a_job_cancelled_at_any_step_ends_quietly(
    desk: Desk, is_begun: bool, caplog: pytest.LogCaptureFixture
) -> None:
    service = desk.service(Cancelled if is_begun else SqlBackups)
    if not is_begun:
        service = replace(service, long=replace(service.long, jobs=CancelledOnceRead(desk.world.database)))
    job = service.create("b", None)
    with caplog.at_level(logging.INFO):
        service.run(job.id)
    cancelled = desk.world.jobs.get(job.id)
    assert (cancelled.state, cancelled.errors) == (JobState.CANCELLED, ())
    assert [record for record in caplog.records if record.levelno > logging.INFO] == []
    assert "job was ended meanwhile" in caplog.messages
    assert desk.service().list() == []


def test_a_name_taken_after_the_request_fails_the_job(desk: Desk) -> None:
    desk.service().run(desk.service().create("b", None).id)
    desk.world.collections.delete("news")
    job = desk.service().restore("b", RestoreRequest())
    again = World(desk.world.database)
    desk.service().run(job.id)
    assert desk.state(job.id) is JobState.FAILED
    assert "exists" in desk.world.jobs.get(job.id).errors[0].reason
    assert desk.world.collections.get("news") == again.collection


def test_another_encoder_is_refused(desk: Desk) -> None:
    desk.service().run(desk.service().create("b", None).id)
    other = desk.service(encoder=EncoderInfo("other", "e" * 64, DIM, 64))
    with pytest.raises(EncoderMismatch, match="'news' holds vectors of encoder tiny"):
        other.restore("b", RestoreRequest(new_name="copy"))


def test_what_is_chosen_must_be_there_and_one_name_is_for_one_collection(desk: Desk) -> None:
    World(desk.world.database, "other")
    service = desk.service()
    service.run(service.create("b", None).id)
    backup = service.get("b")
    assert choose(backup, RestoreRequest()) == [Move("news", "news"), Move("other", "other")]
    assert choose(backup, RestoreRequest("news", "n", True)) == [Move("news", "n", True)]
    with pytest.raises(NotFound, match="it has news, other"):
        choose(backup, RestoreRequest("gone"))
    with pytest.raises(InvalidInput, match="which collection"):
        choose(backup, RestoreRequest(new_name="n"))
    with pytest.raises(Conflict, match="exists"):
        service.restore("b", RestoreRequest())


def test_default_names_sort_by_time(desk: Desk) -> None:
    assert default_name("news", desk.world.clock.now) == "20300101-000000-000-news"
    assert default_name(None, desk.world.clock.now) == "20300101-000000-000"


def test_a_reason_names_what_is_few() -> None:
    assert listed([], []) == "nothing"
    assert listed(["a", "b"], ["m"]) == "collections a, b; classifiers m"
    assert listed([f"c{i}" for i in range(1_012)], []).endswith("c8, c9 and 1,002 more")
