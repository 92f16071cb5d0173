"""Who generates when: one piece of work at a time, on one thread that gives way to searches."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from queue import SimpleQueue
from typing import TypeVar

from core.errors import Overloaded, Unavailable
from core.priority import give_way

T = TypeVar("T")


class GenerationTurns:
    """At most `max_waiting` pieces of work wait, each at most `timeout_s` seconds until it begins."""

    def __init__(self, max_waiting: int, timeout_s: float) -> None:
        self._max_waiting = max_waiting
        self._timeout_s = timeout_s
        self._executor = ThreadPoolExecutor(1, "generator", initializer=give_way)
        self._changed = threading.Lock()
        self._waiting = 0

    @property
    def waiting(self) -> int:
        """How many pieces of work have not begun."""
        return self._waiting

    def run(self, work: Callable[[], T]) -> T:
        """The result of `work`. Raises what it raises, Overloaded when too many wait, Unavailable after
        `close`."""
        return self._begin(work).result()

    def stream(self, work: Callable[[], Iterable[T]], ended: Callable[[], None] | None = None) -> Iterator[T]:
        """What `work` gives, one by one; raises like `run`, at once when it cannot begin.

        The work does not wait for who reads it; `ended` is called when it is over. When the caller closes or
        forgets the iterator, `work` is left at its next item.
        """
        items: SimpleQueue[T | None] = SimpleQueue()
        left = threading.Event()

        def push() -> None:
            try:
                for item in work():
                    if left.is_set():
                        return
                    items.put(item)
            finally:
                items.put(None)

        done = self._begin(push)
        if ended is not None:
            done.add_done_callback(lambda _: ended())
        return _Items(items, done, left)

    def close(self) -> None:
        """Ends after the work in progress; what waits fails with Unavailable."""
        self._executor.shutdown(wait=True, cancel_futures=True)

    def _begin(self, work: Callable[[], T]) -> Future[T]:
        """The future of `work`, which has begun."""
        self._enter()
        begun = threading.Event()

        def turn() -> T:
            self._leave()
            begun.set()
            return work()

        try:
            future = self._executor.submit(turn)
        except RuntimeError as error:  # the executor is shut down
            self._leave()
            raise Unavailable("The generator is stopping.") from error
        future.add_done_callback(lambda _: begun.set())
        if not begun.wait(self._timeout_s) and future.cancel():
            self._leave()
            raise Overloaded(f"The generator was busy for {self._timeout_s:g} s. Try again later.", 5.0)
        if future.cancelled():
            raise Unavailable("The generator stopped before this request was done.")
        return future

    def _enter(self) -> None:
        with self._changed:
            if self._waiting >= self._max_waiting:
                raise Overloaded(
                    f"{self._waiting} calls wait for the generator; at most {self._max_waiting} may. "
                    "Try again later.",
                    5.0,
                )
            self._waiting += 1

    def _leave(self) -> None:
        with self._changed:
            self._waiting -= 1


class _Items(Iterator[T]):
    """What work gives, up to None; then it raises what `done` does. Sets `left` when nobody reads on."""

    def __init__(self, items: SimpleQueue[T | None], done: Future[None], left: threading.Event) -> None:
        self._items, self._done, self._left = items, done, left
        self._is_over = False

    def __next__(self) -> T:
        item = None if self._is_over else self._items.get()
        if item is None:
            self._is_over = True
            self._done.result()
            raise StopIteration
        return item

    def close(self) -> None:
        """May be called twice."""
        self._left.set()

    def __del__(self) -> None:
        self.close()
