"""Where the blocking work of routes runs: writes on threads of their own, so that searches find one."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import anyio
import anyio.to_thread

P = ParamSpec("P")
T = TypeVar("T")

WRITER_THREADS = 8


class Writers:
    """A bounded number of threads for work that may wait for the database."""

    def __init__(self) -> None:
        self._limiter = anyio.CapacityLimiter(WRITER_THREADS)

    async def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """The result of the blocking call."""
        return await anyio.to_thread.run_sync(lambda: function(*args, **kwargs), limiter=self._limiter)


class Searchers:
    """As many threads for searches as there are cores.

    More would only take turns on the cores, and spend a fifth of them on that. A search that may wait, for
    the index or for a model, runs with all other work instead, so that it holds none of them up.
    """

    def __init__(self) -> None:
        self._limiter = anyio.CapacityLimiter(max(2, os.cpu_count() or 2))

    async def run(self, search: Callable[[], T], may_wait: bool) -> T:
        """The result of the blocking search."""
        return await anyio.to_thread.run_sync(search, limiter=None if may_wait else self._limiter)
