"""The follower serves what is committed, through news, deletions and restarts."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from core.errors import Unavailable
from core.index_types import LogPage
from core.ports.stores import HeldPassages
from core.types import Collection, SearchDefaults
from indexer.follower import WORKING
from tests.indexer.following import DEAF, QUICK, WAIT_S, Gate, World, eventually


@pytest.fixture
def world(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> World:
    caplog.set_level("INFO")
    return World.at(tmp_path)


def test_all_that_was_committed_is_served_right_after_the_start(world: World) -> None:
    first, second = world.database.add_collection("a"), world.database.add_collection("b")
    world.put(first, *range(30))
    world.put(second, *range(5))
    world.put(first, *range(10, 20), passages=0)
    with world.following() as follower:
        for collection in (first, second):
            assert follower.view(collection).seq == world.database.get(collection.name).seq
            world.assert_served(follower, collection)
        assert follower.lag() == {"a": 0, "b": 0}


@pytest.mark.parametrize("is_deaf", [False, True])
def test_a_changed_row_is_known_without_any_change_of_documents(world: World, is_deaf: bool) -> None:
    collection = world.database.add_collection("a")
    world.notifier.is_deaf = is_deaf
    with world.following() as follower:
        assert follower.newest(collection) == collection
        changed = world.database.change("a", None, SearchDefaults("dense"))
        world.notifier.publish(collection.id, collection.seq)
        eventually(lambda: follower.newest(collection) == changed)


@pytest.mark.parametrize("is_deaf", [False, True])
def test_changes_are_followed_by_news_or_else_by_polling(world: World, is_deaf: bool) -> None:
    collection = world.database.add_collection("a")
    world.notifier.is_deaf = is_deaf
    with world.following() as follower:
        for step in range(10):
            seq = world.put(collection, *range(step, step + 5))
            assert follower.wait_for(collection, seq, WAIT_S)
            world.assert_served(follower, collection)
        assert follower.stats(collection).applied_seq == seq


def test_news_wakes_the_follower_long_before_the_poll(world: World) -> None:
    collection = world.database.add_collection("a")
    with world.following(replace(DEAF, poll_interval_s=1000.0)) as follower:
        seq = world.put(collection, 1)
        eventually(lambda: follower.view(collection).seq == seq)


def test_after_many_changes_the_next_are_gathered_for_a_while(world: World) -> None:
    collection = world.database.add_collection("a")
    with world.following(replace(DEAF, gather_s=2.0, bulk_from=5)) as follower:
        many = world.put(collection, *range(5))
        eventually(lambda: follower.view(collection).seq == many)
        started = time.monotonic()
        seq = world.put(collection, 6)
        eventually(lambda: follower.view(collection).seq == seq)
        assert time.monotonic() - started > 1.5
        started = time.monotonic()
        seq = world.put(collection, 7)  # after few changes nothing is gathered
        eventually(lambda: follower.view(collection).seq == seq)
        assert time.monotonic() - started < 1.5


def test_changes_that_somebody_waits_for_are_not_gathered(world: World) -> None:
    collection = world.database.add_collection("a")
    with world.following(replace(DEAF, gather_s=1000.0, bulk_from=5)) as follower:
        for documents in (range(5), range(5, 10)):
            seq = world.put(collection, *documents)
            assert follower.wait_for(collection, seq, WAIT_S)
        seq = world.put(collection, 11)
        assert follower.wait_for(collection, seq, 0.0) in (True, False)  # one look is enough of a wait
        eventually(lambda: follower.view(collection).seq == seq)


def test_waiting_for_what_never_comes_ends_in_time(world: World) -> None:
    collection = world.database.add_collection("a")
    with world.following() as follower:
        assert not follower.wait_for(collection, 99, 0.05)
        assert follower.wait_for(collection, 0, 0)


def test_a_collection_deleted_while_somebody_waits_is_not_opened_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    collection = world.database.add_collection("a")
    world.put(collection, 1)

    class Deleting(threading.Event):
        """Set when the wait begins; the first time the collection goes."""

        def set(self) -> None:
            if world.database.list():
                world.database.delete(collection.name)
            super().set()

    with world.following() as follower:
        opened: list[int] = []
        really_open = follower._open

        def noted(one: Collection, with_snapshot: bool) -> Any:
            opened.append(threading.get_ident())
            return really_open(one, with_snapshot)

        monkeypatch.setattr(follower, "_open", noted)
        monkeypatch.setattr(follower, "_is_awaited", Deleting())
        assert not follower.wait_for(collection, 99, 0.5)
        assert threading.get_ident() not in opened
        eventually(lambda: not follower.lag())


def test_stopping_ends_a_wait(world: World) -> None:
    collection = world.database.add_collection("a")
    with world.following() as follower:
        answers: list[bool] = []
        waiter = threading.Thread(target=lambda: answers.append(follower.wait_for(collection, 99, 1000)))
        waiter.start()
    waiter.join(WAIT_S)
    assert answers == [False]


def test_a_new_collection_has_an_empty_view_at_once_and_is_followed(world: World) -> None:
    with world.following() as follower:
        collection = world.database.add_collection("new")
        assert follower.view(collection).dense(np.ones((1, 8), dtype=np.float32), 3) == [[]]
        seq = world.put(collection, 1, 2)
        assert follower.wait_for(collection, seq, WAIT_S)
        world.assert_served(follower, collection)


def test_a_deleted_collection_is_dropped_with_its_snapshots(world: World) -> None:
    kept, gone = world.database.add_collection("kept"), world.database.add_collection("gone")
    world.put(kept, 1)
    world.put(gone, 1)
    with world.following(QUICK) as follower:
        eventually(lambda: len(world.snapshots()) == 2)
        world.database.delete("gone")
        eventually(lambda: [path.parent.name for path in world.snapshots()] == [kept.uid])
        assert list(follower.lag()) == ["kept"]


def test_a_collection_made_again_under_the_same_id_starts_empty(world: World) -> None:
    old = world.database.add_collection("a", uid="uid-1")
    world.put(old, 1, 2, 3)
    with world.following(QUICK) as follower:
        eventually(lambda: len(world.snapshots()) == 1)
        with world.database.lock:  # the follower never sees it gone
            world.database.delete("a")
            new = world.database.add_collection("a", uid="uid-2", id_=old.id)
        seq = world.put(new, 7)
        assert follower.wait_for(new, seq, WAIT_S)
        world.assert_served(follower, new)
        folders = working_folders(world)
        for _ in range(3):  # a caller that has not noticed yet
            assert follower.view(old).document_ids().tolist() == []
        assert follower._see(replace(old, seq=5)) is None  # nor has a listing of a moment ago
        assert working_folders(world) == folders
        world.assert_served(follower, new)
    assert [path.parent.name for path in world.snapshots()] == ["uid-2"]


def working_folders(world: World) -> list[Path]:
    """Of indexes that are not closed."""
    return sorted(world.root.with_name(WORKING).iterdir())


def test_a_restart_reads_only_what_is_newer_than_the_snapshot(world: World) -> None:
    collection = world.database.add_collection("a")
    world.put(collection, *range(40))
    with world.following():
        pass
    assert len(world.snapshots()) == 1
    seen: list[tuple[int, int]] = []
    read = world.database.read

    def recording(collection_id: int, cursor: tuple[int, int], limit: int, held: HeldPassages) -> object:
        seen.append(cursor)
        return read(collection_id, cursor, limit, held)

    world.put(collection, 100)
    world.database.read = recording  # type: ignore[method-assign, assignment]
    with world.following() as follower:
        world.assert_served(follower, collection)
    assert min(seen) > (0, 0)


def test_after_a_restart_too_a_change_of_metadata_brings_no_vectors(world: World) -> None:
    collection = world.database.add_collection("a")
    world.put(collection, *range(40))
    with world.following():
        pass
    seen: list[tuple[bool, int]] = []
    read = world.database.read

    def recording(collection_id: int, cursor: tuple[int, int], limit: int, held: HeldPassages) -> LogPage:
        page = read(collection_id, cursor, limit, held)
        seen.extend((entry.is_held, len(entry.vectors)) for entry in page.entries)
        return page

    world.database.read = recording  # type: ignore[method-assign, assignment]
    for document in range(30):
        world.database.touch(collection.id, document)
    with world.following() as follower:
        world.assert_served(follower, collection)
        stats = follower.stats(collection)
    assert seen == [(True, 0)] * 30
    assert (stats.passages, stats.deleted) == (80, 0)


def test_an_unchanged_collection_is_not_written_again(world: World) -> None:
    world.put(world.database.add_collection("a"), 1)
    with world.following():
        pass
    (before,) = world.snapshots()
    with world.following():
        pass
    assert world.snapshots() == [before]


def test_the_delta_is_compacted_in_the_background(world: World) -> None:
    collection = world.database.add_collection("a")
    with world.following(replace(DEAF, page_limit=1000)) as follower:
        world.put(collection, *range(1500))
        eventually(lambda: follower.stats(collection).passages == 3000)
        eventually(lambda: follower.stats(collection).delta == 0)
        assert follower.stats(collection).recall_at_10 == 1.0
        world.assert_served(follower, collection)


def test_a_request_compacts_what_is_too_little_for_the_background(world: World) -> None:
    collection = world.database.add_collection("a")
    with world.following(replace(DEAF, page_limit=1000)) as follower:
        for _ in range(2):  # the second time in place of the first
            seq = world.put(collection, *range(40))
            assert follower.wait_for(collection, seq, WAIT_S)
        eventually(lambda: follower.stats(collection).deleted == 80)
        time.sleep(5 * DEAF.poll_interval_s)
        assert follower.stats(collection).deleted == 80
        world.notifier.request_compaction()
        eventually(lambda: follower.stats(collection).deleted == 0)
        assert follower.stats(collection).passages == 80
        world.assert_served(follower, collection)


def test_a_collection_that_misses_its_recall_target_is_counted(world: World) -> None:
    exact = world.database.add_collection("exact")
    coarse = world.database.add_collection("coarse", index="IVF16,PQ2x4fs")
    with world.following(replace(DEAF, page_limit=20_000, recall_target=1.0)) as follower:
        world.put(exact, *range(3_000), passages=1)
        world.put(coarse, *range(10_500), passages=1)
        eventually(lambda: follower.below_recall_target() == 1)
        eventually(lambda: set(follower.recall()) == {"exact", "coarse"})
        assert follower.recall()["exact"] == 1.0
        assert follower.recall()["coarse"] < 1.0


def add_restored(world: World, name: str = "a", seqs: int = 6) -> Collection:
    """A collection of 5 documents a seq, whose log begins at its present seq; it is not listed yet."""
    made = world.database.add_collection(name, uid=f"restored-{name}")
    world.database.hidden.add(made.id)
    for seq in range(seqs):
        world.put(made, *range(5 * seq, 5 * seq + 5))
    restored = replace(world.database.collections[made.id], purged_seq=seqs)
    world.database.collections[made.id] = restored
    return restored


@pytest.mark.parametrize("pages", [0, 2])
def test_what_appears_with_a_log_that_begins_later_has_no_view_before_that(world: World, pages: int) -> None:
    with world.following() as follower:
        restored = add_restored(world)
        gate = Gate(world, restored, pages)
        world.database.hidden.clear()
        with pytest.raises(Unavailable, match="is being built"):
            follower.view(restored)
        assert gate.reached.wait(WAIT_S)
        with pytest.raises(Unavailable, match=f"applied seq {pages} of 6"):
            follower.view(restored)
        gate.opened.set()
        assert follower.wait_for(restored, restored.seq, WAIT_S)
        world.assert_served(follower, restored)


def test_a_collection_whose_log_begins_later_is_served_when_it_was_built_anew(world: World) -> None:
    with world.following() as follower:
        restored = add_restored(world)
        world.database.hidden.clear()
        assert follower.wait_for(restored, restored.seq, WAIT_S)
        back = replace(restored, seq=3, purged_seq=2)  # as after a restore of the database
        with world.database.lock:
            documents = world.database.documents[restored.id]
            for id_ in [id_ for id_, entry in documents.items() if entry.seq > 3]:
                del documents[id_]
            world.database.collections[restored.id] = back
        eventually(lambda: follower.view(back).seq == 3)
        world.assert_served(follower, back)


def test_a_prepared_collection_is_whole_when_it_is_listed(world: World) -> None:
    old = world.database.add_collection("a")
    with world.following() as follower:
        assert follower.wait_for(old, world.put(old, 1, 2), WAIT_S)
        restored = add_restored(world)
        gate = Gate(world, restored, 2)
        assert not follower.prepare(restored, 0.1)
        world.assert_served(follower, old)
        gate.opened.set()
        assert follower.prepare(restored, WAIT_S)
        time.sleep(5 * DEAF.poll_interval_s)
        with world.database.lock:
            world.database.delete("a")
            world.database.hidden.clear()
        follower.release(restored)
        for _ in range(20):
            world.assert_served(follower, restored)
            time.sleep(DEAF.poll_interval_s / 4)
        seq = world.put(restored, 100)
        assert follower.wait_for(restored, seq, WAIT_S)
        world.assert_served(follower, restored)
        eventually(lambda: [one.collection.uid for one in follower._all()] == [restored.uid])


def test_a_prepared_collection_without_any_change_is_whole_at_once(world: World) -> None:
    with world.following(replace(DEAF, poll_interval_s=1000.0)) as follower:
        empty = add_restored(world, seqs=0)
        started = time.monotonic()
        assert follower.prepare(empty, WAIT_S)
        assert time.monotonic() - started < WAIT_S / 2


def test_a_prepared_collection_that_is_never_listed_is_dropped(world: World) -> None:
    with world.following(QUICK) as follower:
        restored = add_restored(world)
        assert follower.prepare(restored, WAIT_S)
        eventually(lambda: len(world.snapshots()) == 1)
        assert list(follower.lag()) == ["a"]
        follower.release(restored)
        eventually(lambda: not follower.lag())
        eventually(lambda: not world.snapshots())


def test_what_hinders_the_index_of_a_prepared_collection_is_waited_out(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    with world.following() as follower:
        restored = add_restored(world)
        really_open = follower._open

        def refuse(collection: Collection, with_snapshot: bool) -> Any:
            raise OSError("the disk is full")

        with monkeypatch.context() as patch:
            patch.setattr(follower, "_open", refuse)
            assert not follower.prepare(restored, 0.1)
        assert follower._open == really_open
        assert follower.prepare(restored, WAIT_S)
