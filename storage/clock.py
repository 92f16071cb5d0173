"""Time, and ids that sort by it."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from datetime import UTC, datetime

Clock = Callable[[], datetime]


def utc_now() -> datetime:
    """The present moment with its zone."""
    return datetime.now(UTC)


def new_id() -> str:
    """32 hex digits: nanoseconds since the epoch, then 64 random bits. Later ids sort after earlier ones."""
    return f"{time.time_ns():016x}{secrets.token_hex(8)}"
