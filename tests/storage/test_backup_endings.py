"""A backup or a restore that is ended, killed, cancelled or refused leaves nothing behind."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from fsspec.implementations.local import LocalFileSystem
from sqlalchemy import select

import storage.backups
from core.backup_types import Move, Restored
from core.errors import CollectionGone, Conflict, NotFound, StorageFull, Unavailable
from core.job_types import JobKind, JobState
from storage import removal
from storage.backup_leftovers import RESTORING
from storage.backup_loading import CollectionLoader
from storage.backup_tables import TablePlan
from storage.backup_writing import collection_ids
from storage.backups import SqlBackups
from storage.long_jobs import SqlLongJobs
from storage.schema import Collections
from storage.uploads import FsspecUploadStore
from tests.storage.backed_up import (
    Stopped,
    contents,
    counts_of_rows,
    fill,
    make,
    stopping_after,
)
from tests.storage.world import World, new


def test_a_backup_that_is_ended_leaves_nothing(world: World, backups: SqlBackups, tmp_path: Path) -> None:
    fill(world)
    with pytest.raises(Stopped):
        backups.create("j", "b", None, stopping_after(3))
    assert backups.list() == []
    assert list((tmp_path / "backups").iterdir()) == []


@pytest.mark.parametrize("steps", range(5))
def test_a_restore_that_is_ended_leaves_nothing(
    world: World, backups: SqlBackups, files: FsspecUploadStore, steps: int
) -> None:
    fill(world)
    world.send(new("pending"))
    make(world, files)
    before = counts_of_rows(world.database)
    job = SqlLongJobs(world.database).open(JobKind.RESTORE, "", {})
    with pytest.raises(Stopped):
        list(backups.restore(job.id, "b", [Move("news", "copy")], stopping_after(steps)))
    assert counts_of_rows(world.database) == before | {"jobs": before["jobs"] + 1}


def test_what_a_killed_restore_left_is_hidden_and_removed_by_the_next(
    world: World, backups: SqlBackups, files: FsspecUploadStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(world)
    world.send(new("pending"))
    make(world, files)
    tasks = world.batches.unfinished()
    jobs = SqlLongJobs(world.database)
    job = jobs.open(JobKind.RESTORE, "", {})
    with monkeypatch.context() as patch:
        patch.setattr(CollectionLoader, "remove_leftovers", lambda *_: [])  # as if the process had died
        patch.setattr(CollectionLoader, "_show", lambda *_: (_ for _ in ()).throw(Stopped))
        with pytest.raises(Stopped):
            list(backups.restore(job.id, "b", [Move("news", "copy")], lambda done: None))
    with world.database.read() as connection:
        names = connection.execute(select(Collections.name)).scalars().all()
    (hidden,) = (name for name in names if name.startswith(RESTORING + job.id))
    assert [collection.name for collection in world.collections.list()] == ["news"]
    with pytest.raises(NotFound):
        world.collections.get(hidden)
    assert [task for task in world.batches.unfinished() if task.id != job.id] == tasks
    make(world, files, "another")
    assert [one.name for one in backups.get("another").collections] == ["news"]
    other = jobs.open(JobKind.RESTORE, "", {})
    list(backups.restore(other.id, "b", [Move("news", "x")], lambda done: None))
    with world.database.read() as connection:  # the first may still run in another process
        assert hidden in connection.execute(select(Collections.name)).scalars().all()
    list(backups.restore(job.id, "b", [Move("news", "copy")], lambda done: None))
    with world.database.read() as connection:
        assert set(connection.execute(select(Collections.name)).scalars()) == {"news", "x", "copy"}
    assert contents(world.database, "copy") == contents(world.database, "news")


def test_what_a_killed_restore_left_is_purged_once_its_job_is_over(
    world: World, backups: SqlBackups, files: FsspecUploadStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(world)
    world.send(new("pending"))
    make(world, files)
    job = SqlLongJobs(world.database).open(JobKind.RESTORE, "", {})
    before = counts_of_rows(world.database)
    monkeypatch.setattr(CollectionLoader, "remove_leftovers", lambda *_: [])  # as if the process had died
    monkeypatch.setattr(CollectionLoader, "_show", lambda *_: (_ for _ in ()).throw(Stopped))
    with pytest.raises(Stopped):
        list(backups.restore(job.id, "b", [Move("news", "copy")], lambda done: None))
    long_ago = world.clock() - timedelta(days=1)
    assert world.retention.purge(long_ago).restores == 0  # it may still run
    world.jobs.cancel(job.id)
    assert world.retention.purge(long_ago).restores == 1
    assert counts_of_rows(world.database) == before


@pytest.mark.parametrize("table", ["documents", "revisions"])
def test_a_second_attempt_at_a_restore_beside_the_first_is_left_alone_by_it(
    world: World, backups: SqlBackups, files: FsspecUploadStore, monkeypatch: pytest.MonkeyPatch, table: str
) -> None:
    fill(world)
    world.send(new("pending"))
    make(world, files)
    job = SqlLongJobs(world.database).open(JobKind.RESTORE, "", {})
    insert = CollectionLoader._insert
    again: list[Restored] = []

    def begun_anew(self: CollectionLoader, plan: TablePlan, *more: Any) -> None:
        """A process that found the lock of the job free takes the first for dead."""
        if plan.name == table:
            monkeypatch.setattr(CollectionLoader, "_insert", insert)
            again.extend(backups.restore(job.id, "b", [Move("news", "copy")], lambda done: None))
        insert(self, plan, *more)

    monkeypatch.setattr(CollectionLoader, "_insert", begun_anew)
    with pytest.raises(Unavailable, match="Another process works on this restore"):
        list(backups.restore(job.id, "b", [Move("news", "copy")], lambda done: None))
    assert world.collections.get("copy").id == again[0].collection_id
    assert contents(world.database, "copy") == contents(world.database, "news")
    with world.database.read() as connection:
        assert set(connection.execute(select(Collections.name)).scalars()) == {"news", "copy"}


def test_what_another_attempt_took_for_dead_is_not_shown_though_its_rows_are_still_there(
    world: World, backups: SqlBackups, files: FsspecUploadStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(world, files)
    job = SqlLongJobs(world.database).open(JobKind.RESTORE, "", {})
    show = CollectionLoader._show

    def taken_for_dead(self: CollectionLoader, *more: Any) -> Restored:
        with monkeypatch.context() as patch:
            patch.setattr(removal, "_clear_some", lambda *_: False)  # that process has died, too
            assert len(self.remove_leftovers(RESTORING + job.id)) == 1
        return show(self, *more)

    monkeypatch.setattr(CollectionLoader, "_show", taken_for_dead)
    with pytest.raises(Unavailable, match="Another process works on this restore"):
        list(backups.restore(job.id, "b", [Move("news", "copy")], lambda done: None))
    assert [collection.name for collection in world.collections.list()] == ["news"]


def test_a_cancelled_restore_ends_and_leaves_nothing(
    world: World, backups: SqlBackups, files: FsspecUploadStore
) -> None:
    fill(world)
    make(world, files)
    job = SqlLongJobs(world.database).open(JobKind.RESTORE, "", {})
    before = counts_of_rows(world.database)

    def cancel(done: int) -> None:
        world.jobs.cancel(job.id)

    with pytest.raises(Conflict, match="cancelled"):
        list(backups.restore(job.id, "b", [Move("news", "copy")], cancel))
    assert counts_of_rows(world.database) == before
    assert world.jobs.get(job.id).state is JobState.CANCELLED


def test_a_backup_of_long_ago_that_was_never_finished_is_removed(
    world: World, backups: SqlBackups, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = tmp_path / "backups" / "b.zip.job.part"
    left.write_bytes(b"PK")
    backups.create("j", "c", None, lambda done: None)
    assert left.exists(), "its process may still be writing"
    monkeypatch.setattr("storage.backups.ABANDONED_AFTER", timedelta(seconds=-60))
    backups.create("j", "d", None, lambda done: None)
    assert not left.exists()
    assert {backup.name for backup in backups.list()} == {"c", "d"}


def test_what_was_written_for_an_earlier_attempt_or_a_job_that_is_over_is_removed(
    world: World, backups: SqlBackups, tmp_path: Path
) -> None:
    jobs = SqlLongJobs(world.database)
    ours, over, open_ = (jobs.open(JobKind.BACKUP, "", {}).id for _ in range(3))
    world.jobs.cancel(over)
    folder = tmp_path / "backups"
    for job_id in (ours, over, open_, "of-another-installation"):
        (folder / f"na.me.zip.{job_id}.1.part").write_bytes(b"PK")
    backups.remove_abandoned()
    assert {path.name.split(".")[3] for path in folder.iterdir()} == {ours, open_, "of-another-installation"}
    backups.create(ours, "c", None, lambda done: None)
    left = {path.name.split(".")[3] for path in folder.iterdir() if path.name != "c.zip"}
    assert left == {open_, "of-another-installation"}


def test_an_attempt_whose_file_the_next_one_removed_leaves_the_job_to_it(
    world: World, backups: SqlBackups, tmp_path: Path
) -> None:
    world.add(new("a"))

    def go_on_elsewhere(done: int) -> None:
        backups.remove_abandoned("j")

    with pytest.raises(Unavailable):
        backups.create("j", "b", None, go_on_elsewhere)
    assert list((tmp_path / "backups").iterdir()) == []


def test_a_collection_deleted_at_the_last_moment_is_no_empty_backup_of_it(
    world: World, backups: SqlBackups, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(world)
    World(world.database, "other")

    def found_and_deleted(*args: Any) -> list[int]:
        found = collection_ids(*args)
        world.collections.delete(world.name)
        return found

    monkeypatch.setattr(storage.backups, "collection_ids", found_and_deleted)
    with pytest.raises(CollectionGone):
        backups.create("j", "one", ["other", world.name], lambda done: None)
    assert backups.list() == []
    world.collections.create(world.name, "", world.collection.encoder, world.collection.settings)
    made = backups.create("j", "all", None, lambda done: None)
    assert [one.name for one in made.collections] == ["other"]


def test_a_second_attempt_beside_the_first_damages_nothing(
    world: World, backups: SqlBackups, tmp_path: Path
) -> None:
    fill(world)
    attempts = iter(range(2))

    def go_on_elsewhere(done: int) -> None:
        if next(attempts, 0) == 1:
            world.add(new("z", text=" ".join(map(str, range(100_000)))))  # so that the two differ
            backups.create("j", "b", None, lambda done: None)

    with pytest.raises(Conflict, match="exists"):
        backups.create("j", "b", None, go_on_elsewhere)
    backups.verify("b", lambda done: None)
    assert [path.name for path in (tmp_path / "backups").iterdir()] == ["b.zip"]


def test_only_the_job_that_made_a_backup_knows_it_again_and_withdraws_it(
    world: World, backups: SqlBackups, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.add(new("a"))
    made = backups.create("mine", "b", None, lambda done: None)
    assert backups.made_by("mine", "b") == made
    backups.withdraw("other", "b")
    assert (backups.made_by("other", "b"), backups.made_by("mine", "gone")) == (None, None)
    with pytest.raises(Conflict, match="exists"):
        backups.create("other", "b", None, lambda done: None)
    whole = (tmp_path / "backups" / "b.zip").read_bytes()
    (tmp_path / "backups" / "cut.zip").write_bytes(whole[:-100])
    assert backups.made_by("mine", "cut") is None
    with monkeypatch.context() as patch:
        patch.setattr("storage.backups.MADE_BY", "not_yet_known")  # as an earlier version wrote it
        backups.create("mine", "old", None, lambda done: None)
    assert backups.get("old").documents == 1
    assert backups.made_by("mine", "old") is None
    backups.withdraw("mine", "b")
    assert not backups.exists("b")


def test_a_full_disk_fails_the_backup_and_leaves_nothing(
    world: World,
    backups: SqlBackups,
    files: FsspecUploadStore,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fill(world)
    make(world, files, "before")
    folder = tmp_path / "backups"
    really_open = LocalFileSystem.open

    def on_a_full_disk(self: Any, path: str, mode: str = "rb", **options: Any) -> Any:
        return really_open(self, "/dev/full" if "w" in mode else path, mode, **options)

    monkeypatch.setattr(LocalFileSystem, "open", on_a_full_disk)
    with pytest.raises(StorageFull, match="COGNATE_BACKUP_URL"):
        backups.create("j", "b", None, lambda done: None)
    assert [path.name for path in folder.iterdir()] == ["before.zip"]
