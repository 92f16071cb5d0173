"""A collection is indexed by the restoring process before it is shown, and let go of in any case."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from core.backup_types import Move
from core.errors import Conflict
from core.job_types import JobKind, TaskKind
from core.types import Collection
from storage.backups import SqlBackups
from storage.long_jobs import SqlLongJobs
from storage.uploads import FsspecUploadStore
from tests.storage.backed_up import make
from tests.storage.world import World, encode, new


@dataclass
class Indexes:
    """Needs so many calls for an index; notes what was shown under the name at each of them."""

    world: World
    calls: int
    shown: list[int] = field(default_factory=list)
    prepared: list[Collection] = field(default_factory=list)
    released: list[str] = field(default_factory=list)

    def prepare(self, collection: Collection, timeout_s: float) -> bool:
        self.shown.append(self.world.collections.get("news").id)
        self.prepared.append(collection)
        return len(self.prepared) >= self.calls

    def release(self, collection: Collection) -> None:
        self.released.append(collection.uid)


def restore(world: World, files: FsspecUploadStore, indexes: Indexes, replace: bool = True) -> str:
    """Id of the job."""
    job = SqlLongJobs(world.database).open(JobKind.RESTORE, "", {})
    backups = SqlBackups(world.database, files, "test", world.clock, indexes)
    list(backups.restore(job.id, "b", [Move("news", "news", replace)], lambda done: None))
    return job.id


def test_the_old_collection_is_shown_until_the_new_one_is_indexed(
    world: World, files: FsspecUploadStore
) -> None:
    world.add(new("a", "text"))
    make(world, files)
    indexes = Indexes(world, calls=3)
    restore(world, files, indexes)
    assert indexes.shown == [world.id] * 3
    assert indexes.prepared[-1] == world.collections.get("news")
    assert indexes.released == [world.collections.get("news").uid]


def test_the_job_of_pending_documents_has_the_name_of_the_collection_from_the_start(
    world: World, files: FsspecUploadStore
) -> None:
    world.send(new("a"))
    make(world, files)
    listed: list[str] = []

    class Listing(Indexes):
        def prepare(self, collection: Collection, timeout_s: float) -> bool:
            jobs = self.world.jobs.list(10)
            listed.extend(job.collection for job in jobs if "restored_by" in job.details)
            return super().prepare(collection, timeout_s)

    restore(world, files, Listing(world, calls=1))
    assert listed == ["news"]


def test_an_index_that_is_never_built_does_not_hold_a_restore_up_for_ever(
    world: World, files: FsspecUploadStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("storage.backup_loading.INDEXED_WITHIN_S", 0.05)
    make(world, files)
    indexes = Indexes(world, calls=10**9)
    restore(world, files, indexes)
    assert indexes.released == [world.collections.get("news").uid] != [world.collection.uid]


def test_a_collection_that_cannot_be_shown_is_let_go_of(world: World, files: FsspecUploadStore) -> None:
    make(world, files)
    indexes = Indexes(world, calls=1)
    with pytest.raises(Conflict, match="exists"):
        restore(world, files, indexes, replace=False)
    assert indexes.released == [indexes.prepared[0].uid]
    assert world.collections.list() == [world.collection]


class Purging(Indexes):
    """All that is old is purged while the collection is indexed, which takes longer than things are kept."""

    def prepare(self, collection: Collection, timeout_s: float) -> bool:
        self.world.clock.advance(100)
        self.world.retention.purge(self.world.clock.now)
        return super().prepare(collection, timeout_s)


def test_what_was_pending_outlasts_a_restore_that_takes_longer_than_done_work_is_kept(
    world: World, files: FsspecUploadStore
) -> None:
    world.add(new("old", "first text"))
    world.send(new("old", "second text"), new("fresh"))
    make(world, files)
    restore(world, files, Purging(world, calls=3))
    again = World(world.database, clock=world.clock)
    assert again.counts() == (1, 1, 0)
    batch_ids = [task.id for task in again.batches.unfinished() if task.kind is TaskKind.INGEST_BATCH]
    for batch_id in batch_ids:
        batch = again.claim(batch_id)
        assert again.batches.complete(batch, encode(batch.items), []) is not None
    assert again.found() == {"old": "second text", "fresh": "some text"}
    (job,) = (job for job in again.jobs.list(10) if "restored_by" in job.details)
    assert again.progress(job.id) == ("succeeded", 2, 2, 0)
    again.clock.advance(100)
    assert again.retention.purge(again.clock.now).batches == 1, "once it is done it goes as any"
