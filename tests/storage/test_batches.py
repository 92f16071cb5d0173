"""Leases, fencing and publishing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from core.errors import EncoderMismatch
from core.job_types import FailedDocument, JobKind, Task, TaskKind
from core.types import RejectedItem
from storage.batches import NOT_RETURNED
from tests.storage.world import World, encode, new, vectors


def test_a_claim_takes_the_lease_and_starts_the_job(world: World) -> None:
    accepted = world.send(new("b", "text b"), new("a", "text a", "title a"))
    world.clock.advance(5)
    batch = world.claim(accepted.batch_ids[0])
    assert [(i.external_id, i.title, i.text) for i in batch.items] == [
        ("b", "", "text b"),
        ("a", "title a", "text a"),
    ]
    assert (batch.job_id, batch.attempt) == (accepted.job_id, 1)
    assert batch.collection == world.collection
    assert world.jobs.get(accepted.job_id).started_at == world.clock.now
    assert world.batches.claim(batch.id, 60) is None
    assert world.batches.claim("nope", 60) is None


def test_vectors_come_back_as_they_went_in(world: World) -> None:
    world.add(new("a", "some words", "title"))
    [entry] = world.read_log()
    assert entry.vectors.dtype == np.float16
    np.testing.assert_array_equal(entry.vectors, vectors("title", "some words"))
    assert entry.passage_ids.dtype == np.int64


def test_completing_twice_does_nothing_the_second_time(world: World) -> None:
    accepted = world.send(new("a"))
    batch = world.claim(accepted.batch_ids[0])
    assert world.batches.complete(batch, encode(batch.items), []) == 1
    before = world.read_log()[0].passage_ids.tolist()
    assert world.batches.complete(batch, encode(batch.items), []) is None
    assert world.batches.claim(batch.id, 60) is None
    assert world.seq == 1
    assert world.read_log()[0].passage_ids.tolist() == before
    assert world.progress(accepted.job_id) == ("succeeded", 1, 1, 0)


def test_an_expired_lease_goes_to_another_and_the_first_is_fenced_off(world: World) -> None:
    accepted = world.send(new("a"))
    first = world.claim(accepted.batch_ids[0], lease_s=10)
    assert world.batches.unfinished() == []
    world.clock.advance(11)
    assert world.batches.unfinished() == [Task(TaskKind.INGEST_BATCH, first.id)]
    second = world.claim(first.id)
    assert second.attempt == 2
    assert world.batches.complete(first, encode(first.items), []) is None
    assert (first.is_taken_over, second.is_taken_over) == (False, True)
    world.batches.release(first)  # not its lease any more
    assert world.batches.claim(first.id, 60) is None
    assert world.counts() == (0, 1, 0)
    assert world.batches.complete(second, encode(second.items), []) == 1


def test_an_expired_lease_that_nobody_took_still_completes(world: World) -> None:
    batch = world.claim(world.send(new("a")).batch_ids[0], lease_s=1)
    world.clock.advance(100)
    assert world.batches.complete(batch, encode(batch.items), []) == 1


def test_a_released_batch_can_be_claimed_at_once(world: World) -> None:
    batch = world.claim(world.send(new("a")).batch_ids[0])
    world.batches.release(batch)
    again = world.claim(batch.id)
    assert (again.attempt, again.is_taken_over) == (2, False)
    assert world.batches.complete(batch, encode(batch.items), []) is None


def test_failed_documents_tell_why_and_the_others_are_searchable(world: World) -> None:
    accepted = world.send(new("a"), new("b"), new("c"))
    batch = world.claim(accepted.batch_ids[0])
    good, bad, forgotten = batch.items
    failed = [FailedDocument(bad.document_id, bad.external_id, "too long")]
    world.batches.complete(batch, encode([good]), failed)
    assert world.counts() == (1, 0, 2)
    assert world.documents.get(world.id, "b").reason == "too long"
    assert world.documents.get(world.id, forgotten.external_id).reason == NOT_RETURNED
    assert world.progress(accepted.job_id) == ("partial", 3, 1, 2)
    assert set(world.jobs.get(accepted.job_id).errors) == {
        RejectedItem("b", "too long"),
        RejectedItem("c", NOT_RETURNED),
    }


@pytest.mark.parametrize("reason", ["bad \0 byte", "half \ud800 pair"])
def test_a_reason_that_no_database_takes_is_told_without_what_it_does_not_take(
    world: World, reason: str
) -> None:
    accepted = world.send(new("a"))
    world.fail(accepted, reason)
    (listed,) = world.jobs.get(accepted.job_id).errors
    assert world.documents.get(world.id, "a").reason == listed.reason
    assert listed.reason.replace("\N{REPLACEMENT CHARACTER}", "?") in ("bad ? byte", "half ? pair")


def test_a_batch_that_failed_altogether_moves_no_seq(world: World) -> None:
    accepted = world.send(new("a"))
    world.fail(accepted)
    assert world.seq == 0
    assert world.progress(accepted.job_id) == ("failed", 1, 0, 1)


def test_a_failed_update_leaves_the_old_version_searchable_and_says_so(world: World) -> None:
    world.add(new("a", "old"))
    update = world.send(new("a", "new"))
    world.fail(update)
    document = world.documents.get(world.id, "a")
    assert (document.state, document.text) == ("searchable", "old")
    assert document.reason == "last update failed: too hot"
    assert world.found() == {"a": "old"}
    assert world.counts() == (1, 0, 0)
    assert world.progress(update.job_id) == ("failed", 1, 0, 1)
    world.send(new("a", "old"))  # what is searchable is wanted again
    assert world.documents.get(world.id, "a").reason is None


def test_a_document_deleted_while_it_is_encoded_stays_deleted(world: World) -> None:
    accepted = world.send(new("a"), new("b"))
    batch = world.claim(accepted.batch_ids[0])
    world.documents.delete(world.id, ["a"])
    world.batches.complete(batch, encode(batch.items), [])
    assert world.counts() == (1, 0, 0)
    assert list(world.found()) == ["b"]
    assert world.progress(accepted.job_id) == ("succeeded", 2, 2, 0)


def test_a_document_deleted_and_sent_again_while_it_is_encoded_waits_for_its_own_batch(world: World) -> None:
    batch = world.claim(world.send(new("a", "one")).batch_ids[0])
    world.documents.delete(world.id, ["a"])
    again = world.send(new("a", "one"))
    world.batches.complete(batch, encode(batch.items), [])
    assert world.counts() == (0, 1, 0)
    world.encode(again)
    assert world.counts() == (1, 0, 0)


def test_vectors_of_another_shape_are_refused_and_leave_no_trace(world: World) -> None:
    accepted = world.send(new("a", "one"), new("b", "two"))
    batch = world.claim(accepted.batch_ids[0])
    good, bad = encode(batch.items)
    with pytest.raises(EncoderMismatch, match=r"vectors of shape \(2, 3\).*needs \(2, 4\)"):
        world.batches.complete(batch, [good, replace(bad, vectors=np.ones((2, 3), np.float16))], [])
    assert (world.seq, world.counts()) == (0, (0, 2, 0))
    assert world.batches.complete(batch, [good, bad], []) == 1


def test_passage_ids_are_never_given_out_twice(world: World) -> None:
    world.add(new("a"))
    seen = set(world.read_log()[0].passage_ids.tolist())
    world.documents.delete(world.id, ["a"])
    world.add(new("b"))
    again = {i for entry in world.read_log() for i in entry.passage_ids.tolist()}
    assert min(again) > max(seen)


def test_unfinished_lists_what_nobody_holds_and_all_once_leases_are_released(world: World) -> None:
    queued = world.send(new("a")).batch_ids[0]
    held = world.send(new("b")).batch_ids[0]
    done = world.send(new("c"))
    world.encode(done)
    world.claim(held)
    importing = world.start_job(JobKind.IMPORT)
    read_to_the_end = world.start_job(JobKind.IMPORT)
    part = world.documents.accept(read_to_the_end, [new("d")], is_last=True).batch_ids[0]
    file = Task(TaskKind.IMPORT_FILE, importing)
    free = [Task(TaskKind.INGEST_BATCH, id_) for id_ in (queued, part)]
    assert world.batches.unfinished() == [*free, file]
    assert [task.is_bulk for task in world.batches.unfinished()] == [False, True, False]
    world.batches.release_all()
    everything = world.batches.unfinished()
    assert world.batches.claim(held, 60) is not None, "a released batch can be claimed at once"
    assert everything == [*free[:1], Task(TaskKind.INGEST_BATCH, held), *free[1:], file]
