"""Tries, extended leases, and bisecting until the document at fault stands alone."""

from __future__ import annotations

import math
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest

from core.job_types import BatchStanding, ClaimedBatch, Task, TaskKind
from core.types import RejectedItem
from storage.acceptance import MAX_BATCH_DOCUMENTS
from storage.batches import SqlBatchStore
from storage.bisecting import CRASHED, MAX_TRIES
from storage.database import Database
from tests.storage.world import World, encode, new

LEASE_S = 10.0
POISON = "poison"


def crash(world: World, batch_id: str) -> None:
    """A worker claims the batch and is never heard of again."""
    world.claim(batch_id, LEASE_S)
    world.clock.advance(LEASE_S + 1)


def spend(world: World, batch_id: str) -> None:
    while world.batches.standing(batch_id) is not BatchStanding.SPENT:
        crash(world, batch_id)


def run_all(world: World) -> int:
    """Works on all batches as a worker that dies of the poison would; how often it died."""
    crashes = 0
    while tasks := world.batches.unfinished():
        for task in tasks:
            if world.batches.standing(task.id) is BatchStanding.SPENT:
                world.batches.bisect(task.id)
            elif batch := world.batches.claim(task.id, LEASE_S):
                if any(item.external_id.startswith(POISON) for item in batch.items):
                    crashes += 1
                    world.clock.advance(LEASE_S + 1)
                else:
                    world.batches.complete(batch, encode(batch.items), [])
    return crashes


@pytest.mark.parametrize("size", [1, 2, 3, 128, 1000])
def test_a_document_that_kills_its_worker_fails_alone_after_few_crashes(world: World, size: int) -> None:
    documents = [new(f"{i:04}") for i in range(size - 1)]
    documents.insert(size // 2, new(POISON))
    accepted = world.send(*documents)
    crashes = run_all(world)
    assert crashes <= (
        MAX_TRIES if size == 1 else 2 * MAX_TRIES + math.ceil(math.log2(min(size, MAX_BATCH_DOCUMENTS))) - 1
    )
    assert world.counts() == (size - 1, 0, 1)
    assert world.progress(accepted.job_id) == ("partial" if size > 1 else "failed", size, size - 1, 1)
    reason = CRASHED.format(tries=MAX_TRIES)
    assert world.jobs.get(accepted.job_id).errors == (RejectedItem(POISON, reason),)
    assert world.documents.get(world.id, POISON).reason == reason
    assert POISON not in world.found()
    assert world.batches.unfinished() == []


def test_every_poison_document_stands_alone_in_the_end_and_keeps_its_old_version(world: World) -> None:
    world.add(new(POISON, "old"))
    names = [f"{i}" for i in range(20)]
    accepted = world.send(*(new(id_, "new") for id_ in [POISON, *names, f"{POISON} 2", f"{POISON} 3"]))
    run_all(world)
    assert world.progress(accepted.job_id) == ("partial", 23, 20, 3)
    assert world.counts() == (21, 0, 2)
    assert world.found() == dict.fromkeys(names, "new") | {POISON: "old"}


def test_the_halves_have_each_document_once_and_stand_under_suspicion(world: World) -> None:
    accepted = world.send(*(new(str(i)) for i in range(5)))
    [whole] = accepted.batch_ids
    spend(world, whole)
    halves = world.batches.bisect(whole)
    assert [world.batches.standing(half) for half in halves] == [BatchStanding.SUSPECT] * 2
    claimed = [[i.external_id for i in world.claim(half).items] for half in halves]
    assert claimed == [["0", "1", "2"], ["3", "4"]]
    assert world.batches.standing(whole) is None
    assert world.batches.claim(whole, LEASE_S) is None
    assert world.progress(accepted.job_id) == ("running", 5, 0, 0)
    assert world.counts() == (0, 5, 0)


def test_bisecting_does_nothing_to_other_batches_nor_twice(world: World) -> None:
    fresh, spent, done = (world.send(new(id_), new(f"{id_}2")).batch_ids[0] for id_ in "abc")
    world.batches.complete(world.claim(done), [], [])
    spend(world, spent)
    assert world.batches.bisect(fresh) == world.batches.bisect(done) == world.batches.bisect("nope") == ()
    assert len(world.batches.bisect(spent)) == 2
    assert world.batches.bisect(spent) == ()
    assert world.counts() == (0, 4, 2)


def test_a_spent_batch_is_not_claimed_but_found_by_the_sweep(world: World) -> None:
    [batch_id] = world.send(new("a"), new("b")).batch_ids
    assert world.batches.standing(batch_id) is BatchStanding.FRESH
    for _ in range(MAX_TRIES):
        world.claim(batch_id, LEASE_S)
        assert world.batches.standing(batch_id) is None, "somebody holds it"
        world.clock.advance(LEASE_S + 1)
    assert world.batches.standing(batch_id) is BatchStanding.SPENT
    assert world.batches.claim(batch_id, LEASE_S) is None
    assert world.batches.unfinished() == [Task(TaskKind.INGEST_BATCH, batch_id)]


def test_a_lease_given_back_without_fault_is_as_if_it_had_not_been(world: World) -> None:
    [batch_id] = world.send(new("a")).batch_ids
    for attempt in range(1, 10):
        batch = world.claim(batch_id)
        assert batch.attempt == attempt, "the fence moves on all the same"
        world.batches.release(batch)
        world.batches.release(batch)  # twice is once
        assert world.batches.standing(batch_id) is BatchStanding.FRESH


def test_a_fault_counts_and_its_reason_stays_with_the_document(world: World) -> None:
    accepted = world.send(new("a"))
    [batch_id] = accepted.batch_ids
    for number in range(MAX_TRIES):
        world.batches.release(world.claim(batch_id), f"ValueError: number {number}\0")
    assert world.batches.bisect(batch_id) == ()
    [error] = world.jobs.get(accepted.job_id).errors
    assert error.reason.startswith("could not be stored after 3 tries: ValueError: number 2")


def test_a_crash_after_a_fault_is_told_as_a_crash(world: World) -> None:
    accepted = world.send(new("a"))
    [batch_id] = accepted.batch_ids
    world.batches.release(world.claim(batch_id), "ValueError: no")
    spend(world, batch_id)
    world.batches.bisect(batch_id)
    assert world.jobs.get(accepted.job_id).errors[0].reason == CRASHED.format(tries=MAX_TRIES)


def test_ending_all_leases_at_a_start_forgets_no_try(world: World) -> None:
    [batch_id] = world.send(new("a"), new("b")).batch_ids
    for _ in range(MAX_TRIES):
        world.claim(batch_id)
        world.batches.release_all()
    assert world.batches.standing(batch_id) is BatchStanding.SPENT


def test_a_spent_batch_of_which_one_document_is_left_gets_three_tries_alone(world: World) -> None:
    [whole] = world.send(new("a"), new("b"), new("c"), new("d")).batch_ids
    spend(world, whole)
    first, _ = world.batches.bisect(whole)
    spend(world, first)
    world.documents.delete(world.id, ["a"])
    [alone] = world.batches.bisect(first)
    assert world.batches.standing(alone) is BatchStanding.SUSPECT
    for _ in range(MAX_TRIES):
        crash(world, alone)
    assert world.batches.bisect(alone) == ()
    assert world.documents.get(world.id, "b").state == "failed"


def test_a_spent_batch_of_which_nothing_is_left_just_ends(world: World) -> None:
    accepted = world.send(new("a"), new("b"))
    spend(world, accepted.batch_ids[0])
    world.documents.delete(world.id, ["a", "b"])
    assert world.batches.bisect(accepted.batch_ids[0]) == ()
    assert world.batches.unfinished() == []
    assert world.progress(accepted.job_id) == ("succeeded", 2, 2, 0)


def test_cancelling_reaches_the_halves(world: World) -> None:
    accepted = world.send(*(new(str(i)) for i in range(8)))
    spend(world, accepted.batch_ids[0])
    halves = world.batches.bisect(accepted.batch_ids[0])
    running = world.claim(halves[0])
    assert world.progress(world.jobs.cancel(accepted.job_id).id) == ("cancelled", 8, 0, 8)
    assert not world.batches.extend(running, LEASE_S)
    assert world.batches.complete(running, encode(running.items), []) is None
    assert world.batches.unfinished() == []
    assert world.counts() == (0, 0, 8)


def test_a_lease_that_is_extended_does_not_run_out(world: World) -> None:
    batch = world.claim(world.send(new("a")).batch_ids[0], LEASE_S)
    for _ in range(5):
        world.clock.advance(LEASE_S - 1)
        assert world.batches.extend(batch, LEASE_S)
        assert world.batches.claim(batch.id, LEASE_S) is None
    world.clock.advance(LEASE_S + 1)
    second = world.claim(batch.id, LEASE_S)
    assert not world.batches.extend(batch, LEASE_S), "it went to another"
    assert world.batches.extend(second, LEASE_S)
    world.batches.complete(second, encode(second.items), [])
    assert not world.batches.extend(second, LEASE_S)


def test_a_batch_is_bisected_once_however_many_try(world: World) -> None:
    [batch_id] = world.send(*(new(f"{i:03}") for i in range(100))).batch_ids
    spend(world, batch_id)
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(world.batches.bisect, [batch_id] * 16))
    assert sorted(map(len, found)) == [0] * 15 + [2]


def test_workers_of_two_processes_share_a_lease_out_to_one_however_often_it_expires(
    world: World, database_url: str
) -> None:
    """Claims race from two connections' pools; of each round exactly one wins, and one result counts."""
    accepted = world.send(*(new(f"{i:02}") for i in range(10)))
    [batch_id] = accepted.batch_ids
    elsewhere = Database(database_url)
    try:
        stores = [world.batches, World(elsewhere, "other", world.clock).batches] * 3
        attempts: Counter[int] = Counter()
        claims: list[ClaimedBatch] = []
        for _ in range(MAX_TRIES):
            start = threading.Barrier(len(stores))

            def claim(store: SqlBatchStore, start: threading.Barrier = start) -> ClaimedBatch | None:
                start.wait(20)
                return store.claim(batch_id, LEASE_S)

            with ThreadPoolExecutor(len(stores)) as pool:
                claims += [batch for batch in pool.map(claim, stores) if batch]
            world.clock.advance(LEASE_S + 1)
        attempts.update(batch.attempt for batch in claims)
        assert attempts == dict.fromkeys(range(1, MAX_TRIES + 1), 1)
        completed = [world.batches.complete(batch, encode(batch.items), []) for batch in claims]
        assert completed == [None] * (MAX_TRIES - 1) + [1]
        assert world.progress(accepted.job_id) == ("succeeded", 10, 10, 0)
    finally:
        elsewhere.close()
