"""Threads and a second process's connections on one database file."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import update

from storage.acceptance import MAX_BATCH_DOCUMENTS
from storage.schema import Collections
from tests.storage.world import World, encode, new, opened


def in_thread(call: Callable[[], object]) -> object:
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(call).result(timeout=20)


def test_reads_do_not_wait_for_an_open_write_transaction(world: World) -> None:
    world.add(new("a"))
    with world.database.write() as connection:
        connection.execute(update(Collections).values(seq=77))
        started = time.perf_counter()
        assert in_thread(lambda: world.log.heads()) == {world.id: 1}
        assert in_thread(lambda: world.counts()) == (1, 0, 0)
        assert time.perf_counter() - started < 5  # far below the busy timeout
    assert world.seq == 77


def test_a_read_transaction_keeps_its_snapshot_and_does_not_stop_writers(world: World) -> None:
    world.add(new("a"))
    with world.database.read() as connection:
        before = connection.execute(Collections.__table__.select()).one()
        in_thread(lambda: world.add(new("b")))
        assert connection.execute(Collections.__table__.select()).one() == before
    assert world.seq == 2


def test_an_exception_leaves_no_trace(world: World) -> None:
    def stop_halfway() -> None:
        with world.database.write() as connection:
            connection.execute(update(Collections).values(seq=77))
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        stop_halfway()
    assert world.seq == 0
    world.add(new("a"))


def test_writers_readers_and_a_follower_at_once_lose_nothing(world: World, database_url: str) -> None:
    """Four writers, two of them as if in another process, upsert the same ids and each its own."""
    writing = threading.Event()
    writing.set()

    def write(mine: World, writer: int) -> None:
        for turn in range(6):
            shared = [new(f"shared-{i}", f"by {writer} in {turn}") for i in range(5)]
            own = [new(f"own-{writer}-{turn}-{i}", f"text {i}") for i in range(10)]
            accepted = mine.send(*shared, *own)
            for batch_id in accepted.batch_ids:
                batch = mine.batches.claim(batch_id, 60)
                if batch:
                    mine.batches.complete(batch, encode(batch.items), [])
            mine.documents.delete(mine.id, [f"own-{writer}-{turn}-0"])

    def read() -> int:
        reads = 0
        while writing.is_set():
            world.collections.counts(world.id)
            world.documents.list(world.id, None, 20, None)
            world.jobs.list(5)
            reads += 1
        return reads

    def follow() -> dict[int, list[int]]:
        index: dict[int, list[int]] = {}
        cursor = (0, 0)
        while True:
            is_over = not writing.is_set()
            page = world.log.read(world.id, cursor, 7)
            index |= {entry.document_id: entry.passage_ids.tolist() for entry in page.entries}
            cursor = page.cursor
            if is_over and page.is_last:
                return index

    with opened(database_url) as elsewhere, ThreadPoolExecutor(8) as pool:
        worlds = [world, world, World(elsewhere), World(elsewhere)]
        readers, follower = [pool.submit(read) for _ in range(2)], pool.submit(follow)
        writers = [pool.submit(write, mine, number) for number, mine in enumerate(worlds)]
        try:
            for future in writers:
                future.result(timeout=60)
        finally:
            writing.clear()
        assert all(future.result(timeout=60) > 0 for future in readers)
        followed = follower.result(timeout=60)

    assert world.counts() == (5 + 4 * 6 * 9, 0, 0)
    assert followed == {entry.document_id: entry.passage_ids.tolist() for entry in world.read_log()}
    assert {str(job.state) for job in world.jobs.list(100)} == {"succeeded"}
    assert world.batches.unfinished() == []


def test_two_at_once_get_one_lease(world: World) -> None:
    batch_ids = world.send(*(new(f"{i:04}") for i in range(MAX_BATCH_DOCUMENTS * 4))).batch_ids
    with ThreadPoolExecutor(4) as pool:
        claims = list(pool.map(lambda id_: world.batches.claim(id_, 60), [*batch_ids] * 4))
    assert sorted(batch.id for batch in claims if batch) == sorted(batch_ids)
