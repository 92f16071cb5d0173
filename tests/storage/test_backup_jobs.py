"""The jobs of backups: tried again after an outage, given up at last, continued where they were."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from core.backup import BackupService, choose, default_name, no_index
from core.backup_types import Backup, Going, Move, Restored, RestoreRequest
from core.errors import Conflict, EncoderMismatch, InvalidInput, NotFound, Unavailable
from core.long_jobs import MAX_ATTEMPTS, LongJobRunner
from core.types import EncoderInfo, JobState, Task, TaskKind
from storage.backups import SqlBackups
from storage.long_jobs import SqlLongJobs
from storage.uploads import BACKUPS, local_uploads
from tests.fakes import FakeEncoder, ListQueue, RecordingNotifier
from tests.storage.world import DIM, ENCODER, World, new


class Failing(SqlBackups):
    """Its store is away."""

    def create(self, job_id: str, name: str, collections: Sequence[str] | None, going: Going) -> Backup:
        raise Unavailable("the store is away")


class Dying(SqlBackups):
    """Restores one collection, then the process ends."""

    def restore(self, job_id: str, name: str, moves: Sequence[Move], going: Going) -> Iterator[Restored]:
        yield next(iter(super().restore(job_id, name, moves[:1], going)))
        raise KeyboardInterrupt


@dataclass
class Desk:
    """The use case on a real database and folder."""

    world: World
    folder: Path
    is_stopping: bool = False

    def __post_init__(self) -> None:
        self.queue, self.notifier = ListQueue(), RecordingNotifier()

    def service(self, store: type[SqlBackups] = SqlBackups, encoder: EncoderInfo = ENCODER) -> BackupService:
        database = self.world.database
        return BackupService(
            store(database, local_uploads(self.folder, BACKUPS), "test"),
            LongJobRunner(SqlLongJobs(database), self.world.jobs, self.queue, lambda: self.is_stopping),
            self.world.collections,
            FakeEncoder(info=encoder),
            self.queue,
            self.notifier,
            no_index,
        )

    def state(self, job_id: str) -> JobState:
        return self.world.jobs.get(job_id).state


@pytest.fixture
def kind() -> str:
    return "sqlite"


@pytest.fixture
def desk(world: World, tmp_path: Path) -> Desk:
    world.add(new("a"), new("b"))
    return Desk(world, tmp_path / "backups")


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


def test_an_outage_is_tried_again_until_the_job_is_given_up(desk: Desk) -> None:
    service = desk.service(Failing)
    job = service.create("b", None)
    for _ in range(MAX_ATTEMPTS - 1):
        with pytest.raises(Unavailable):
            service.run(job.id)
    assert desk.state(job.id) is JobState.RUNNING
    service.run(job.id)
    failed = desk.world.jobs.get(job.id)
    assert failed.state is JobState.FAILED
    assert [error.reason for error in failed.errors] == ["the store is away"]
    assert failed.total == failed.failed > 0


def test_a_job_that_keeps_ending_its_process_is_given_up(desk: Desk) -> None:
    job = desk.service().create("b", None)
    for _ in range(MAX_ATTEMPTS):
        SqlLongJobs(desk.world.database).begin(job.id)
    desk.service().run(job.id)
    assert desk.state(job.id) is JobState.FAILED
    assert "given up" in desk.world.jobs.get(job.id).errors[0].reason


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
    with pytest.raises(KeyboardInterrupt):
        desk.service(Dying).run(job.id)
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


def test_a_cancelled_job_does_nothing_more(desk: Desk) -> None:
    job = desk.service().create("b", None)
    assert desk.world.jobs.cancel(job.id).state is JobState.CANCELLED
    desk.service().run(job.id)
    assert desk.state(job.id) is JobState.CANCELLED
    assert desk.service().list() == []
    assert desk.world.jobs.cancel(job.id).state is JobState.CANCELLED


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
