"""Copies of indexes on a GPU, where FAISS was built for one and finds it."""

from __future__ import annotations

import logging
import threading
from typing import Any

import faiss
import numpy as np

from core.types import Float32, Int64

logger = logging.getLogger(__name__)

MOST_CHOSEN = 2_048  # rows, and lists too, that FAISS chooses on a GPU in one search


class GpuCopy:
    """Searches all rows of an index; one search at a time, as FAISS has it for one device.

    There is no search among some rows on a GPU: those stay on the processor, which keeps the index as well.
    """

    def __init__(self, index: Any) -> None:
        """Raises RuntimeError if the device has no room for it, or does not know the kind."""
        self._resources = faiss.StandardGpuResources()
        self._index = faiss.index_cpu_to_gpu(self._resources, 0, index)
        self._lock = threading.Lock()

    def search(self, xq: Float32, k: int, probes: int) -> tuple[Float32, Int64]:
        """Scores and rows (n, k) of the best for `xq` (n, d); missing places have row -1, last.

        `probes` is how many lists are searched, 0 for an index without any. Neither it nor k may be above
        `MOST_CHOSEN`.
        """
        parameters = faiss.SearchParametersIVF(nprobe=probes) if probes else None
        with self._lock:
            D, I = self._index.search(np.ascontiguousarray(xq), k, params=parameters)  # noqa: N806, E741
        return D, I


def copied_to_gpu(index: Any) -> GpuCopy | None:
    """A copy of an index that a GPU can search: Flat, or lists of float32, bytes or product codes."""
    if not faiss.get_num_gpus() or not _is_known(index):
        return None
    try:
        return GpuCopy(index)
    except RuntimeError as error:
        logger.warning("index_not_on_gpu", extra={"reason": str(error)[-200:], "rows": int(index.ntotal)})
        return None


def _is_known(index: Any) -> bool:
    kinds = (faiss.IndexFlat, faiss.IndexIVFFlat, faiss.IndexIVFScalarQuantizer, faiss.IndexIVFPQ)
    return isinstance(index, kinds) and index.ntotal > 0
