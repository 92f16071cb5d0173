"""What purging removes, what it leaves, and that nobody waits long for it."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import Connection, event, func, select

import storage.jobs
import storage.retention
from core.errors import NotFound
from core.job_types import JobKind
from core.types import RejectedItem
from storage.collections import lock_collection
from storage.retention import PurgedCounts
from storage.schema import Base, Batches, JobErrors
from tests.storage.world import World, new


def rows(world: World, table: type[Base]) -> int:
    with world.database.read() as connection:
        return connection.execute(select(func.count()).select_from(table)).scalar_one()


def test_old_tombstones_go_and_their_collection_remembers_up_to_where(world: World) -> None:
    other = World(world.database, "other", world.clock)
    other.add(new("a"), new("b"))
    world.add(*(new(id_) for id_ in "abc"))
    world.documents.delete(world.id, ["a"])
    world.clock.advance(100)
    between = world.clock.now
    assert world.retention.purge(between).tombstones == 1
    world.clock.advance(100)
    world.documents.delete(world.id, ["b"])
    assert world.retention.purge(between).tombstones == 0
    assert world.collections.get("news").purged_seq == 2
    assert world.collections.get("other").purged_seq == 0
    assert [len(entry.passage_ids) for entry in world.read_log()] == [2, 0]
    world.add(new("a", "back"))
    assert world.found().keys() == {"a", "c"}
    assert other.found().keys() == {"a", "b"}


def test_a_removal_that_was_sent_again_stays_in_the_log(world: World) -> None:
    world.add(new("a"))
    world.documents.delete(world.id, ["a"])
    world.send(new("a"))
    world.clock.advance(100)
    assert world.retention.purge(world.clock.now).tombstones == 0
    assert [entry.seq for entry in world.read_log((1, 2**62))] == [2]
    assert world.collections.get("news").purged_seq == 0


def test_a_document_that_comes_back_while_purging_runs_is_kept(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage.retention, "MAX_ROWS", 1)
    world.add(new("a"), new("b"))
    world.documents.delete(world.id, ["a", "b"])
    world.clock.advance(100)
    drop = world.retention._drop_tombstones

    def drop_late(*arguments: object) -> int:
        if world.counts() == (0, 0, 0):
            world.add(new("a"))
        return drop(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(world.retention, "_drop_tombstones", drop_late)
    assert world.retention.purge(world.clock.now).tombstones == 1
    assert world.found().keys() == {"a"}


def test_old_finished_jobs_go_with_their_batches_and_errors(world: World) -> None:
    old = world.send(new("a"), rejected=[RejectedItem("x", "no text")])
    world.encode(old)
    unfinished = world.send(new("b"))
    reading = world.start_job(JobKind.IMPORT)
    world.clock.advance(100)
    between = world.clock.now
    world.clock.advance(100)
    recent = world.send(new("c"), rejected=[RejectedItem("y", "no text")])
    world.encode(recent)
    assert world.retention.purge(between) == PurgedCounts(tombstones=0, batches=1, jobs=1)
    with pytest.raises(NotFound):
        world.jobs.get(old.job_id)
    assert {job.id for job in world.jobs.list(10)} == {unfinished.job_id, reading, recent.job_id}
    assert world.jobs.get(recent.job_id).errors == (RejectedItem("y", "no text"),)
    assert (rows(world, JobErrors), rows(world, Batches)) == (1, 2)
    assert world.counts() == (2, 1, 0)
    world.encode(unfinished)
    assert world.found().keys() == {"a", "b", "c"}
    assert world.retention.purge(between) == PurgedCounts(0, 1, 0), "its batch is old, its end is not"
    assert world.batches.claim(old.batch_ids[0], 60) is None


def test_a_cancelled_job_stays_while_another_waits_for_its_batch(world: World) -> None:
    first = world.send(new("a", "one"))
    second = world.send(new("a", "two"))
    world.jobs.cancel(second.job_id)
    world.clock.advance(100)
    assert world.retention.purge(world.clock.now).jobs == 0
    world.encode(second)
    assert world.progress(first.job_id) == ("succeeded", 1, 1, 0)
    assert world.batches.claim(first.batch_ids[0], 60) is None  # its batch was left without documents
    world.clock.advance(100)
    assert world.retention.purge(world.clock.now) == PurgedCounts(0, 2, 2)


def test_many_rows_go_in_transactions_of_bounded_size(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage.retention, "MAX_ROWS", 3)
    ids = [str(i) for i in range(10)]
    for id_ in ids:
        world.add(new(id_))
    rejected = [RejectedItem(id_, "no text") for id_ in ids]
    world.documents.submit(world.id, [], rejected)
    world.documents.delete(world.id, ids)
    world.clock.advance(100)
    removed: list[int] = []
    commits: list[int] = []

    def note(_connection: object, cursor: Any, statement: str, parameters: Any, *_rest: object) -> None:
        if statement.startswith("DELETE"):
            removed.append(len(parameters))

    event.listen(world.database._engine, "before_cursor_execute", note)
    event.listen(world.database._engine, "commit", lambda _: commits.append(1))
    assert world.retention.purge(world.clock.now) == PurgedCounts(10, 10, 11)
    assert rows(world, JobErrors) == 0
    assert max(removed) <= 3 + 4, "keys, and the conditions on tombstones"
    assert len(commits) == len(removed) == 4 * 4


@pytest.mark.parametrize("kind", ["postgres"])  # where a cancel can wait for the collection meanwhile
def test_a_job_that_is_purged_while_its_cancel_waits_does_not_exist(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = world.add(new("a")).job_id
    world.clock.advance(10)

    def lock_late(connection: Connection, collection_id: int) -> bool:
        assert world.retention.purge(world.clock()).jobs == 1
        return lock_collection(connection, collection_id)

    monkeypatch.setattr(storage.jobs, "lock_collection", lock_late)
    with pytest.raises(NotFound, match="does not exist"):
        world.jobs.cancel(job_id)
