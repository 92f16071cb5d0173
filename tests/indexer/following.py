"""A database and a follower of it: what the tests of the follower share."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from core.index_types import LogPage
from core.ports.stores import HeldPassages, holds_nothing
from core.types import Collection
from indexer.follower import IndexFollower
from indexer.follower_settings import FollowerSettings
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

    @classmethod
    def at(cls, folder: Path) -> World:
        """An empty database; snapshots go below `folder`."""
        return cls(folder / "snapshots", FakeDatabase(), FakeNotifier(), np.random.default_rng(0))

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


class Gate:
    """Lets so many pages of one collection's log be read, and holds back the next until it is opened."""

    def __init__(self, world: World, collection: Collection, pages: int) -> None:
        self.opened, self.reached, self._pages = threading.Event(), threading.Event(), pages
        self._read, self._of = world.database.read, collection.id
        self._order: list[int] = []
        world.database.read = self.read  # type: ignore[method-assign]

    def read_when(self, other: Collection) -> int:
        """How many pages of this log had been read when the first of another was."""
        return self._order[: self._order.index(other.id)].count(self._of)

    def read(
        self, collection_id: int, cursor: tuple[int, int], limit: int, held: HeldPassages = holds_nothing
    ) -> LogPage:
        if collection_id == self._of:
            self._pages -= 1
            if self._pages < 0:
                self.reached.set()
                assert self.opened.wait(WAIT_S)
        self._order.append(collection_id)
        return self._read(collection_id, cursor, limit, held)


def eventually(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < deadline, "it never became true"
        time.sleep(0.005)
