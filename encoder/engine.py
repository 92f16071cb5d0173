"""The engine: serves many callers in micro-batches through two lanes."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from core.errors import InvalidInput, Overloaded, Unavailable
from core.types import Float32, Lane
from encoder.backends.base import Backend, Forward, Int32
from encoder.lanes import Item, LaneQueue, LaneStats, Request

_log = logging.getLogger(__name__)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """Sizes in tokens, padding included for batches; times in seconds.

    Where bulk work takes turns with searches, a search that arrives waits for the micro-batch in progress, so
    bulk ones are small (`bulk_batch_tokens_busy`) for `busy_s` after each interactive request, and large
    (`bulk_batch_tokens`) otherwise; after `interactive_run` interactive micro-batches in a row bulk work that
    waits gets one. Bulk streams always compute `stream_batch_tokens`: one core is no faster with more.
    """

    interactive_batch_tokens: int = 512
    bulk_batch_tokens: int = 1024
    bulk_batch_tokens_busy: int = 96
    stream_batch_tokens: int = 512
    bulk_window_tokens: int = 32768
    busy_s: float = 1.0
    interactive_run: int = 8
    max_waiting_interactive_tokens: int = 65536
    max_waiting_bulk_tokens: int = 262144
    bulk_timeout_s: float = 60.0


@dataclass(frozen=True, slots=True)
class EngineStats:
    """A snapshot of the counters since the engine started. `tokens_computed` includes padding."""

    batches: int
    failed_batches: int
    tokens_useful: int
    tokens_computed: int
    interactive: LaneStats
    bulk: LaneStats


@dataclass(slots=True)
class _Side:
    """What computes micro-batches, one thread at a time; `changed` guards its lane.

    It counts for itself, so that no thread waits for another to count.
    """

    forward: Forward
    changed: threading.Condition
    batches: int = 0
    failed: int = 0
    useful: int = 0
    computed: int = 0


class Engine:
    """Futures of unit vectors for lists of token ids.

    A thread of its own runs the micro-batches; only a blocking interactive caller that finds the engine idle
    runs its own, which spares a search two changes of thread. Each bulk stream of the backend has one more
    thread, which runs bulk micro-batches beside these. They share no lock with searches, which would wait for
    a thread that holds it and waits for the interpreter.

    Must be created after a process forks: threads do not survive it. `close` ends the threads.
    """

    def __init__(
        self,
        backend: Backend,
        d: int,
        settings: EngineSettings | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._backend = backend
        self._d = d
        self._settings = settings = settings or EngineSettings()
        self._clock = clock
        self._changed = threading.Condition()
        self._bulk_changed = threading.Condition() if backend.bulk_streams else self._changed
        self._sides = {Lane.INTERACTIVE: self._changed, Lane.BULK: self._bulk_changed}
        interactive = settings.interactive_batch_tokens
        self._lanes = {
            Lane.INTERACTIVE: LaneQueue(interactive, max(1, interactive // 4)),
            # Whole windows, so that two who feed it end one after the other: while one writes what it got and
            # tokenizes anew, there is work of the other.
            Lane.BULK: LaneQueue(settings.bulk_window_tokens, settings.bulk_window_tokens),
        }
        self._max_waiting = {
            Lane.INTERACTIVE: settings.max_waiting_interactive_tokens,
            Lane.BULK: settings.max_waiting_bulk_tokens,
        }
        self._unfinished: set[Request] = set()
        self._errands: deque[Callable[[Backend | None], None]] = deque()
        self._closed = False
        self._is_running = False  # a micro-batch in `forward`, on whichever thread
        self._interactive_seen_s = -np.inf
        self._run_length = 0
        self._own = _Side(backend.forward, self._changed)
        self._streams = [_Side(stream, self._bulk_changed) for stream in backend.bulk_streams]
        self._own_lanes = [Lane.INTERACTIVE] if backend.bulk_streams else [Lane.INTERACTIVE, Lane.BULK]
        self._stream_threads = [
            threading.Thread(
                target=self._serve_stream, args=(stream,), name=f"encoder-bulk-{number}", daemon=True
            )
            for number, stream in enumerate(self._streams)
        ]
        self._thread = threading.Thread(target=self._serve, name="encoder-engine", daemon=True)
        for thread in (*self._stream_threads, self._thread):
            thread.start()

    @property
    def batch_tokens(self) -> int:
        """Tokens of a micro-batch of bulk work while no search is near, padding included."""
        settings = self._settings
        return settings.stream_batch_tokens if self._streams else settings.bulk_batch_tokens

    def submit(self, token_ids: Sequence[Int32], lane: Lane) -> Future[Float32]:
        """Future of (n, d) float32 in the order of `token_ids`, each a (t,) int32 array with t >= 1.

        A lane holds a bounded number of tokens (a request larger than that is taken when it is empty).
        When it is full, interactive work raises Overloaded at once; bulk work blocks, and raises it after
        `bulk_timeout_s`. Raises Unavailable after `close`, InvalidInput for a text without tokens.
        """
        request = self._request(token_ids)
        if not token_ids:
            request.future.set_result(np.empty((0, self._d), np.float32))
            return request.future
        with self._sides[lane]:
            self._push(request, lane)
            self._sides[lane].notify_all()
        return request.future

    def encode(self, token_ids: Sequence[Int32], lane: Lane) -> Float32:
        """Blocks for the result of `submit`."""
        if lane is Lane.BULK or self._backend.needs_one_thread or not token_ids:
            return self.submit(token_ids, lane).result()
        if len(token_ids) == 1 and len(token_ids[0]) and self._takes_turn(token_ids[0]):
            return self._encode_alone(token_ids[0])
        request = self._request(token_ids)
        with self._changed:
            is_idle = not (self._is_running or self._has_news())
            self._push(request, lane)
            if is_idle:
                batch = self._take_batch()
            else:
                self._changed.notify_all()
        if is_idle:
            self._run(batch)
        return request.future.result()

    def _takes_turn(self, token_ids: Int32) -> bool:
        """Whether the engine was idle and now belongs to the caller, for one text."""
        with self._changed:
            if self._is_running or self._has_news():
                return False
            self._is_running = True
            self._interactive_seen_s = self._clock()
            self._lanes[Lane.INTERACTIVE].count_at_once(len(token_ids))
            return True

    def _encode_alone(self, token_ids: Int32) -> Float32:
        """(1, d), for who has taken its turn; nothing is queued, so that a query costs little."""
        try:
            return self._forward([token_ids], self._own)
        except Exception as error:
            self._note_failure(1, error, self._own)
            raise
        finally:
            self._end_turn()

    def run(self, work: Callable[[Backend], T]) -> T:
        """The result of `work(backend)`, called on the engine's thread; between two calls a batch has a turn.

        Raises what `work` raises; Unavailable after `close`.
        """
        future: Future[T] = Future()
        with self._changed:
            if self._closed:
                raise Unavailable("The encoder is stopping.")
            self._errands.append(_errand(work, future))
            self._changed.notify_all()
        return future.result()

    def stats(self) -> EngineStats:
        sides = [self._own, *self._streams]
        with self._changed, self._bulk_changed:
            return EngineStats(
                sum(side.batches for side in sides),
                sum(side.failed for side in sides),
                sum(side.useful for side in sides),
                sum(side.computed for side in sides),
                self._lanes[Lane.INTERACTIVE].stats(),
                self._lanes[Lane.BULK].stats(),
            )

    def close(self, wait: bool = True) -> None:
        """Ends after the micro-batches in progress; requests not finished then fail with Unavailable.

        With `wait` it returns when the threads have ended. May be called again.
        """
        with self._changed, self._bulk_changed:
            self._closed = True
            self._changed.notify_all()
            self._bulk_changed.notify_all()
        if wait:
            self._thread.join()

    def _request(self, token_ids: Sequence[Int32]) -> Request:
        """Raises InvalidInput for a text without tokens, which in a micro-batch would end a thread."""
        if (at := next((i for i, ids in enumerate(token_ids) if not len(ids)), None)) is not None:
            raise InvalidInput(f"Text {at} has no tokens; there is nothing to encode.")
        return Request(token_ids, self._clock())

    def _push(self, request: Request, lane: Lane) -> None:
        self._await_room(request.tokens, lane)
        if lane is Lane.INTERACTIVE:
            self._interactive_seen_s = request.submitted_s
        self._lanes[lane].push(request)
        self._unfinished.add(request)
        request.future.add_done_callback(lambda _: self._unfinished.discard(request))

    def _await_room(self, tokens: int, lane: Lane) -> None:
        queue, limit = self._lanes[lane], self._max_waiting[lane]

        def has_room() -> bool:
            return self._closed or not queue.waiting_tokens or queue.waiting_tokens + tokens <= limit

        timeout_s = self._settings.bulk_timeout_s if lane is Lane.BULK else 0.0
        if not has_room() and not (timeout_s and self._sides[lane].wait_for(has_room, timeout_s)):
            raise Overloaded(
                f"The encoder's {lane} queue holds {queue.waiting_tokens} tokens and this request has "
                f"{tokens}; at most {limit} may wait. Try again later."
            )
        if self._closed:
            raise Unavailable("The encoder is stopping.")

    def _serve(self) -> None:
        try:
            while (batch := self._next_batch()) is not None:
                self._run(batch, self._run_errand)
        finally:
            for thread in self._stream_threads:
                thread.join()
            self._fail_unfinished()

    def _serve_stream(self, side: _Side) -> None:
        bulk = self._lanes[Lane.BULK]
        while True:
            with self._bulk_changed:
                self._bulk_changed.wait_for(lambda: self._closed or bulk.has_work)
                if self._closed:
                    return
                batch = self._take(Lane.BULK)
            if batch:
                self._process(batch, side)

    def _next_batch(self) -> list[Item] | None:
        """Blocks for work. Empty for an errand alone, and when all was cancelled; None on closing."""
        with self._changed:
            self._changed.wait_for(lambda: not self._is_running and self._has_news())
            if self._closed:
                return None
            if self._has_batches():
                return self._take_batch()
            self._is_running = True
            return []

    def _take_batch(self) -> list[Item]:
        """Work that waits, of the lane whose turn it is; whoever takes it must `_run` it."""
        self._is_running = True
        return self._take(self._choose_lane())

    def _take(self, lane: Lane) -> list[Item]:
        batch = self._lanes[lane].take_batch(
            self._batch_tokens(lane),
            self._backend.padded_length,
            self._clock(),
            in_few_shapes=lane not in self._own_lanes,
        )
        if lane is Lane.BULK:
            self._bulk_changed.notify_all()  # there is room for who waits in `submit`
        return batch

    def _run(self, batch: list[Item], then: Callable[[], None] = lambda: None) -> None:
        """Computes a batch that was taken, and lets the next one be taken."""
        try:
            if batch:
                self._process(batch, self._own)
            then()
        finally:
            self._end_turn()

    def _end_turn(self) -> None:
        with self._changed:
            self._is_running = False
            if self._has_news():
                self._changed.notify_all()

    def _has_news(self) -> bool:
        return self._closed or bool(self._errands) or self._has_batches()

    def _has_batches(self) -> bool:
        return any(self._lanes[lane].has_work for lane in self._own_lanes)

    def _run_errand(self) -> None:
        """One alone: more could keep searches waiting for as long as others come."""
        if self._errands:
            self._errands.popleft()(self._backend)

    def _choose_lane(self) -> Lane:
        if Lane.BULK not in self._own_lanes:
            return Lane.INTERACTIVE
        interactive, bulk = (self._lanes[lane].has_work for lane in (Lane.INTERACTIVE, Lane.BULK))
        if interactive and not (bulk and self._run_length >= self._settings.interactive_run):
            self._run_length += bulk
            return Lane.INTERACTIVE
        self._run_length = 0
        return Lane.BULK

    def _batch_tokens(self, lane: Lane) -> int:
        settings = self._settings
        if lane is Lane.INTERACTIVE:
            return settings.interactive_batch_tokens
        if lane not in self._own_lanes:
            return settings.stream_batch_tokens
        is_busy = self._clock() - self._interactive_seen_s <= settings.busy_s
        return settings.bulk_batch_tokens_busy if is_busy else settings.bulk_batch_tokens

    def _process(self, batch: list[Item], side: _Side) -> None:
        try:
            vectors = self._forward([item.token_ids for item in batch], side)
        except Exception as error:  # the thread's edge: whatever a backend raises belongs to the callers
            self._note_failure(len(batch), error, side)
            self._isolate(batch, error, side)
            return
        with side.changed:  # another stream may have texts of the same request
            for item, vector in zip(batch, vectors, strict=True):
                item.request.deliver(item.index, vector)

    def _isolate(self, batch: list[Item], error: Exception, side: _Side) -> None:
        """Runs each caller's texts alone, so that only those at fault see the error."""
        requests = list(dict.fromkeys(item.request for item in batch))
        if len(requests) == 1:
            with side.changed:
                requests[0].fail(error)
            return
        for request in requests:
            self._process([item for item in batch if item.request is request], side)

    def _note_failure(self, texts: int, error: Exception, side: _Side) -> None:
        _log.warning("A micro-batch of %d texts failed: %r", texts, error)
        side.failed += 1

    def _forward(self, texts: Sequence[Int32], side: _Side) -> Float32:
        lengths = np.array([len(ids) for ids in texts], np.int32)
        token_ids = np.zeros((len(texts), self._backend.padded_length(int(lengths.max()))), np.int32)
        for row, ids in zip(token_ids, texts, strict=True):
            row[: len(ids)] = ids
        vectors = side.forward(token_ids, lengths)
        if not np.isfinite(vectors).all():
            raise FloatingPointError("The encoder computed vectors that are not finite.")
        side.batches += 1
        side.useful += int(lengths.sum())
        side.computed += token_ids.size
        return vectors

    def _fail_unfinished(self) -> None:
        with self._changed, self._bulk_changed:
            self._closed = True
            unfinished, self._unfinished = self._unfinished, set()
            self._changed.notify_all()
            self._bulk_changed.notify_all()
        while self._errands:
            self._errands.popleft()(None)
        for request in list(unfinished):  # one of them may be done meanwhile, and leave the set
            request.fail(Unavailable("The encoder stopped before this request was done."))


def _errand(work: Callable[[Backend], T], future: Future[T]) -> Callable[[Backend | None], None]:
    """Resolves the future with the result of `work`, or with Unavailable if there is no backend now."""

    def run(backend: Backend | None) -> None:
        try:
            if backend is None:
                raise Unavailable("The encoder stopped before this request was done.")
            future.set_result(work(backend))
        except Exception as error:  # the thread's edge: it belongs to the caller
            future.set_exception(error)

    return run
