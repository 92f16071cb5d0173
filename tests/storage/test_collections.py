"""Creating, describing and deleting collections."""

from __future__ import annotations

from dataclasses import replace

import pytest
from sqlalchemy import func, select

from core.errors import CollectionGone, Conflict, NotFound, Unavailable
from core.job_types import JobKind
from core.types import CollectionSettings, DocumentCounts, RejectedItem
from storage import removal
from storage.acceptance import MAX_BATCH_DOCUMENTS
from storage.backups import SqlBackups
from storage.database import Database
from storage.removal import DELETED_REASON
from storage.schema import Collections, Documents
from tests.storage.world import ENCODER, World, encode, new


def test_a_collection_reads_back_as_it_was_created(world: World) -> None:
    settings = CollectionSettings(128, 16, "Flat", "de", {"year": "number"})
    created, is_new = world.collections.create("café", "d", ENCODER, settings)
    assert is_new
    assert created == world.collections.get("café")
    assert (created.encoder, created.settings, created.description) == (ENCODER, settings, "d")
    assert (created.seq, created.purged_seq, created.created_at) == (0, 0, world.clock.now)
    assert len(created.uid) == 32
    assert [collection.name for collection in world.collections.list()] == ["café", "news"]


def test_creating_it_again_changes_at_most_the_description(world: World) -> None:
    same, is_new = world.collections.create("news", "", ENCODER, CollectionSettings())
    assert (same, is_new) == (world.collection, False)
    told, is_new = world.collections.create("news", "all of it", ENCODER, CollectionSettings())
    assert (told, is_new) == (replace(world.collection, description="all of it"), False)
    assert world.collections.create("news", "", ENCODER, CollectionSettings())[0] == told


def test_other_settings_or_another_encoder_are_a_conflict(world: World) -> None:
    with pytest.raises(Conflict, match=r"overlap_tokens is 32, not 8; attributes is \{\}, not"):
        world.collections.create(
            "news", "", ENCODER, CollectionSettings(overlap_tokens=8, attributes={"a": "bool"})
        )
    with pytest.raises(Conflict, match="encoder is"):
        world.collections.create("news", "", replace(ENCODER, dim=8), CollectionSettings())


def test_deleting_removes_all_rows_and_cancels_open_jobs(world: World) -> None:
    other = World(world.database, "other", world.clock)
    other.add(new("kept"))
    done = world.add(new("a"))
    open_job = world.send(new("a", "new"), new("b"))
    batch = world.claim(open_job.batch_ids[0])
    assert world.collections.delete("news").id == world.id
    for call in (world.collections.get, world.collections.delete):
        with pytest.raises(NotFound, match="collection 'news' does not exist"):
            call("news")
    assert world.collections.counts(world.id) == DocumentCounts()
    assert world.batches.complete(batch, [], []) is None
    assert world.batches.claim(batch.id, 60) is None
    assert world.jobs.get(done.job_id).state == "succeeded"
    cancelled = world.jobs.get(open_job.job_id)
    assert cancelled.state == "cancelled"
    assert (cancelled.total, cancelled.done, cancelled.failed) == (2, 0, 2)
    assert cancelled.errors == tuple(RejectedItem(id_, DELETED_REASON) for id_ in ("a", "b"))
    assert world.jobs.cancel(open_job.job_id).collection == "news"
    assert world.batches.unfinished() == []
    assert other.counts() == (1, 0, 0)


def test_a_job_cut_off_by_the_deletion_of_its_collection_has_nothing_left_to_do(world: World) -> None:
    bad = [RejectedItem("bad", "no text")]
    job = world.send(*(new(f"{i:03}") for i in range(MAX_BATCH_DOCUMENTS + 3)), rejected=bad)
    batch = world.claim(job.batch_ids[0])
    world.batches.complete(batch, encode(batch.items), [])
    world.collections.delete("news")
    assert world.progress(job.job_id) == ("cancelled", MAX_BATCH_DOCUMENTS + 4, MAX_BATCH_DOCUMENTS, 4)
    assert [error.id for error in world.jobs.get(job.job_id).errors] == ["bad", "256", "257", "258"]


def test_the_id_of_a_deleted_collection_is_not_given_out_again(world: World) -> None:
    world.collections.delete("news")
    again, _ = world.collections.create("news", "", ENCODER, CollectionSettings())
    assert again.id > world.id
    assert again.uid != world.collection.uid


def test_others_write_while_the_rows_of_a_large_collection_are_removed(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(removal, "MAX_DOCUMENTS", 2)
    other = World(world.database, "other", world.clock)
    world.add(*(new(f"{i}") for i in range(7)))
    world.send(new("waits"))
    some = removal._clear_some

    def clear_some(database: Database, collection_id: int) -> bool:
        other.add(new(f"{len(list_ids(other))}"))
        world.collections.create("news", "the next", ENCODER, CollectionSettings())
        return some(database, collection_id)

    monkeypatch.setattr(removal, "_clear_some", clear_some)
    world.collections.delete("news")
    assert len(list_ids(other)) == 5
    assert rows_of(world) == (0, 0)
    assert world.collections.get("news").description == "the next"


def test_what_a_killed_deletion_left_is_out_of_reach_and_removed_by_the_purge(
    world: World, backups: SqlBackups, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.add(new("a"))
    waiting = world.send(new("a", "new"), new("b"))
    held = world.claim(waiting.batch_ids[0])
    with monkeypatch.context() as patch:
        patch.setattr(removal, "_clear_some", lambda *_: False)  # as if the process had died
        world.collections.delete("news")
    assert rows_of(world)[0] == 2
    assert world.collections.list() == []
    assert world.batches.unfinished() == []
    assert world.batches.complete(held, [], []) is None
    for call in (
        lambda: world.documents.submit(world.id, [new("c")], []),
        lambda: world.documents.delete(world.id, ["a"]),
        lambda: world.jobs.create(world.id, JobKind.IMPORT, {}),
        lambda: world.log.read(world.id, (0, 0), 10),
        lambda: world.labels.labelled(world.id, "year", 0, 10),
        lambda: world.labels.document_vectors(world.id, 0, 10),
    ):
        with pytest.raises(CollectionGone):
            call()
    job = world.long_jobs.open(JobKind.BACKUP, "", {})
    assert backups.create(job.id, "b", None, lambda _: None).collections == ()
    world.retention.purge(world.clock.now)
    assert rows_of(world) == (0, 0)


def test_rows_that_the_database_does_not_let_go_are_left_to_the_purge(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.add(new("a"))

    def refuse(*_: object) -> bool:
        raise Unavailable("the database is away or restarting; retry")

    with monkeypatch.context() as patch:
        patch.setattr(removal, "_clear_some", refuse)
        assert world.collections.delete("news").id == world.id
    world.retention.purge(world.clock.now)
    assert rows_of(world) == (0, 0)


def list_ids(world: World) -> list[str]:
    return [document.external_id for document in world.documents.list(world.id, None, 100, None)]


def rows_of(world: World) -> tuple[int, int]:
    """How many documents and collections of this id are stored."""
    documents = select(func.count()).where(Documents.collection_id == world.id)
    collections = select(func.count()).where(Collections.id == world.id)
    with world.database.read() as connection:
        return connection.execute(documents).scalar_one(), connection.execute(collections).scalar_one()
