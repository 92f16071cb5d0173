"""Where the blocking work of routes runs: writes on threads of their own, so that searches find one."""

from __future__ import annotations

import asyncio
import threading
import weakref
from collections.abc import Callable
from contextlib import suppress
from contextvars import Context, copy_context
from queue import SimpleQueue
from typing import Any, ParamSpec, TypeVar

import anyio
import anyio.to_thread

from core.cores import cores

P = ParamSpec("P")
T = TypeVar("T")

WRITER_THREADS = 8
READER_THREADS = 16
ADMIN_THREADS = 16
PROBE_THREADS = 16  # a probe waits as long as a database that hangs


class Writers:
    """A bounded number of threads for work that may wait for the database."""

    def __init__(self, threads: int = WRITER_THREADS) -> None:
        self._limiter = anyio.CapacityLimiter(threads)

    async def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """The result of the blocking call."""
        return await anyio.to_thread.run_sync(lambda: function(*args, **kwargs), limiter=self._limiter)


class Readers(Writers):
    """Threads for what is asked of the database: quickly told, while long calls of models take all others."""

    def __init__(self) -> None:
        super().__init__(READER_THREADS)


class Admins(Writers):
    """Threads to make, change and delete collections, classifiers and backups.

    That may take long, as the deletion of many documents does; it holds up no documents, and waits for no
    long calls of models.
    """

    def __init__(self) -> None:
        super().__init__(ADMIN_THREADS)


class Probes(Writers):
    """Threads for readiness and metrics, which are to answer also where all others are busy."""

    def __init__(self) -> None:
        super().__init__(PROBE_THREADS)


class Searchers:
    """As many threads for searches as there are cores.

    More would only take turns on the cores, and spend a fifth of them on that. A search that may wait, for
    the index or for a model, runs with all other work instead, so that it holds none of them up. The threads
    start with the first search and end with this object; handing a search over costs less than to the pool.
    """

    def __init__(self) -> None:
        self._calls: SimpleQueue[_Call | None] = SimpleQueue()
        self._end: Callable[[], object] | None = None

    async def run(self, search: Callable[[], T], may_wait: bool) -> T:
        """The result of the blocking search; to be called from one event loop."""
        if may_wait:
            return await anyio.to_thread.run_sync(search)
        if self._end is None:
            self._end = self._start()
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        self._calls.put((copy_context(), search, loop, future))
        return await future

    def close(self) -> None:
        """Ends the threads, each after what it does; a search that comes later starts others."""
        if self._end is not None:
            self._end()
            self._end = None

    def _start(self) -> Callable[[], object]:
        """What ends them; called by itself when this object goes."""
        count = max(2, cores())
        for number in range(count):
            name = f"search-{number}"
            threading.Thread(target=_serve, args=(self._calls,), name=name, daemon=True).start()
        return weakref.finalize(self, _end, self._calls, count)


_Call = tuple[Context, Callable[[], Any], asyncio.AbstractEventLoop, "asyncio.Future[Any]"]


def _serve(calls: SimpleQueue[_Call | None]) -> None:
    while (call := calls.get()) is not None:
        context, search, loop, future = call
        result: Any = None
        error: BaseException | None = None
        try:
            result = context.run(search)
        except StopIteration as caught:  # which no future takes
            error = RuntimeError("the search raised StopIteration")
            error.__cause__ = caught
        except BaseException as caught:  # the caller's to handle, in its own thread
            error = caught
        with suppress(RuntimeError):  # the loop was closed: nobody waits any more
            loop.call_soon_threadsafe(_settle, future, result, error)
        del call, context, search, loop, future, result, error


def _settle(future: asyncio.Future[Any], result: Any, error: BaseException | None) -> None:
    if future.cancelled():
        return
    if error is None:
        future.set_result(result)
    else:
        future.set_exception(error)


def _end(calls: SimpleQueue[_Call | None], count: int) -> None:
    for _ in range(count):
        calls.put(None)
