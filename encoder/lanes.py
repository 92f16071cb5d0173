"""Waiting work of one lane: requests of many callers, cut into micro-batches of texts of like length.

Nothing here locks; the engine calls it under its own lock.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

import numpy as np

from core.types import Float32
from encoder.backends.base import Int32

WAIT_BOUNDS_S = (0.001, 0.002, 0.005, 0.01, 0.015, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)


class Request:
    """Texts of one caller as token ids, and the future of their vectors (n, d)."""

    def __init__(self, token_ids: Sequence[Int32], submitted_s: float) -> None:
        self.token_ids = token_ids
        self.submitted_s = submitted_s
        self.future: Future[Float32] = Future()
        self.tokens = sum(len(ids) for ids in token_ids)
        self._vectors: Float32 | None = None
        self._missing = len(token_ids)
        # Not yet taken, longest last: neighbours share a micro-batch with little padding.
        self._waiting = sorted(range(len(token_ids)), key=lambda i: len(token_ids[i]))

    @property
    def next_tokens(self) -> int:
        """Length of its longest waiting text, 0 when none waits."""
        return len(self.token_ids[self._waiting[-1]]) if self._waiting else 0

    @property
    def is_over(self) -> bool:
        return self.future.done()

    def take(self, max_tokens: int) -> list[Item]:
        """Its longest waiting texts up to `max_tokens` tokens, at least one."""
        items: list[Item] = []
        while self._waiting and (not items or self.next_tokens <= max_tokens):
            items.append(Item(self, self._waiting.pop()))
            max_tokens -= items[-1].tokens
        return items

    def waiting_tokens(self) -> int:
        return sum(len(self.token_ids[i]) for i in self._waiting)

    def deliver(self, index: int, vector: Float32) -> None:
        """Stores the vector (d,) of one text; the future is resolved with the last."""
        if self._vectors is None:
            self._vectors = np.empty((len(self.token_ids), len(vector)), np.float32)
        self._vectors[index] = vector
        self._missing -= 1
        if not self._missing and not self.is_over:
            self.future.set_result(self._vectors)

    def fail(self, error: BaseException) -> None:
        """Resolves the future with `error`, unless it is resolved or cancelled already."""
        if not self.is_over and (self.future.running() or self.future.set_running_or_notify_cancel()):
            self.future.set_exception(error)


@dataclass(frozen=True, slots=True, eq=False)
class Item:
    """One text of a request."""

    request: Request
    index: int

    @property
    def token_ids(self) -> Int32:
        return self.request.token_ids[self.index]

    @property
    def tokens(self) -> int:
        return len(self.token_ids)


@dataclass(frozen=True, slots=True)
class LaneStats:
    """A snapshot. `waits[i]` requests waited at most `WAIT_BOUNDS_S[i]` (and over the one before); the last
    entry counts those over all bounds. `tokens` went into micro-batches."""

    requests: int
    waiting_requests: int
    waiting_tokens: int
    wait_sum_s: float
    waits: tuple[int, ...]
    tokens: int = 0


@dataclass(slots=True)
class LaneQueue:
    """Requests take turns of `quantum_tokens`; what is taken for `window_tokens` is sorted by length.

    A window is used up before the next is filled, so a short text never waits behind ever new long ones.
    """

    window_tokens: int
    quantum_tokens: int
    waiting_tokens: int = 0
    _requests: deque[Request] = field(default_factory=deque)
    _window: list[Item] = field(default_factory=list)
    _started: int = 0
    _wait_sum_s: float = 0.0
    _taken_tokens: int = 0
    _waits: list[int] = field(default_factory=lambda: [0] * (len(WAIT_BOUNDS_S) + 1))

    def push(self, request: Request) -> None:
        self._requests.append(request)
        self.waiting_tokens += request.tokens

    @property
    def has_work(self) -> bool:
        return bool(self._window or self._requests)

    def take_batch(
        self, max_tokens: int, padded_length: Callable[[int], int], now_s: float, in_few_shapes: bool = False
    ) -> list[Item]:
        """Texts that fill `max_tokens` when padded to the longest; empty if all that waited was cancelled.

        With `in_few_shapes` their number is a power of two, unless one was cancelled.
        """
        if not self._window:
            self._fill_window(now_s)
        while self._window and self._window[-1].request.is_over:
            self.waiting_tokens -= self._window.pop().tokens
        if not self._window:
            return []
        rows = min(max(1, max_tokens // padded_length(self._window[-1].tokens)), len(self._window))
        if in_few_shapes:
            rows = 1 << (rows.bit_length() - 1)
        taken, self._window = self._window[-rows:][::-1], self._window[:-rows]
        self.waiting_tokens -= sum(item.tokens for item in taken)
        batch = [item for item in taken if not item.request.is_over]
        self._taken_tokens += sum(item.tokens for item in batch)
        return batch

    def count_at_once(self, tokens: int) -> None:
        """Counts a request of one text that never waited here."""
        self._started += 1
        self._waits[0] += 1
        self._taken_tokens += tokens

    def stats(self) -> LaneStats:
        waiting = {id(item.request) for item in self._window} | {id(request) for request in self._requests}
        return LaneStats(
            self._started,
            len(waiting),
            self.waiting_tokens,
            self._wait_sum_s,
            tuple(self._waits),
            self._taken_tokens,
        )

    def _fill_window(self, now_s: float) -> None:
        room = self.window_tokens
        while self._requests and (not self._window or self._requests[0].next_tokens <= room):
            request = self._requests.popleft()
            if not self._start(request, now_s):
                self.waiting_tokens -= request.waiting_tokens()
                continue
            items = request.take(min(self.quantum_tokens, room))
            room -= sum(item.tokens for item in items)
            self._window += items
            if request.next_tokens:
                self._requests.append(request)
        self._window.sort(key=lambda item: item.tokens)

    def _start(self, request: Request, now_s: float) -> bool:
        """Whether the request still wants its vectors; from now on it cannot be cancelled."""
        if request.future.running():
            return True
        if request.is_over or not request.future.set_running_or_notify_cancel():
            return False
        wait_s = now_s - request.submitted_s
        self._started += 1
        self._wait_sum_s += wait_s
        self._waits[bisect_left(WAIT_BOUNDS_S, wait_s)] += 1
        return True
