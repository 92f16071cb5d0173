"""What the follower serves while databases, disks, snapshots and logs fail it, and afterwards."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

import numpy as np
import pytest

from core.errors import Unavailable
from core.index_types import LogPage
from core.ports.stores import HeldPassages
from core.types import Collection
from indexer.followed import Followed
from indexer.lexical import LexicalIndex
from indexer.snapshot import Layout
from tests.indexer.following import QUICK, WAIT_S, World, eventually


@pytest.fixture
def world(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> World:
    caplog.set_level("INFO")
    return World.at(tmp_path)


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


def test_a_database_known_to_be_away_is_told_in_a_line_without_a_traceback(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    def away(*of: object) -> NoReturn:
        raise Unavailable("the database is away or restarting; retry")

    collection = world.database.add_collection("a")
    with world.following() as follower, pytest.MonkeyPatch.context() as patch:
        world.database.broken = away
        world.put(collection, 1)
        eventually(lambda: "log_not_read" in caplog.text)
        patch.setattr(world.database, "list", away)
        eventually(lambda: "collections_not_listed" in caplog.text)
        told = [record for record in caplog.records if record.message.endswith(("_read", "_listed"))]
        assert {record.levelname for record in told} == {"WARNING"}
        assert "Traceback" not in caplog.text
        assert follower.lag() == {"a": 1}


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


@contextmanager
def full_disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """Nothing can be written of the words of a collection, nor their index made anew."""
    with monkeypatch.context() as patch:
        patch.setattr(LexicalIndex, "apply", refuse)
        patch.setattr(LexicalIndex, "__init__", refuse)
        yield patch


def test_a_page_that_fails_on_a_full_disk_is_applied_once_there_is_room(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    collection = world.database.add_collection("a")
    world.put(collection, 1)
    with world.following() as follower:
        with full_disk(monkeypatch):
            seq = world.put(collection, 2, 3)
            eventually(lambda: "log_not_applied" in caplog.text)
            assert follower.view(collection).seq == 1
        eventually(lambda: follower.view(collection).seq == seq)
        world.assert_served(follower, collection)


def test_an_index_that_cannot_be_opened_is_unavailable_and_tried_less_and_less_often(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with world.following() as follower:
        with monkeypatch.context() as patch:
            patch.setattr(LexicalIndex, "__init__", refuse)
            collection = world.database.add_collection("a")
            with pytest.raises(Unavailable, match="index of collection 'a' cannot be opened"):
                follower.stats(collection)
            look_often(world, patch, 50)
            assert 1 <= caplog.text.count("index_not_opened") <= 10
            assert follower.lag() == {"a": 1}, "that it is there is not shown"
            world.put(collection, 1, 2)
            seq = world.put(collection, 3)
            eventually(lambda: follower.lag() == {"a": seq})
        seq = world.put(collection, 1)
        eventually(lambda: follower.lag() == {"a": 0} and follower.view(collection).seq == seq)
        world.assert_served(follower, collection)


def test_upkeep_that_a_deletion_interrupts_is_no_error(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    world.put(world.database.add_collection("gone"), 1)
    interrupted = threading.Event()

    def interrupt(followed: Followed, *_: object) -> bool:
        world.database.delete("gone")
        eventually(followed.is_dropped.is_set)
        interrupted.set()
        raise ValueError("No such file or directory")

    monkeypatch.setattr(Followed, "compact_when_due", interrupt)
    with world.following(QUICK):
        assert interrupted.wait(WAIT_S)
    assert "index_upkeep_failed" not in caplog.text


def test_a_rebuild_that_a_full_disk_refuses_is_tried_less_and_less_often(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    collection = world.database.add_collection("a")
    world.put(collection, 1)
    with world.following() as follower:
        with full_disk(monkeypatch) as patch:
            seq = world.put(collection, 2)
            look_often(world, patch, 50)
            assert 1 <= caplog.text.count("index_rebuild_started") <= 10
            assert follower.view(collection).seq == 1
        eventually(lambda: follower.view(collection).seq == seq)
        world.assert_served(follower, collection)


def look_often(world: World, patch: pytest.MonkeyPatch, times: int) -> None:
    """Waits until the follower has listed the collections so many times more."""
    listed = world.database.list
    looks: list[None] = []

    def counted() -> list[Collection]:
        looks.append(None)
        return listed()

    patch.setattr(world.database, "list", counted)
    eventually(lambda: len(looks) >= times)


def refuse(*_: object) -> None:
    raise OSError("the disk is full")
