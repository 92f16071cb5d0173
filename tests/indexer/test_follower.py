"""The follower serves what is committed, through news, deletions, failures and restarts."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from core.ports.stores import HeldPassages
from core.types import Collection, LogPage, SearchDefaults
from indexer.follower import FollowerSettings, IndexFollower
from indexer.lexical import LexicalIndex
from indexer.snapshot import Layout
from tests.indexer.fakes import FakeDatabase, FakeNotifier, assert_same_hits, brute_force, unit_rows

WAIT_S = 20.0
QUICK = FollowerSettings(poll_interval_s=0.02, page_limit=7, snapshot_interval_s=0.02)
DEAF = FollowerSettings(poll_interval_s=0.02, page_limit=7, snapshot_interval_s=1000)


@dataclass
class World:
    root: Path
    database: FakeDatabase
    notifier: FakeNotifier
    rng: np.random.Generator

    def put(self, collection: Collection, *documents: int, passages: int = 2) -> int:
        seq = self.database.put(collection.id, {id_: unit_rows(self.rng, passages) for id_ in documents})
        self.notifier.publish(collection.id, seq)
        return seq

    @contextmanager
    def following(self, settings: FollowerSettings = DEAF) -> Iterator[IndexFollower]:
        follower = IndexFollower(self.database, self.database, self.notifier, self.root, settings)
        follower.start()
        try:
            yield follower
        finally:
            follower.stop()

    def assert_served(self, follower: IndexFollower, collection: Collection) -> None:
        query = unit_rows(self.rng, 1).astype(np.float32)
        rows = self.database.rows(collection.id)
        assert_same_hits(follower.view(collection).dense(query, 50)[0], brute_force(rows, query[0], 50))

    def snapshots(self) -> list[Path]:
        """Folders of snapshots; `os.walk` takes it calmly when one is removed while it looks."""
        homes = [
            (Path(home), names) for home, names, _ in os.walk(self.root) if Path(home).parent == self.root
        ]
        return sorted(
            home / name for home, names in homes for name in names if name.startswith(Layout.PREFIX)
        )


@pytest.fixture
def world(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> World:
    caplog.set_level("INFO")
    return World(tmp_path / "snapshots", FakeDatabase(), FakeNotifier(), np.random.default_rng(0))


def eventually(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < deadline, "it never became true"
        time.sleep(0.005)


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


def test_waiting_for_what_never_comes_ends_in_time(world: World) -> None:
    collection = world.database.add_collection("a")
    with world.following() as follower:
        assert not follower.wait_for(collection, 99, 0.05)
        assert follower.wait_for(collection, 0, 0)


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
        follower.view(old)  # a caller that has not noticed yet
        world.assert_served(follower, new)
    assert [path.parent.name for path in world.snapshots()] == ["uid-2"]


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


def test_an_index_told_that_it_holds_what_it_does_not_is_built_anew(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    collection = world.database.add_collection("a")
    world.put(collection, 1, 2)
    with world.following() as follower:
        read = world.database.read
        with pytest.MonkeyPatch.context() as patch:

            def lying(collection_id: int, cursor: tuple[int, int], limit: int, held: HeldPassages) -> LogPage:
                page = read(collection_id, cursor, limit, held)
                entries = (replace(e, vectors=e.vectors[:0], texts=(), is_held=True) for e in page.entries)
                return replace(page, entries=tuple(entries))

            patch.setattr(world.database, "read", lying)
            seq = world.put(collection, 2, 3)
            eventually(lambda: "left out the vectors of document 2" in caplog.text)
        assert follower.wait_for(collection, seq, WAIT_S)
        world.assert_served(follower, collection)


def test_a_damaged_snapshot_only_costs_a_replay(world: World) -> None:
    collection = world.database.add_collection("a")
    world.put(collection, *range(40))
    with world.following():
        pass
    (world.snapshots()[0] / Layout.MAIN).write_bytes(b"garbage")
    with world.following() as follower:
        world.assert_served(follower, collection)


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


def test_a_database_that_is_away_costs_nothing_but_time(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    collection = world.database.add_collection("a")
    world.put(collection, 1, 2)
    with world.following() as follower:

        def away(collection_id: int) -> None:
            raise OSError("connection refused")

        world.database.broken = away
        seq = world.put(collection, 3)
        eventually(lambda: "log_not_read" in caplog.text)
        assert len(follower.view(collection).dense(np.ones((1, 8), dtype=np.float32), 9)[0]) == 2
        world.database.broken = lambda collection_id: None
        assert follower.wait_for(collection, seq, WAIT_S)
        world.assert_served(follower, collection)
        assert "index_rebuild_started" not in caplog.text


def test_a_broken_collection_serves_its_last_view_is_rebuilt_and_stops_no_other(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    broken, sound = world.database.add_collection("broken"), world.database.add_collection("sound")
    world.put(broken, 1, 2)
    with world.following() as follower:
        good = world.database.documents[broken.id][1]
        vectors = np.zeros((2, 3), dtype=np.float16)
        bad = replace(good, passage_ids=good.passage_ids + 100, vectors=vectors, seq=2)
        world.database.documents[broken.id][1] = bad
        world.database.collections[broken.id] = replace(broken, seq=2)
        eventually(lambda: caplog.text.count("log_not_applied") >= 2)
        assert len(follower.view(broken).dense(np.ones((1, 8), dtype=np.float32), 9)[0]) == 2
        assert follower.wait_for(sound, world.put(sound, 1), WAIT_S)
        assert follower.lag()["broken"] == 1
        seq = world.put(broken, 1)
        assert follower.wait_for(broken, seq, WAIT_S)
        world.assert_served(follower, broken)
        assert "index_rebuilt" in caplog.text


def test_tombstones_purged_unseen_lead_to_a_rebuild(world: World) -> None:
    collection = world.database.add_collection("a")
    world.put(collection, 1, 2, 3)
    with world.following():
        pass
    world.put(collection, 2, passages=0)
    world.database.purge(collection.id)
    seq = world.put(collection, 4)
    with world.following() as follower:
        assert follower.wait_for(collection, seq, WAIT_S)
        world.assert_served(follower, collection)
        assert follower.view(collection).vector_view.passages == 6


def test_tombstones_purged_while_following_are_noticed(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    collection = world.database.add_collection("a")
    world.put(collection, 1, 2, 3)
    with world.following() as follower:
        with world.database.lock:  # nothing is read between these
            world.put(collection, 2, passages=0)
            world.database.purge(collection.id)
            seq = world.put(collection, 4)
        assert follower.wait_for(collection, seq, WAIT_S)
        eventually(lambda: follower.view(collection).vector_view.passages == 6)
        world.assert_served(follower, collection)
        assert caplog.text.count("index_rebuilt") == 1


def test_a_database_put_back_to_an_older_state_leads_to_a_rebuild(world: World) -> None:
    collection = world.database.add_collection("a")
    for document in range(5):
        world.put(collection, document)
    with world.following() as follower:
        with world.database.lock:
            for document in (3, 4):
                del world.database.documents[collection.id][document]
            world.database.collections[collection.id] = replace(collection, seq=3)
        eventually(lambda: follower.view(collection).vector_view.passages == 6)
        assert follower.view(collection).seq == 3


def test_a_disk_that_refuses_snapshots_does_not_stop_the_service(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.root.write_text("a file where the folder should be")
    collection = world.database.add_collection("a")
    with world.following(QUICK) as follower:
        seq = world.put(collection, 1)
        eventually(lambda: "snapshot_not_written" in caplog.text)
        assert follower.wait_for(collection, seq, WAIT_S)
        world.assert_served(follower, collection)


def test_a_refused_snapshot_is_told_and_tried_again_only_when_it_is_due(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    collection = world.database.add_collection("a")
    world.put(collection, 1)
    world.root.parent.mkdir(exist_ok=True)
    world.root.write_text("a file where the folder should be")
    with world.following(replace(QUICK, snapshot_interval_s=0.5)) as follower:
        eventually(lambda: follower.refused_snapshots() == 1)
        began, tried = time.monotonic(), caplog.text.count("snapshot_not_written")
        for document in range(2, 12):  # each wakes the upkeep
            assert follower.wait_for(collection, world.put(collection, document), WAIT_S)
            time.sleep(0.02)
        due = (time.monotonic() - began) / 0.5 + 1
        assert caplog.text.count("snapshot_not_written") - tried <= due
        world.root.unlink()
        eventually(lambda: len(world.snapshots()) == 1)
        eventually(lambda: follower.refused_snapshots() == 0)


def test_an_index_that_cannot_be_made_ends_no_thread_and_is_tried_again(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    first = world.database.add_collection("a")
    with world.following() as follower:
        with monkeypatch.context() as patch:
            patch.setattr(LexicalIndex, "__init__", refuse)
            second = world.database.add_collection("b")
            world.put(second, 1)
            eventually(lambda: "index_not_opened" in caplog.text)
        seq = world.put(first, 1, 2)
        world.put(second, 2)
        eventually(lambda: follower.view(first).seq == seq)
        eventually(lambda: follower.view(second).seq == 2)


def test_a_page_that_fails_on_a_full_disk_is_applied_once_there_is_room(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    collection = world.database.add_collection("a")
    world.put(collection, 1)
    with world.following() as follower:
        with monkeypatch.context() as patch:
            patch.setattr(LexicalIndex, "apply", refuse)
            patch.setattr(LexicalIndex, "__init__", refuse)
            seq = world.put(collection, 2, 3)
            eventually(lambda: "log_not_applied" in caplog.text)
            assert follower.view(collection).seq == 1
        eventually(lambda: follower.view(collection).seq == seq)
        world.assert_served(follower, collection)


def refuse(*_: object) -> None:
    raise OSError("the disk is full")
