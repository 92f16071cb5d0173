"""Waiting for what other threads and processes do."""

from __future__ import annotations

import time
from collections.abc import Callable

TIMEOUT_S = 100.0


def wait_until(is_so: Callable[[], bool], what: str, timeout_s: float = TIMEOUT_S) -> None:
    """Returns as soon as it is so; fails after `timeout_s`."""
    deadline = time.monotonic() + timeout_s
    while not is_so():
        assert time.monotonic() < deadline, f"waited {timeout_s:g} s: {what}"
        time.sleep(0.02)
