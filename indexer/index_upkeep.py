"""What indexes need beside the log: compaction, snapshots, and rest when nothing changes any more."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from indexer.followed import Followed
from indexer.follower_settings import FollowerSettings
from indexer.main_index import BuildCancelled
from indexer.search_index import REST_AFTER_S
from indexer.snapshot import SnapshotStore

logger = logging.getLogger(__name__)


class IndexUpkeep:
    """Compacts and saves the indexes of `every()`, one after the other; `run` is a thread of its own.

    What fails of one index is logged, and stops neither the thread nor the others.
    """

    def __init__(
        self,
        every: Callable[[], list[Followed]],
        snapshots: SnapshotStore,
        settings: FollowerSettings,
        stopping: threading.Event,
    ) -> None:
        self._every = every
        self._snapshots = snapshots
        self._settings = settings
        self._stopping = stopping
        self._chores = threading.Event()

    def wake(self) -> None:
        """There may be something to do."""
        self._chores.set()

    def request_compaction(self) -> None:
        """All are compacted soon, also those with less to clear away than they wait for by themselves."""
        for followed in self._every():
            followed.is_compaction_requested.set()
        self.wake()

    def run(self) -> None:
        """Until it is told to stop, and woken."""
        while not self._stopping.is_set():
            is_resting = all(followed.index.is_resting for followed in self._every())
            interval_s = self._settings.snapshot_interval_s
            self._chores.wait(interval_s if is_resting else min(interval_s, REST_AFTER_S))
            self._chores.clear()
            for followed in self._every():
                for chore in (_rest, self._compact, self._save_when_due):
                    guarded(chore, followed)
            self._stopping.wait(self._settings.poll_interval_s)

    def save(self, followed: Followed) -> None:
        """Writes a snapshot if anything changed since the last one."""
        if not followed.unsaved or followed.is_dropped.is_set():
            return
        index = followed.index
        state = self._snapshots.save(followed.collection, index)
        if state is not None and followed.index is not index:
            return  # one that was rebuilt has taken its place
        if state is not None:
            followed.saved(state, time.monotonic())
        else:
            followed.refused(time.monotonic())
        if followed.is_dropped.is_set():
            self._snapshots.drop(followed.collection.uid)

    def _save_when_due(self, followed: Followed) -> None:
        is_old = time.monotonic() - followed.saved_at >= self._settings.snapshot_interval_s
        if is_old and followed.unsaved >= self._settings.snapshot_min_changes:
            self.save(followed)

    def _compact(self, followed: Followed) -> None:
        started = time.monotonic()
        if not followed.compact_when_due(lambda: self._stopping.is_set() or followed.is_dropped.is_set()):
            return
        stats = followed.index.stats()
        fields = {
            "collection": followed.collection.name,
            "took_s": round(time.monotonic() - started, 3),
            "kind": stats.kind,
            "recall_at_10": stats.recall_at_10,
            "effort": stats.effort,
        }
        logger.info("index_compacted", extra=fields)


def guarded(work: Callable[[Followed], None], followed: Followed) -> None:
    """Does it; what goes wrong is logged."""
    try:
        work(followed)
    except BuildCancelled:
        logger.info("compaction_given_up", extra={"collection": followed.collection.name})
    except Exception:
        if not followed.is_dropped.is_set():  # of a deleted collection the files are gone
            logger.exception("index_upkeep_failed", extra={"collection": followed.collection.name})


def _rest(followed: Followed) -> None:
    followed.index.rest()
