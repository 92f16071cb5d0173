"""What accepting documents does, case by case."""

from __future__ import annotations

import pytest

from core.errors import Conflict, NotFound
from core.job_types import JobKind
from core.types import DocumentState, RejectedItem
from storage.acceptance import MAX_BATCH_CHARACTERS, MAX_BATCH_DOCUMENTS
from tests.storage.world import World, encode, new


def test_a_new_document_is_pending_until_its_batch_completes(world: World) -> None:
    accepted = world.send(new("a", "hello", "T", year=2020))
    assert world.counts() == (0, 1, 0)
    assert world.progress(accepted.job_id) == ("queued", 1, 0, 0)
    assert (accepted.seq, world.seq, len(accepted.batch_ids)) == (None, 0, 1)

    world.encode(accepted)
    document = world.documents.get(world.id, "a")
    assert (document.title, document.text, dict(document.metadata)) == ("T", "hello", {"year": 2020})
    assert (document.state, document.seq, document.job_id) == ("searchable", 1, accepted.job_id)
    assert world.counts() == (1, 0, 0)
    assert world.collections.counts(world.id).passages == 2
    assert world.progress(accepted.job_id) == ("succeeded", 1, 1, 0)
    assert world.jobs.get(accepted.job_id).seq == 1


def test_the_same_document_again_is_no_work(world: World) -> None:
    world.add(new("a", year=1))
    again = world.send(new("a", year=1))
    assert (again.batch_ids, again.seq, world.seq) == ((), None, 1)
    assert world.progress(again.job_id) == ("succeeded", 1, 1, 0)
    assert world.jobs.get(again.job_id).seq == 1  # what an index must have applied to show it


def test_changed_metadata_alone_apply_at_once_with_a_seq_and_no_encoding(world: World) -> None:
    world.add(new("a", year=1), new("b", year=1), new("c", year=1))
    before = [entry.passage_ids.tolist() for entry in world.read_log()[:2]]
    changed = world.send(new("a", year=2), new("b", year=2), new("c", year=1))
    assert (changed.batch_ids, changed.seq, world.seq) == ((), 2, 2)
    assert world.progress(changed.job_id) == ("succeeded", 3, 3, 0)
    assert world.jobs.get(changed.job_id).seq == 2
    assert dict(world.documents.get(world.id, "a").metadata) == {"year": 2}
    entries = world.read_log((1, 2**62))
    assert [entry.passage_ids.tolist() for entry in entries] == before


def test_an_update_keeps_the_old_version_searchable_until_it_completes(world: World) -> None:
    world.add(new("a", "old text", v=1))
    update = world.send(new("a", "new text", v=2))
    assert world.counts() == (1, 0, 0)
    assert world.found() == {"a": "old text"}
    newest = world.documents.get(world.id, "a")
    assert (newest.text, dict(newest.metadata), newest.state) == ("new text", {"v": 2}, "searchable")
    assert (newest.is_update_pending, world.collections.counts(world.id).updates_pending) == (True, 1)
    [passage_id, _] = world.read_log()[0].passage_ids.tolist()
    assert dict(world.documents.passages(world.id, [passage_id])[passage_id].metadata) == {"v": 1}

    batch = world.claim(update.batch_ids[0])
    assert [item.text for item in batch.items] == ["new text"]
    assert world.found() == {"a": "old text"}
    world.batches.release(batch)
    world.encode(update)
    assert world.found() == {"a": "new text"}
    assert not world.documents.get(world.id, "a").is_update_pending
    assert world.collections.counts(world.id).updates_pending == 0
    assert world.documents.passages(world.id, [passage_id]) == {}
    assert world.collections.counts(world.id).passages == 2
    assert world.progress(update.job_id) == ("succeeded", 1, 1, 0)


def test_the_earlier_job_waits_for_the_new_content_of_its_pending_document(world: World) -> None:
    first = world.send(new("a", "one"), new("b", "one"))
    second = world.send(new("a", "two"))
    assert world.progress(first.job_id) == ("queued", 2, 0, 0)
    assert world.progress(second.job_id) == ("queued", 1, 0, 0)
    world.encode(first)
    assert world.found() == {"b": "one"}
    assert world.progress(first.job_id) == ("running", 2, 1, 0)
    world.encode(second)
    assert world.found() == {"a": "two", "b": "one"}
    assert world.progress(first.job_id) == ("succeeded", 2, 2, 0)
    assert world.progress(second.job_id) == ("succeeded", 1, 1, 0)
    assert world.jobs.get(first.job_id).seq == world.seq


def test_a_job_whose_documents_were_all_replaced_ends_with_the_newer_ones(world: World) -> None:
    first = world.send(new("a", "one"))
    second = world.send(new("a", "two"))
    assert world.batches.claim(first.batch_ids[0], 60) is None, "nothing of its batch is left"
    assert world.progress(first.job_id) == ("queued", 1, 0, 0)
    world.claim(second.batch_ids[0], lease_s=1)
    assert world.progress(first.job_id) == ("running", 1, 0, 0), "another job's batch is its work too"
    world.clock.advance(2)
    world.encode(second)
    assert world.found() == {"a": "two"}
    assert world.progress(first.job_id) == ("succeeded", 1, 1, 0)


def test_all_jobs_that_wait_for_a_document_are_told_that_it_failed(world: World) -> None:
    sent = [world.send(new("a", text)) for text in ("one", "one", "two")]
    world.fail(sent[2])
    for accepted in sent:
        assert world.progress(accepted.job_id) == ("failed", 1, 0, 1)
        assert world.jobs.get(accepted.job_id).errors == (RejectedItem("a", "too hot"),)


def test_a_second_update_replaces_the_first(world: World) -> None:
    world.add(new("a", "one"))
    second = world.send(new("a", "two"))
    batch = world.claim(second.batch_ids[0])
    third = world.send(new("a", "three"))
    assert world.batches.complete(batch, [], []) == 1  # nothing of it is left
    assert world.found() == {"a": "one"}
    world.encode(third)
    assert world.found() == {"a": "three"}


@pytest.mark.parametrize("was_searchable", [False, True])
def test_content_that_already_awaits_encoding_is_not_queued_twice(world: World, was_searchable: bool) -> None:
    if was_searchable:
        world.add(new("a", "zero"))
    first = world.send(new("a", "one", v=1))
    retry = world.send(new("a", "one", v=2))
    assert retry.batch_ids == ()
    assert world.progress(first.job_id) == ("queued", 1, 0, 0)
    assert world.progress(retry.job_id) == ("queued", 1, 0, 0)
    assert world.documents.get(world.id, "a").job_id == retry.job_id

    batch = world.claim(first.batch_ids[0])
    assert world.progress(retry.job_id) == ("running", 1, 0, 0)
    world.batches.release(batch)
    world.encode(first)
    assert world.progress(first.job_id) == ("succeeded", 1, 1, 0)
    assert world.progress(retry.job_id) == ("succeeded", 1, 1, 0)
    assert dict(world.documents.get(world.id, "a").metadata) == {"v": 2}
    assert world.found() == {"a": "one"}


def test_going_back_to_the_searchable_version_drops_the_update(world: World) -> None:
    world.add(new("a", "one", v=1))
    update = world.send(new("a", "two"))
    back = world.send(new("a", "one", v=2))
    assert (back.batch_ids, back.seq) == ((), 2)
    assert world.progress(update.job_id) == ("succeeded", 1, 1, 0)
    assert world.jobs.get(update.job_id).seq == 2
    assert world.batches.claim(update.batch_ids[0], 60) is None
    assert world.documents.get(world.id, "a").text == "one"
    assert dict(world.documents.get(world.id, "a").metadata) == {"v": 2}


def test_a_failed_document_is_tried_again_when_sent_again(world: World) -> None:
    world.fail(world.send(new("a")))
    assert world.counts() == (0, 0, 1)
    again = world.send(new("a"))
    assert world.counts() == (0, 1, 0)
    assert world.documents.get(world.id, "a").reason is None
    world.encode(again)
    assert world.counts() == (1, 0, 0)


def test_a_deleted_document_can_come_back(world: World) -> None:
    world.add(new("a", "one"))
    world.documents.delete(world.id, ["a"])
    back = world.send(new("a", "one"))
    assert world.counts() == (0, 1, 0)
    world.encode(back)
    assert world.found() == {"a": "one"}


def test_rejected_items_are_listed_and_counted_and_sink_nothing(world: World) -> None:
    accepted = world.send(
        new("a"),
        rejected=[RejectedItem("x", "no text"), RejectedItem(None, "no id\0"), RejectedItem("\ud800", "?")],
    )
    world.encode(accepted)
    assert world.progress(accepted.job_id) == ("partial", 4, 1, 3)
    errors = world.jobs.get(accepted.job_id).errors
    assert errors == (RejectedItem("x", "no text"), RejectedItem(None, "no id�"), RejectedItem("?", "?"))


def test_a_job_with_rejected_items_only_fails(world: World) -> None:
    accepted = world.send(rejected=[RejectedItem("x", "no text")])
    assert world.progress(accepted.job_id) == ("failed", 1, 0, 1)


def test_a_job_without_documents_succeeds(world: World) -> None:
    job = world.jobs.get(world.send().job_id)
    assert job.state == "succeeded"
    assert job.finished_at == job.started_at == world.clock.now


@pytest.mark.parametrize("chunks", [(5,), (1, 4), (2, 3), (1, 1, 1, 1, 1)])
@pytest.mark.parametrize("before", [None, "one", "three", "old"])
def test_of_an_id_sent_several_times_the_last_counts_however_a_job_is_cut(
    world: World, chunks: tuple[int, ...], before: str | None
) -> None:
    if before is not None:
        world.add(new("a", before))
    sent = [new("a", "one"), new("b"), new("a", "two"), new("c"), new("a", "three")]
    job_id = world.start_job(JobKind.IMPORT)
    batch_ids: list[str] = []
    for size in chunks:
        part, sent = sent[:size], sent[size:]
        batch_ids += world.documents.accept(job_id, part, is_last=not sent).batch_ids
    assert world.jobs.get(job_id).total == 5
    for batch_id in batch_ids:
        if batch := world.batches.claim(
            batch_id, 60.0
        ):  # of one whose documents were sent again nothing is left
            world.batches.complete(batch, encode(batch.items), [])
    assert world.found() == {"a": "three", "b": "some text", "c": "some text"}
    assert world.progress(job_id) == ("succeeded", 5, 5, 0)
    assert world.jobs.get(job_id).errors == ()


def test_an_id_sent_several_times_fails_as_often_when_its_last_version_does(world: World) -> None:
    accepted = world.send(new("a", "one"), new("a", "two"))
    world.fail(accepted)
    assert world.progress(accepted.job_id) == ("failed", 2, 0, 2)


def test_batches_respect_both_limits_and_keep_the_order(world: World) -> None:
    many = world.send(*(new(f"{i:04}") for i in range(2 * MAX_BATCH_DOCUMENTS + 1)))
    sizes = [len(world.claim(batch_id).items) for batch_id in many.batch_ids]
    assert sizes == [MAX_BATCH_DOCUMENTS, MAX_BATCH_DOCUMENTS, 1]
    assert list(many.batch_ids) == sorted(many.batch_ids)
    half = "x" * (MAX_BATCH_CHARACTERS // 2)
    big = world.send(new("b1", half), new("b2", half), new("b3", half * 4), new("b4"))
    items = [[item.external_id for item in world.claim(id_).items] for id_ in big.batch_ids]
    assert items == [["b1", "b2"], ["b3"], ["b4"]]


def test_more_documents_than_one_statement_takes(world: World) -> None:
    texts = [new(f"{i:04}", f"text {i}") for i in range(1203)]
    first = world.add(*texts)
    assert world.counts() == (1203, 0, 0)
    assert world.progress(first.job_id) == ("succeeded", 1203, 1203, 0)
    changed = [new(f"{i:04}", f"text {i}" if i % 2 else f"other {i}") for i in range(1203)]
    second = world.add(*changed)
    assert sum(1 for text in world.found().values() if text.startswith("other")) == 602
    assert world.progress(second.job_id) == ("succeeded", 1203, 1203, 0)


def test_an_import_accepts_in_parts_and_ends_with_the_last(world: World) -> None:
    job_id = world.start_job(JobKind.IMPORT)
    part = world.documents.accept(job_id, [new("a")], details={"row": 1}, is_last=False)
    assert world.progress(job_id) == ("running", 1, 0, 0)
    world.encode(part)
    assert world.progress(job_id) == ("running", 1, 1, 0)
    again = world.documents.accept(job_id, [new("a", "newer")], details={"row": 2}, is_last=False)
    again_too = world.documents.accept(job_id, [new("a", "newest")], is_last=False)
    assert world.progress(job_id) == ("running", 3, 1, 0), "both rows of the file wait"
    assert dict(world.jobs.get(job_id).details) == {"row": 2}
    world.encode(again_too)
    assert world.batches.claim(again.batch_ids[0], 60) is None
    assert not world.jobs.get(job_id).is_read
    world.documents.accept(job_id, [], is_last=True)
    assert world.progress(job_id) == ("succeeded", 3, 3, 0)
    assert world.jobs.get(job_id).is_read
    assert world.found() == {"a": "newest"}


def test_submitting_makes_the_job_and_its_documents_together_or_not_at_all(world: World) -> None:
    accepted = world.documents.submit(world.id, [new("a"), new("b", "two")], [RejectedItem("x", "no text")])
    world.encode(accepted)
    assert world.progress(accepted.job_id) == ("partial", 3, 2, 1)
    assert world.found() == {"a": "some text", "b": "two"}
    with pytest.raises(NotFound, match="the collection does not exist any more"):
        world.documents.submit(99, [new("c")], [])
    assert len(world.jobs.list(10)) == 1


def test_a_job_that_is_over_takes_no_documents(world: World) -> None:
    accepted = world.add(new("a"))
    with pytest.raises(Conflict, match="succeeded and takes no more documents"):
        world.documents.accept(accepted.job_id, [new("b")])
    with pytest.raises(NotFound, match="job 'nope' does not exist"):
        world.documents.accept("nope", [new("b")])
    assert world.counts() == (1, 0, 0)


def test_a_document_with_an_empty_text_is_searchable_by_nothing(world: World) -> None:
    world.add(new("a", ""))
    assert world.state("a") is DocumentState.SEARCHABLE
    [entry] = world.read_log()
    assert entry.vectors.shape == (0, 4)
