"""How much of the exact answer an index finds, measured on a sample of its own vectors."""

from __future__ import annotations

import numpy as np

from core.types import Float32
from indexer.exact import Alive
from indexer.main_index import MainIndex

SAMPLE = 200
AT = 10
# Scores this close count as equal: another order of summation may have made the difference.
TOLERANCE = 1e-5


def measure_recall(main: MainIndex, alive: Alive) -> float:
    """Recall@10 of `main` against an exact scan, for at most 200 of its living vectors, evenly spaced.

    A found row counts if it scores no less than the true tenth, so duplicates do no harm. 1.0 if exact.
    """
    k = min(AT, alive.count)
    if main.is_exact or k == 0:
        return 1.0
    rows = np.flatnonzero(alive.mask)
    rows = rows[np.linspace(0, len(rows) - 1, min(SAMPLE, len(rows))).astype(np.int64)]
    xq: Float32 = np.ascontiguousarray(main.vectors[rows], dtype=np.float32)
    exact, _ = main.search_exactly(xq, k, alive)
    found, positions = main.search(xq, k, alive)
    good = (positions >= 0) & (found >= exact[:, -1:] - TOLERANCE)
    return float(good.mean())
