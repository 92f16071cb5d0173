"""A backup holds the state of one moment; restored, on either database, it is that state again."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from fsspec.implementations.local import LocalFileSystem
from sqlalchemy import Column, ForeignKey, Integer, MetaData, String, Table, func, select

from core.backup_types import Move, Restored
from core.errors import Conflict, InvalidInput, NotFound, StorageFull
from core.types import DocumentState, JobKind, JobState
from storage.backup_loading import RESTORING, CollectionLoader
from storage.backup_rows import from_line
from storage.backup_tables import LEFT_OUT, ROOT, plan_tables
from storage.backups import SUFFIX, SqlBackups
from storage.database import Database
from storage.long_jobs import SqlLongJobs
from storage.schema import Base, Collections, Documents, Embeddings, Passages
from storage.uploads import BACKUPS, FsspecUploadStore, local_uploads, open_uploads
from tests.storage.s3_server import BUCKET, CREDENTIALS, s3_server
from tests.storage.world import World, encode, new, opened, vectors

Contents = dict[str, Any]


@pytest.fixture
def files(tmp_path: Path) -> FsspecUploadStore:
    return local_uploads(tmp_path / "backups", BACKUPS)


@pytest.fixture
def backups(world: World, files: FsspecUploadStore) -> SqlBackups:
    return SqlBackups(world.database, files, "test", world.clock)


def make(world: World, files: FsspecUploadStore, name: str = "b", only: str | None = None) -> None:
    jobs = SqlLongJobs(world.database, world.clock)
    job = jobs.open(JobKind.BACKUP, "", {})
    store = SqlBackups(world.database, files, "test", world.clock)
    store.create(job.id, name, None if only is None else [only], lambda done: None)


def restore(database: Database, files: FsspecUploadStore, *moves: Move, name: str = "b") -> list[Restored]:
    job = SqlLongJobs(database).open(JobKind.RESTORE, "", {})
    return list(SqlBackups(database, files, "test").restore(job.id, name, moves, lambda done: None))


def contents(database: Database, name: str) -> Contents:
    """All of a collection that does not depend on where it is: rows by external id, vectors as bytes."""
    with database.read() as connection:
        query = select(Collections.__table__).where(Collections.name == name)
        row = dict(connection.execute(query).mappings().one())
        collection_id = row.pop("id")
        row.pop("uid"), row.pop("name")
        documents = {
            d["external_id"]: {k: v for k, v in d.items() if k not in ("id", "collection_id", "job_id")}
            for d in connection.execute(
                select(Documents.__table__).where(Documents.collection_id == collection_id)
            ).mappings()
        }
        passages = (
            select(
                Documents.external_id,
                Passages.ordinal,
                Passages.start,
                Passages.end,
                Embeddings.encoder_id,
                Embeddings.vector,
            )
            .join(Passages, Passages.document_id == Documents.id)
            .join(Embeddings, Embeddings.passage_id == Passages.id)
            .where(Documents.collection_id == collection_id)
            .order_by(Passages.id)  # their order decides ties
        )
        return {"row": row, "documents": documents, "passages": connection.execute(passages).all()}


def fill(world: World) -> None:
    """Documents in every state, some replaced, retagged, deleted and sent again."""
    world.add(
        *(new(f"d{i}", f"text {i} “é\n\x01”", f"title {i}", year=i, tags=["a", 1.5]) for i in range(300))
    )
    world.add(new("d1", "another text"), new("d2", "text 2 “é\n\x01”", "title 2", year=-(2**63)))
    world.documents.delete(world.id, ["d3", "d4"])
    world.add(new("d4", "here again"))
    world.fail(world.send(new("bad", "hot"), new("bad2", "hot")))
    world.add(new("empty", ""))


def test_a_restored_collection_is_the_one_that_was_saved(world: World, files: FsspecUploadStore) -> None:
    fill(world)
    make(world, files)
    restore(world.database, files, Move("news", "copy"))
    saved = contents(world.database, "news")
    assert contents(world.database, "copy") == saved
    assert saved["documents"]["d2"]["metadata"] == {"year": -(2**63)}
    assert saved["documents"]["d3"]["state"] == DocumentState.DELETED
    copy = world.collections.get("copy")
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


def test_what_was_pending_is_encoded_after_the_restore(world: World, files: FsspecUploadStore) -> None:
    world.add(new("old", "first text"))
    world.send(*(new(f"p{i}", f"pending {i}") for i in range(300)), new("old", "second text"))
    make(world, files)
    (restored,) = restore(world.database, files, Move("news", "copy"))
    copy = World(world.database, "copy")
    assert copy.counts() == (1, 300, 0)
    assert len(restored.batch_ids) == 3  # of 128 documents at most
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


class Stopped(Exception):
    pass


def stopping_after(calls: int) -> Callable[[int], None]:
    left = iter(range(calls))

    def going(done: int) -> None:
        if next(left, None) is None:
            raise Stopped

    return going


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


def counts_of_rows(database: Database) -> dict[str, int]:
    with database.read() as connection:
        return {
            name: connection.execute(select(func.count()).select_from(table)).scalar_one()
            for name, table in Base.metadata.tables.items()
        }


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
        patch.setattr(CollectionLoader, "remove_leftovers", lambda self: None)  # as if the process had died
        patch.setattr(CollectionLoader, "_show", lambda *_: (_ for _ in ()).throw(Stopped))
        with pytest.raises(Stopped):
            list(backups.restore(job.id, "b", [Move("news", "copy")], lambda done: None))
    hidden = RESTORING + job.id
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


def test_every_table_is_backed_up_or_named_as_left_out() -> None:
    assert {plan.name for plan in plan_tables()} | set(LEFT_OUT) | {ROOT} == set(Base.metadata.tables)


def tables(*more: Column[Any], name: str = "notes", **options: Any) -> MetaData:
    metadata = MetaData()
    Table(ROOT, metadata, Column("id", Integer, primary_key=True))
    Table("jobs", metadata, Column("id", String, primary_key=True))
    Table(name, metadata, *more, **options)
    return metadata


def home() -> Column[Any]:
    return Column("collection_id", ForeignKey("collections.id"), nullable=False)


@pytest.mark.parametrize(
    ("metadata", "problem"),
    [
        (tables(Column("id", Integer, primary_key=True)), "lead to no collection"),
        (tables(home(), Column("id", String, primary_key=True)), "could be taken"),
        (
            tables(
                home(),
                Column("id", Integer, primary_key=True),
                Column("j", ForeignKey("jobs.id"), nullable=False),
            ),
            "refers to what is left out",
        ),
        (
            tables(
                home(),
                Column("id", Integer, primary_key=True),
                Column("above", ForeignKey("notes.id")),
            ),
            "may give an id out twice",
        ),
    ],
)
def test_a_table_of_which_nobody_decided_is_refused(metadata: MetaData, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        plan_tables(metadata)


def test_a_table_of_later_comes_along_by_itself() -> None:
    metadata = tables(
        home(),
        Column("id", Integer, primary_key=True),
        Column("above", ForeignKey("notes.id")),
        sqlite_autoincrement=True,
    )
    (plan,) = plan_tables(metadata)
    assert (plan.home, dict(plan.shifts)) == ("collection_id", {"id": "notes", "above": "notes"})


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


def test_unknown_and_missing_columns_are_refused(world: World) -> None:
    (documents,) = [plan for plan in plan_tables() if plan.name == "documents"]
    with pytest.raises(InvalidInput, match="does not know"):
        from_line(b'{"colour": "red"}', documents)
    with pytest.raises(InvalidInput, match="has no columns"):
        from_line(b'{"id": 1}', documents)


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
