"""Several micro-batches of bulk work at a time, each on one core, on threads that give way to all others."""

from __future__ import annotations

import threading
from collections.abc import Callable

import numpy as np
import openvino as ov

from core.cores import cores
from core.priority import on_yielding_thread
from core.types import Float32
from encoder.backends.base import Forward, Int32

_MAX_STREAMS = 8  # each has states of its own, 30 MB; with more cores each gets several of them
_KEPT_KERNELS = "200"  # a stream
CALLERS_A_STREAM = 2  # while one hands over its result and fetches new texts, those of the other are computed


def stream_count(threads: int) -> int:
    """How many streams share so many threads (0: all cores this process may use)."""
    return min(threads or cores(), _MAX_STREAMS)


class Bound:
    """A request that reads its inputs where they are; to be handed them costs it a tenth of a millisecond.

    The request keeps an address alone, beyond the call, so the arrays are kept here until the next ones come.
    """

    def __init__(self, request: ov.InferRequest) -> None:
        self.request = request
        self._kept: tuple[Int32, Int32] | None = None

    def bind(self, token_ids: Int32, lengths: Int32) -> ov.InferRequest:
        """The request, to be run on contiguous `token_ids` (n, t) and `lengths` (n,)."""
        for place, array in enumerate((token_ids, lengths)):
            self.request.set_input_tensor(place, ov.Tensor(array, shared_memory=True))
        self._kept = (token_ids, lengths)
        return self.request


class BulkStreams:
    """A model compiled for bulk work; compiled when first used, because not every process has any."""

    def __init__(self, model: ov.Model, threads: int, properties: dict[str, str]) -> None:
        self._model = model
        count = stream_count(threads)
        self._properties = properties | {
            "PERFORMANCE_HINT": "THROUGHPUT",
            "NUM_STREAMS": str(count),
            "INFERENCE_NUM_THREADS": str(threads),
            "CPU_RUNTIME_CACHE_CAPACITY": _KEPT_KERNELS,
        }
        self._compiling = threading.Lock()
        self._compiled: ov.CompiledModel | None = None
        self.streams: tuple[Forward, ...] = tuple(
            _Stream(self._compile) for _ in range(CALLERS_A_STREAM * count)
        )
        self.states: Forward = _Stream(self._compile, 1)

    def _compile(self) -> ov.CompiledModel:
        with self._compiling:
            if self._compiled is None:
                self._compiled = on_yielding_thread(
                    lambda: ov.Core().compile_model(self._model, "CPU", self._properties)
                )
            return self._compiled


class _Stream:
    """One micro-batch at a time; gives the model's output of that number."""

    def __init__(self, compiled: Callable[[], ov.CompiledModel], output: int = 0) -> None:
        self._compiled = compiled
        self._output = output
        self._bound: Bound | None = None

    def __call__(self, token_ids: Int32, lengths: Int32) -> Float32:
        if self._bound is None:
            self._bound = Bound(self._compiled().create_infer_request())
        request = self._bound.bind(token_ids, lengths)
        # `infer` would compute on the calling thread, which does not give way.
        request.start_async()
        request.wait()
        return np.array(request.get_output_tensor(self._output).data, np.float32)
