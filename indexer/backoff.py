"""When work that failed is tried again: at once, then later each time, at most a minute."""

from __future__ import annotations

import math
import time

MAX_PAUSE_S = 60.0


class Backoff:
    """The pause after failures of one kind of work. Used by one thread."""

    def __init__(self) -> None:
        self._failures = 0
        self._until_s = -math.inf

    @property
    def is_over(self) -> bool:
        """Whether it may be tried now."""
        return time.monotonic() >= self._until_s

    def fail(self) -> None:
        """Notes a failure: the next try is due after 0, 1, 3, 7, … seconds."""
        self._until_s = time.monotonic() + min(MAX_PAUSE_S, 2.0**self._failures - 1)
        self._failures = min(self._failures + 1, 10)

    def succeed(self) -> None:
        """Notes a success: the next failure is the first again."""
        self._failures = 0
