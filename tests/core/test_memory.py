"""What the process does about its garbage."""

from __future__ import annotations

import gc
import time
import weakref

from core.memory import keep_for_good


class _Knot:
    """Garbage that only the collector finds."""

    def __init__(self) -> None:
        self.itself = self


def test_what_is_kept_for_good_is_no_longer_looked_at_and_new_garbage_is_still_found() -> None:
    many = [[number] for number in range(300_000)]
    try:
        keep_for_good()
        assert gc.get_freeze_count() >= len(many)
        knot = weakref.ref(_Knot())
        started_s = time.perf_counter()
        gc.collect()
        frozen_s = time.perf_counter() - started_s
        assert knot() is None
    finally:
        gc.unfreeze()
    started_s = time.perf_counter()
    gc.collect()
    assert frozen_s < time.perf_counter() - started_s
    assert len(many) == 300_000
