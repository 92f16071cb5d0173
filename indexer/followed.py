"""One followed collection: the index that is served, and one being rebuilt aside when that is needed."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path

from core.index_types import LogPage
from core.types import Collection
from indexer.backoff import Backoff
from indexer.collection_index import Cursor
from indexer.main_index import Build
from indexer.search_index import SearchIndex, SearchState

logger = logging.getLogger(__name__)


class Followed:
    """State of following one collection. `apply` and `see` belong to the follower's thread.

    `saved_at` is when a snapshot was last tried, `is_refused` whether the disk did not take it.
    `index` is what searches see. A rebuild happens in another index that takes its place once it has
    caught up, so no document vanishes meanwhile.
    """

    def __init__(
        self,
        collection: Collection,
        state: SearchState | None,
        new_folder: Callable[[], Path],
        build_threads: int,
        recall_target: float,
    ) -> None:
        """`new_folder` names folders, not yet there, for the files of an index."""
        self.collection = collection
        self._new_folder = new_folder
        self.is_dropped = threading.Event()
        self.is_compaction_requested = threading.Event()
        self.saved_at = time.monotonic()
        self.is_refused = False
        self._build_threads = build_threads
        self._recall_target = recall_target
        self.index = self._new_index(state)
        self._aside: SearchIndex | None = None
        self._saved_changes = self.index.changes
        self._retry = Backoff()
        self._whole_from = collection.purged_seq
        self._floor = state.vectors.applied_seq if state else collection.seq

    @property
    def cursor(self) -> Cursor:
        return self._target.cursor

    @property
    def is_whole(self) -> bool:
        """Whether `index` shows a state that the collection had: a replay does from `purged_seq` on."""
        return self.index.applied_seq >= self._whole_from

    @property
    def lag(self) -> int:
        """How many seq the served index is behind the last known head."""
        return max(0, self.collection.seq - self.index.applied_seq)

    @property
    def is_behind(self) -> bool:
        """Whether there is something to read now; false while waiting to try again, and once dropped."""
        is_due = self._aside is not None or self.index.applied_seq < self.collection.seq
        return is_due and not self.is_dropped.is_set() and self._retry.is_over

    @property
    def unsaved(self) -> int:
        """Entries applied since the last snapshot."""
        return self.index.changes - self._saved_changes

    def see(self, collection: Collection) -> None:
        """Takes note of the collection's row; starts a rebuild if the log cannot lead from here to there.

        `_floor` is a seq up to which tombstones may be purged without this index having missed one: what it
        had applied when it was last seen, or the head at the time a replay from the beginning started.
        """
        self.collection = collection
        reason = self._reason_to_start_again()
        if reason is not None and not self._retry.is_over:
            return
        if reason is not None:
            self._start_again(reason)
        self._floor = max(self._floor, self._target.applied_seq)

    def held_passages(self, document_id: int) -> list[int]:
        """Ids, in order, of the passages of a document that need not be read again."""
        return self._target.held_passages(document_id)

    def apply(self, page: LogPage) -> None:
        """Applies a page; a rebuilt index that has caught up takes the place of the served one."""
        self._target.apply(page)
        if self._aside is not None and page.is_last:
            self._whole_from = min(self._whole_from, self._aside.applied_seq)
            old, self.index, self._aside = self.index, self._aside, None
            old.close()
            self._retry.succeed()
            self._saved_changes = -1
            logger.info("index_rebuilt", extra={"collection": self.collection.name})

    def fail(self) -> None:
        """After an exception in `apply`: replay from the beginning, later each time it fails again."""
        self._retry.fail()
        self._start_again("a page of the log could not be applied")

    def compact_when_due(self, is_cancelled: Callable[[], bool]) -> bool:
        """Compacts the served index if it needs that; whether it did. Raises BuildCancelled.

        After a request for it less is enough.
        """
        is_requested = self.is_compaction_requested.is_set()
        self.is_compaction_requested.clear()
        if not self.index.is_compaction_due(is_requested):
            return False
        build = Build(self.collection.settings.index, self._build_threads, is_cancelled)
        is_done = self.index.compact(build, is_requested)
        self._saved_changes -= is_done
        return is_done

    def saved(self, state: SearchState, now: float) -> None:
        """Notes that a snapshot of `state` is on disk."""
        self._saved_changes, self.saved_at, self.is_refused = state.vectors.changes, now, False

    def refused(self, now: float) -> None:
        """Notes that the disk took no snapshot; the next is tried when it would be due anyway."""
        self.saved_at, self.is_refused = now, True

    def drop(self) -> None:
        """Ends all work on it and frees what its indexes hold; the newest view stays as it is."""
        self.is_dropped.set()
        self.close()

    def close(self) -> None:
        """Frees what the indexes hold on the disk."""
        for index in (self.index, self._aside):
            if index is not None:
                index.close()

    @property
    def _target(self) -> SearchIndex:
        return self._aside or self.index

    def _reason_to_start_again(self) -> str | None:
        collection = self.collection
        if collection.seq < self.index.applied_seq and self._aside is None:
            return f"the database is at seq {collection.seq}, the index further"
        if self.index.is_broken and self._aside is None:
            return "the last attempt to build it anew failed"
        if collection.purged_seq > self._floor:
            return f"the log is purged up to {collection.purged_seq}, seen up to {self._floor}"
        return None

    def _start_again(self, reason: str) -> None:
        logger.warning("index_rebuild_started", extra={"collection": self.collection.name, "reason": reason})
        old, self._aside = self._aside, None
        if old is not None:
            old.close()
        try:
            self._aside, self._floor = self._new_index(None), self.collection.seq
        except Exception:  # a full disk, say: not again with each look
            self._retry.fail()
            raise

    def _new_index(self, state: SearchState | None) -> SearchIndex:
        collection = self.collection
        return SearchIndex(
            collection.encoder.dim,
            collection.settings,
            self._new_folder(),
            state,
            self._build_threads,
            self._recall_target,
        )
