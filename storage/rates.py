"""How fast a job goes: a mean of the recent past, kept up from batch to batch."""

from __future__ import annotations

import math
from datetime import datetime

MEMORY_S = 20.0  # after so long a batch counts 1/e of what it counted first
IDLE_S = 600.0  # nobody worked in a longer gap: measuring starts anew


def next_rate(rate_per_s: float | None, since: datetime, now: datetime, items: int) -> float | None:
    """Documents a second after `items` more were settled at `now`; the last were at `since`.

    An exponentially weighted mean over irregular intervals: each second counts exp(1 / MEMORY_S) times less
    than the next. None while there is nothing to measure.
    """
    seconds = (now - since).total_seconds()
    if seconds > IDLE_S:
        return None
    if rate_per_s is None:
        return items / seconds if seconds > 0 else None
    if seconds <= 0:  # the limit of what follows
        return rate_per_s + items / MEMORY_S
    kept = math.exp(-seconds / MEMORY_S)
    return kept * rate_per_s + (1 - kept) * items / seconds
