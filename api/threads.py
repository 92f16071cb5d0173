"""Where blocking writes of the routes run: on threads of their own, so that searches always find one."""

from __future__ import annotations

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
