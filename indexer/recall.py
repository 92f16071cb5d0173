"""How much of the exact answer an index finds, and how much effort that takes, on a sample of its vectors."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace

import numpy as np

from core.types import Float32
from indexer.exact import Alive
from indexer.main_index import MainIndex

logger = logging.getLogger(__name__)

SAMPLE = 200
AT = 10
# Scores this close count as equal: another order of summation may have made the difference.
TOLERANCE = 1e-5
EFFORTS = (1.0, 2.0, 4.0, 8.0, 16.0)


def with_measured_recall(main: MainIndex, alive: Alive, target: float) -> MainIndex:
    """`main` with the least effort whose recall@10 reaches `target` (0 to 1), or with the greatest.

    `main` itself may be in use meanwhile: effort belongs to a search, the FAISS index is only read.
    """
    sample = Sample.of(main, alive)
    for effort in EFFORTS:
        main = replace(main, effort=effort)
        main = replace(main, recall_at_10=sample.recall(main))
        if main.reaches(target):
            return main
    logger.warning(
        "recall_below_target",
        extra={"kind": main.factory, "recall_at_10": main.recall_at_10, "target": target, "rows": main.n},
    )
    return main


@dataclass(frozen=True, slots=True)
class Sample:
    """At most 200 living vectors `xq` (n, d), evenly spaced, and the true score of the last of the k + 1
    best rows of each (n,): a vector finds itself, which is no merit."""

    xq: Float32
    least: Float32
    k: int
    alive: Alive

    @classmethod
    def of(cls, main: MainIndex, alive: Alive) -> Sample:
        k = max(0, min(AT, alive.count - 1))
        rows = alive.rows[np.linspace(0, alive.count - 1, min(SAMPLE, alive.count)).astype(np.int64)]
        xq: Float32 = np.ascontiguousarray(main.vectors[rows], dtype=np.float32)
        if main.is_exact or not k:
            return cls(xq, np.empty(0, dtype=np.float32), k, alive)
        exact, _ = main.search_exactly(xq, k + 1, alive)
        return cls(xq, exact[:, -1], k, alive)

    def recall(self, main: MainIndex) -> float:
        """Recall@10 of searches with the effort of `main`; 1.0 if they are exact.

        A found row counts if it scores no less than the true tenth, so duplicates do no harm.
        """
        if main.is_exact or not self.k:
            return 1.0
        found, _ = main.search(self.xq, self.k + 1, self.alive)
        good = np.count_nonzero(found >= self.least[:, None] - TOLERANCE, axis=1)
        return float(np.maximum(good - 1, 0).mean() / self.k)
