"""Copies of indexes on a GPU, where FAISS was built for one and finds it."""

from __future__ import annotations

import logging
import threading
from functools import cache
from typing import Any

import faiss
import numpy as np

from core.types import Float32, Int64

logger = logging.getLogger(__name__)

MOST_CHOSEN = 2_048  # rows, and lists too, that FAISS chooses on a GPU in one search
# One core scans so many in 0.25 ms at d=384, in 0.9 ms at d=768. Merely to ask a GPU takes much of that (not
# measured: there was none), and the cores search side by side, while a GPU does one search at a time.
MIN_ROWS = 10_000
# FAISS would set aside 1.5 GiB of the device, for scores of searches, and 256 MiB on the host, never
# swapped, for what goes to and fro. Searches here have few queries; what needs more is done in parts.
TEMP_BYTES = 256 << 20
PINNED_BYTES = 64 << 20


class Device:
    """The first GPU, with the scratch memory that all copies on it share.

    FAISS lets one thread at a time do anything with it: search, copy, or free a copy. So whoever does holds
    `turn`, which one thread may take twice, as copies are freed whenever Python gets to it.
    """

    def __init__(self) -> None:
        """Raises RuntimeError if the device does not answer."""
        self.turn = threading.RLock()
        self.resources = faiss.StandardGpuResources()
        self.resources.setTempMemory(TEMP_BYTES)
        self.resources.setPinnedMemory(PINNED_BYTES)


class GpuCopy:
    """Searches all rows of an index on a device, in turn with all other copies on it.

    Searches also wait while an index is copied. There is no search among some rows on a GPU: those stay on
    the processor, which keeps the index as well.
    """

    def __init__(self, device: Device, index: Any) -> None:
        """Raises RuntimeError if the device has no room for it, or does not know the kind."""
        self._device = device
        with device.turn:
            self._index = faiss.index_cpu_to_gpu(device.resources, 0, index)

    def __del__(self) -> None:
        with self._device.turn:
            self._index = None

    def search(self, xq: Float32, k: int, probes: int) -> tuple[Float32, Int64] | None:
        """Scores and rows (n, k) of the best for `xq` (n, d); missing places have row -1, last.

        None, with a log line, if the device does not do it: others may have taken the memory that it needs.

        `probes` is how many lists are searched, 0 for an index without any. Neither it nor k may be above
        `MOST_CHOSEN`.
        """
        parameters = faiss.SearchParametersIVF(nprobe=probes) if probes else None
        try:
            with self._device.turn:
                D, I = self._index.search(np.ascontiguousarray(xq), k, params=parameters)  # noqa: N806, E741
        except RuntimeError as error:
            logger.warning("gpu_not_searched", extra={"reason": str(error)[-200:]})
            return None
        return D, I


def copied_to_gpu(index: Any) -> GpuCopy | None:
    """A copy of an index that a GPU can search: Flat, or lists of float32, bytes or product codes.

    None of one with fewer than `MIN_ROWS` rows, and where there is no GPU or no room.
    """
    if not faiss.get_num_gpus() or not _is_known(index):
        return None
    try:
        return GpuCopy(shared_device(), index)
    except RuntimeError as error:
        logger.warning("index_not_on_gpu", extra={"reason": str(error)[-200:], "rows": int(index.ntotal)})
        return None


def shared_device() -> Device:
    """The one of this process, made when first asked for. Raises RuntimeError."""
    with _MAKING:
        return _device()


_MAKING = threading.Lock()


@cache
def _device() -> Device:
    return Device()


def _is_known(index: Any) -> bool:
    kinds = (faiss.IndexFlat, faiss.IndexIVFFlat, faiss.IndexIVFScalarQuantizer, faiss.IndexIVFPQ)
    return isinstance(index, kinds) and index.ntotal >= MIN_ROWS
