"""A backup holds the state of one moment; restored, on either database, it is that state again."""

from __future__ import annotations

import errno
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fsspec.implementations.local import LocalFileSystem

from core.backup_types import Move
from core.errors import Conflict, NotFound
from core.job_types import JobState
from core.types import DocumentState
from storage.acceptance import MAX_BATCH_DOCUMENTS
from storage.backups import SUFFIX, SqlBackups
from storage.database import Database
from storage.uploads import BACKUPS, FsspecUploadStore, open_uploads
from tests.storage.backed_up import (
    Stopped,
    contents,
    fill,
    make,
    restore,
    stopping_after,
)
from tests.storage.s3_server import BUCKET, CREDENTIALS, s3_server
from tests.storage.world import World, encode, new, opened, vectors


def test_a_restored_collection_is_the_one_that_was_saved(world: World, files: FsspecUploadStore) -> None:
    fill(world)
    make(world, files)
    restore(world.database, files, Move("news", "copy"))
    saved = contents(world.database, "news")
    assert contents(world.database, "copy") == saved
    assert saved["documents"]["d2"]["metadata"] == {"year": -(2**63)}
    assert saved["documents"]["d3"]["state"] == DocumentState.DELETED
    copy = world.collections.get("copy")
    assert copy.purged_seq == copy.seq == world.seq, "its log leads to no state before"
    assert copy.uid != world.collection.uid, "no snapshot of the old one fits the new one"
    assert world.collections.counts(copy.id) == world.collections.counts(world.id)


def test_a_backup_tells_what_it_holds(world: World, backups: SqlBackups, files: FsspecUploadStore) -> None:
    fill(world)
    make(world, files)
    (listed,) = backups.list()
    assert listed == backups.get("b") == backups.verify("b", lambda done: None)
    (saved,) = listed.collections
    assert (saved.name, saved.seq, saved.encoder) == ("news", world.seq, world.collection.encoder)
    assert saved.documents == world.collections.counts(world.id)
    assert (listed.application, listed.created_at, listed.problem) == ("test", world.clock.now, None)
    backups.delete("b")
    assert backups.list() == []
    with pytest.raises(NotFound, match="does not exist"):
        backups.delete("b")


def test_a_backup_that_may_not_be_read_hides_no_other(
    world: World, backups: SqlBackups, files: FsspecUploadStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(world)
    make(world, files, "mine")
    make(world, files, "theirs")
    opened_ = LocalFileSystem.open

    def denied(self: LocalFileSystem, path: str, *args: Any, **options: Any) -> Any:
        if path.endswith("theirs.zip"):
            raise PermissionError(errno.EACCES, "Permission denied")
        return opened_(self, path, *args, **options)

    monkeypatch.setattr(LocalFileSystem, "open", denied)
    found = {one.name: one.problem for one in backups.list()}
    assert found["mine"] is None
    assert "could not be opened" in str(found["theirs"])


def test_what_was_pending_is_encoded_after_the_restore(world: World, files: FsspecUploadStore) -> None:
    world.add(new("old", "first text"))
    world.send(*(new(f"p{i}", f"pending {i}") for i in range(300)), new("old", "second text"))
    make(world, files)
    (restored,) = restore(world.database, files, Move("news", "copy"))
    copy = World(world.database, "copy")
    assert copy.counts() == (1, 300, 0)
    assert len(restored.batch_ids) == -(-300 // MAX_BATCH_DOCUMENTS)
    assert set(restored.batch_ids) <= {task.id for task in world.batches.unfinished()}
    before = world.found()
    (job,) = [job for job in world.jobs.list(100) if job.collection == "copy"]
    assert (job.state, job.total, job.done) == (JobState.QUEUED, 301, 0)
    for batch_id in restored.batch_ids:
        batch = copy.claim(batch_id)
        assert copy.batches.complete(batch, encode(batch.items), []) is not None
    assert copy.counts() == (301, 0, 0)
    assert copy.found()["old"] == "second text"
    assert world.progress(job.id) == ("succeeded", 301, 301, 0)
    assert world.found() == before, "the original has not changed"


def test_while_others_write_a_backup_has_the_state_of_one_seq(world: World, files: FsspecUploadStore) -> None:
    world.add(*(new(f"d{i}", "of 0", turn=0) for i in range(100)))
    stop, turns = threading.Event(), 0

    def write() -> None:
        nonlocal turns
        while not stop.is_set():
            turns += 1
            world.add(*(new(f"d{i}", f"of {turns}", turn=turns) for i in range(100)), new(f"x{turns}"))

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for number in range(5):
            make(world, files, f"b{number}")
    finally:
        stop.set()
        writer.join()
    store = SqlBackups(world.database, files, "test")
    seen = set()
    for number in range(5):
        restore(world.database, files, Move("news", f"copy{number}"), name=f"b{number}")
        copy, saved = contents(world.database, f"copy{number}"), store.get(f"b{number}").collections[0]
        assert copy["row"]["seq"] == saved.seq
        documents = copy["documents"]
        (turn,) = {d["metadata"]["turn"] for id_, d in documents.items() if id_.startswith("d")}
        # A call is one batch, so each turn is one seq: what is saved is what that seq showed.
        assert saved.seq == turn + 1
        is_between = {d["text"] for id_, d in documents.items() if id_.startswith("d")} == {f"of {turn}"}
        assert is_between
        assert {
            id_ for id_, d in documents.items() if id_.startswith("x") and d["state"] == "searchable"
        } == {f"x{n}" for n in range(1, turn + 1)}
        assert saved.documents.searchable == 100 + turn
        for external_id, ordinal, *_, vector in copy["passages"]:
            text = documents[external_id]["text"]
            assert vector == vectors("", text)[ordinal].tobytes()
        seen.add(turn)
    assert turns > 0
    assert seen


def test_collections_with_the_same_ids_live_side_by_side(
    migrated_sqlite: Path, world: World, files: FsspecUploadStore, tmp_path: Path
) -> None:
    """Another instance gave the same internal ids to other documents."""
    url = f"sqlite:///{shutil.copy(migrated_sqlite, tmp_path / 'other.db')}"
    fill(world)
    make(world, files)
    with opened(url) as other:
        there = World(other, "mine")
        there.add(*(new(f"m{i}", f"my text {i}") for i in range(50)))
        mine = contents(other, "mine")
        restore(other, files, Move("news", "news"))
        assert contents(other, "news") == contents(world.database, "news")
        assert contents(other, "mine") == mine
        there.add(new("after", "ids go on behind the restored ones"))
        restored = World(other, "news")
        restored.add(new("after", "here too"))
        assert restored.found()["after"] == "here too"
        ids = [
            id_ for one in (there, restored) for entry in one.read_log() for id_ in entry.passage_ids.tolist()
        ]
        assert len(ids) == len(set(ids))


@pytest.mark.parametrize("kind", ["postgres"])
def test_from_sqlite_to_postgres_and_back(
    sqlite_url: str, database: Database, migrated_sqlite: Path, files: FsspecUploadStore, tmp_path: Path
) -> None:
    with opened(sqlite_url) as first:
        world = World(first)
        fill(world)
        world.send(new("pending", "waits"))
        make(world, files, "one")
        saved = contents(first, "news")
    World(database, "other").add(new("a", "of another collection"))
    restore(database, files, Move("news", "news"), name="one")
    assert contents(database, "news") == saved
    make(World(database, "news"), files, "two", only="news")
    with opened(f"sqlite:///{shutil.copy(migrated_sqlite, tmp_path / 'third.db')}") as third:
        restore(third, files, Move("news", "news"), name="two")
        assert contents(third, "news") == saved


def test_a_name_that_is_taken_is_refused_or_replaced(world: World, files: FsspecUploadStore) -> None:
    world.add(new("a", "old"))
    make(world, files)
    saved = contents(world.database, "news")
    world.add(new("a", "newer"), new("b", "newer"))
    changed = contents(world.database, "news")
    with pytest.raises(Conflict, match="exists"):
        restore(world.database, files, Move("news", "news"))
    assert contents(world.database, "news") == changed
    restore(world.database, files, Move("news", "news", replace=True))
    assert contents(world.database, "news") == saved
    assert [collection.name for collection in world.collections.list()] == ["news"]


def test_what_a_replaced_collection_had_to_embed_fails_and_says_why(
    world: World, files: FsspecUploadStore
) -> None:
    world.add(new("a", "old"))
    make(world, files)
    job = world.send(new("b", "waits"))
    restore(world.database, files, Move("news", "news", replace=True))
    ended = world.jobs.get(job.job_id)
    assert (ended.state, ended.failed) == (JobState.CANCELLED, 1)
    (error,) = ended.errors
    assert error.id == "b"
    assert error.reason.startswith("collection was deleted or replaced by a restore before")


def test_one_collection_or_everything(world: World, backups: SqlBackups, files: FsspecUploadStore) -> None:
    World(world.database, "second").add(new("s", "second"))
    make(world, files, "all")
    make(world, files, "one", only="second")
    assert [one.name for one in backups.get("all").collections] == ["news", "second"]
    assert [one.name for one in backups.get("one").collections] == ["second"]
    with pytest.raises(NotFound, match="'gone' does not exist"):
        make(world, files, "none", only="gone")
    with pytest.raises(Conflict, match="backup 'one' exists"):
        make(world, files, "one")
    assert {backup.name for backup in backups.list()} == {"all", "one"}
    restored = restore(world.database, files, Move("news", "n"), Move("second", "s"), name="all")
    assert [world.collections.get(name).id for name in ("n", "s")] == [one.collection_id for one in restored]


@pytest.fixture(scope="module")
def s3_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with s3_server(tmp_path_factory.mktemp("s3") / "log") as url:
        yield url


@pytest.mark.integration
@pytest.mark.parametrize("kind", ["sqlite"])
def test_backups_in_an_object_store(
    world: World, s3_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", CREDENTIALS["key"])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", CREDENTIALS["secret"])
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_url)
    store = open_uploads(f"s3://{BUCKET}/{tmp_path.name}", BACKUPS)
    fill(world)
    make(world, store)
    backups = SqlBackups(world.database, store, "test")
    assert backups.verify("b", lambda done: None).collections[0].name == "news"
    with pytest.raises(Stopped):
        backups.create("j", "c", None, stopping_after(2))
    assert [file.name for file in store.list()] == ["b" + SUFFIX]
    restore(world.database, store, Move("news", "copy"))
    assert contents(world.database, "copy") == contents(world.database, "news")
