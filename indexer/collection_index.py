"""The mutable owner of one collection's index: applies the log, compacts, publishes views."""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from core.errors import EncoderMismatch
from core.index_types import IndexStats, LogEntry, LogPage
from core.types import Float32, Int64
from indexer.delta import DeltaBuffer, DeltaRows
from indexer.exact import Alive
from indexer.factory import choose_factory
from indexer.main_index import Build, MainIndex, build_main, empty_main, extend_main
from indexer.recall import with_measured_recall
from indexer.upkeep import REQUESTED_DEAD_SHARE, Occasion, has_large_delta, has_many_dead
from indexer.vector_index import Segment, View

logger = logging.getLogger(__name__)

Cursor = tuple[int, int]
Mask = npt.NDArray[np.bool_]

RECALL_TARGET = 0.95


@dataclass(frozen=True, slots=True, eq=False)
class IndexState:
    """One consistent state: rows of main, then of delta; `alive` (main.n + delta.n,) bool over both.

    `cursor` is where the log is to be read on; the state holds everything up to `applied_seq`.
    """

    main: MainIndex
    delta: DeltaRows
    alive: Mask
    cursor: Cursor
    applied_seq: int
    changes: int


def empty_state(d: int) -> IndexState:
    """The state before the first entry of a log."""
    return IndexState(empty_main(d), DeltaBuffer(d).rows(), np.empty(0, dtype=np.bool_), (0, 0), 0, 0)


class CollectionIndex:
    """Applies log pages and compacts; readers take `view` without any lock.

    A position counts rows of main, then of delta. The rows of one document are neighbours. `apply` and
    `compact` may run in two threads at once; the lock is held only while positions move or are published.
    """

    _main: MainIndex
    _delta: DeltaBuffer
    _alive: Mask  # longer than the positions in use; those beyond are false
    _starts: dict[int, int]  # document id -> first of its living positions
    _view: View

    def __init__(
        self,
        d: int,
        setting: str,
        state: IndexState | None = None,
        build_threads: int = 1,
        recall_target: float = RECALL_TARGET,
    ) -> None:
        self._d = d
        self._setting = setting
        self._build_threads = build_threads
        self._recall_target = recall_target
        self._built: float | None = None
        self._lock = threading.Lock()
        self._compacting = threading.Lock()
        state = state or empty_state(d)
        self._cursor, self._seq, self._changes = state.cursor, state.applied_seq, state.changes
        self._take(state.main, state.delta, state.alive)
        self._publish()

    @property
    def view(self) -> View:
        """The newest published state; it never changes."""
        return self._view

    @property
    def applied_seq(self) -> int:
        return self._view.seq

    @property
    def cursor(self) -> Cursor:
        """Where to read the log on."""
        return self._cursor

    @property
    def changes(self) -> int:
        """Entries applied since the collection began; grows with every one."""
        return self._changes

    def apply(self, page: LogPage) -> None:
        """Applies a page of the log and publishes the result; applying it again changes nothing.

        Raises EncoderMismatch, before any change, if a vector has another d than the collection.
        """
        for entry in page.entries:
            self._check(entry)
        with self._lock:
            for entry in page.entries:
                self._replace(entry)
            self._cursor, self._seq = page.cursor, page.applied_seq
            self._changes += len(page.entries)
            self._publish()

    def held_passages(self, document_id: int) -> list[int]:
        """Ids, in order, of the living passages of a document."""
        with self._lock:
            return self._passages_of(self._block(document_id))

    def is_compaction_due(self, occasion: Occasion = Occasion.WRITING) -> bool:
        """Whether the delta or the dead rows have grown so large that they slow searches down."""
        with self._lock:
            total = self._main.n + self._delta.count
            dead = total - int(np.count_nonzero(self._alive[:total]))
            is_large = has_large_delta(self._main.n, self._delta.count, occasion)
            return is_large or has_many_dead(dead, total, occasion)

    def compact(self, build: Build | None = None) -> bool:
        """Folds the delta into a new main; searches and `apply` go on meanwhile. False if one runs already.

        Few dead rows: main is copied and extended. Many, or another kind of index: it is built anew from the
        living rows. Then the recall is measured, and the effort of searches raised until it meets the
        target. Raises BuildCancelled, leaving all as it was.
        """
        if not self._compacting.acquire(blocking=False):
            return False
        try:
            captured = self.capture()
            build = replace(build or Build(self._setting, self._build_threads), report=self._report)
            keep = None if self._is_extendable(captured) else np.flatnonzero(captured.alive)
            main = _extended(captured, build) if keep is None else _rebuilt(captured, keep, build)
            alive = captured.alive if keep is None else np.ones(main.n, dtype=np.bool_)
            main = with_measured_recall(main, Alive(alive), self._recall_target)
            with self._lock:
                self._swap_main(main, captured, keep)
                self._publish()
        finally:
            self._built = None
            self._compacting.release()
        return True

    def capture(self) -> IndexState:
        """The present state, safe to read while the index goes on changing."""
        with self._lock:
            alive = self._alive[: self._main.n + self._delta.count].copy()
            return IndexState(self._main, self._delta.rows(), alive, self._cursor, self._seq, self._changes)

    def stats(self) -> IndexStats:
        """Counts are in passages: living ones, those in delta, and dead ones not yet compacted away."""
        with self._lock:
            total = self._main.n + self._delta.count
            return IndexStats(
                kind=self._main.factory if self._main.n else choose_factory(self._setting, 0, self._d),
                bytes=self._main.bytes + self._delta.bytes,
                passages=self._view.passages,
                delta=self._delta.count,
                deleted=total - self._view.passages,
                recall_at_10=self._main.recall_at_10,
                applied_seq=self._seq,
                effort=self._main.effort,
                is_below_target=not self._main.reaches(self._recall_target),
                built=self._built,
            )

    def _report(self, share: float) -> None:
        self._built = share

    def _check(self, entry: LogEntry) -> None:
        if entry.is_held:
            return
        if len(entry.passage_ids) and entry.vectors.shape != (len(entry.passage_ids), self._d):
            raise EncoderMismatch(
                f"Document {entry.document_id} has {len(entry.passage_ids)} passages and vectors of shape "
                f"{entry.vectors.shape}, but this index holds vectors of d={self._d}"
            )

    def _replace(self, entry: LogEntry) -> None:
        if entry.is_held:
            self._require_held(entry)
            return
        vectors = _finite(entry)
        block = self._block(entry.document_id)
        if self._holds(block, entry.passage_ids, vectors):
            return
        self._alive[block.start : block.stop] = False
        self._starts.pop(entry.document_id, None)
        if not len(entry.passage_ids):
            return
        start = self._main.n + self._delta.count
        self._delta.append(vectors, entry.passage_ids, entry.document_id)
        self._starts[entry.document_id] = start
        self._reserve_alive(start + len(vectors))
        self._alive[start : start + len(vectors)] = True

    def _require_held(self, entry: LogEntry) -> None:
        found = self._passages_of(self._block(entry.document_id))
        if found != entry.passage_ids.tolist():
            raise ValueError(
                f"The log left out the vectors of document {entry.document_id}, of which this index holds "
                f"passages {found}, not {entry.passage_ids.tolist()}"
            )

    def _passages_of(self, block: range) -> list[int]:
        """Ids of the passages at neighbouring positions."""
        if not block:
            return []
        rows, offset = self._part(block.start)
        ids: list[int] = rows.passage_ids[block.start - offset : block.stop - offset].tolist()
        return ids

    def _block(self, document_id: int) -> range:
        """Positions of the living rows of a document."""
        start = self._starts.get(document_id)
        if start is None:
            return range(0)
        rows, offset = self._part(start)
        stop = start - offset + 1
        while stop < rows.n and rows.document_ids[stop] == document_id:
            stop += 1
        return range(start, stop + offset)

    def _part(self, position: int) -> tuple[MainIndex | DeltaRows, int]:
        """The part that holds a position, and the position of its first row."""
        return (self._main, 0) if position < self._main.n else (self._delta.rows(), self._main.n)

    def _holds(self, block: range, passage_ids: Int64, vectors: Float32) -> bool:
        if len(block) != len(passage_ids):
            return False
        rows, offset = self._part(block.start)
        part = slice(block.start - offset, block.stop - offset)
        return np.array_equal(rows.passage_ids[part], passage_ids) and np.array_equal(
            rows.vectors[part], vectors
        )

    def _reserve_alive(self, rows: int) -> None:
        if rows > len(self._alive):
            grown = np.zeros(max(rows, 2 * len(self._alive)), dtype=np.bool_)
            grown[: len(self._alive)] = self._alive
            self._alive = grown

    def _take(self, main: MainIndex, delta: DeltaRows, alive: Mask) -> None:
        """Makes `main`, a copy of `delta` and `alive` the present rows."""
        self._main = main
        self._delta = DeltaBuffer(self._d)
        self._delta.append(delta.vectors, delta.passage_ids, delta.document_ids)
        self._alive = alive
        documents = np.concatenate([main.document_ids, delta.document_ids])
        positions = np.flatnonzero(alive)
        documents = documents[positions]
        first = np.flatnonzero(np.diff(documents, prepend=documents[:1] - 1))
        self._starts = dict(zip(documents[first].tolist(), positions[first].tolist(), strict=True))

    def _publish(self) -> None:
        total, n = self._main.n + self._delta.count, self._main.n
        main = Segment(self._main, Alive(self._alive[:n]))
        delta = Segment(self._delta.rows(), Alive(self._alive[n:total]))
        self._view = View(self._seq, self._d, (main, delta))

    def _is_extendable(self, state: IndexState) -> bool:
        total = len(state.alive)
        dead = total - int(np.count_nonzero(state.alive))
        is_same = choose_factory(self._setting, total - dead, self._d) == state.main.factory
        is_trained = state.main.is_lossless or total <= 2 * state.main.trained_rows
        return state.main.n > 0 and is_same and is_trained and dead <= REQUESTED_DEAD_SHARE * total

    def _swap_main(self, main: MainIndex, captured: IndexState, keep: Int64 | None) -> None:
        """Puts `main` in place of the captured rows; what changed since then is carried over."""
        since = len(captured.alive)
        alive = self._alive[: self._main.n + self._delta.count]
        kept = alive[:since] if keep is None else alive[keep]
        tail = self._delta.rows(start=captured.delta.n)
        self._take(main, tail, np.concatenate([kept, alive[since:]]))


def _extended(state: IndexState, build: Build) -> MainIndex:
    delta = state.delta
    return extend_main(state.main, delta.vectors, delta.passage_ids, delta.document_ids, build)


def _rebuilt(state: IndexState, keep: Int64, build: Build) -> MainIndex:
    main, delta, n = state.main, state.delta, state.main.n
    old, new = keep[keep < n], keep[keep >= n] - n
    vectors = np.concatenate([main.vectors[old], delta.vectors[new].astype(main.vectors.dtype)])
    passage_ids = np.concatenate([main.passage_ids[old], delta.passage_ids[new]])
    document_ids = np.concatenate([main.document_ids[old], delta.document_ids[new]])
    return build_main(vectors, passage_ids, document_ids, build)


def _finite(entry: LogEntry) -> Float32:
    """Float32 vectors; a row that is not finite becomes zeros, so that its document is not lost."""
    vectors = entry.vectors.astype(np.float32)
    bad = ~np.isfinite(vectors).all(axis=-1) if len(vectors) else np.empty(0, dtype=np.bool_)
    if bad.any():
        logger.warning("vector_not_finite", extra={"document_id": entry.document_id, "rows": int(bad.sum())})
        vectors[bad] = 0.0
    return vectors
