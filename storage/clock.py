"""Time, and ids that sort by it."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

Clock = Callable[[], datetime]

DRIFT: Final = 1e-4  # by how much of the time that passes two clocks part, at most


def utc_now() -> datetime:
    """The present moment with its zone."""
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class _Reading:
    """What a server said, at `at_s` of the monotonic clock, give or take `error_s`."""

    told: datetime
    at_s: float
    error_s: float


class ServerClock:
    """The clock of a database server: processes on several machines agree by it, whatever their own say.

    To be called after a first reading; between readings it goes on by the monotonic clock.
    """

    def __init__(self) -> None:
        self._known: _Reading | None = None

    def note(self, told: datetime, asked_s: float, answered_s: float) -> None:
        """What the server said between two moments of the monotonic clock, kept if it is more exact.

        The error is half of the time that the answer took; that of what is known grows by `DRIFT`.
        """
        found = _Reading(told, (asked_s + answered_s) / 2, (answered_s - asked_s) / 2)
        known = self._known
        if known is None or found.error_s <= known.error_s + DRIFT * (found.at_s - known.at_s):
            self._known = found

    def __call__(self) -> datetime:
        known = self._known
        assert known is not None
        return known.told + timedelta(seconds=time.monotonic() - known.at_s)


def new_id() -> str:
    """32 hex digits: nanoseconds since the epoch, then 64 random bits. Later ids sort after earlier ones."""
    return f"{time.time_ns():016x}{secrets.token_hex(8)}"
