"""Several micro-batches of bulk work at a time, each on one core, on threads that give way to all others."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from typing import TypeVar

import numpy as np
import openvino as ov

from core.types import Float32
from encoder.backends.base import Forward, Int32

T = TypeVar("T")

_MAX_STREAMS = 8  # each has states of its own, 30 MB; with more cores each gets several of them
# A search that comes while bulk work has all cores gets one at once and most of it: the kernel weighs such a
# thread 110 and others 1024. In 0 bulk work never starves.
_NICENESS = 10
_LEAST_PRIORITY = 19
_KEPT_KERNELS = "200"  # a stream


def stream_count(threads: int) -> int:
    """How many streams share so many threads (0: all cores)."""
    return min(threads or os.cpu_count() or 1, _MAX_STREAMS)


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
        self.streams: tuple[Forward, ...] = tuple(_Stream(self._compile) for _ in range(count))

    def _compile(self) -> ov.CompiledModel:
        with self._compiling:
            if self._compiled is None:
                self._compiled = _on_yielding_thread(
                    lambda: ov.Core().compile_model(self._model, "CPU", self._properties)
                )
            return self._compiled


class _Stream:
    """One micro-batch at a time."""

    def __init__(self, compiled: Callable[[], ov.CompiledModel]) -> None:
        self._compiled = compiled
        self._request: ov.InferRequest | None = None

    def __call__(self, token_ids: Int32, lengths: Int32) -> Float32:
        if self._request is None:
            self._request = self._compiled().create_infer_request()
        # `infer` would compute on the calling thread, which does not give way.
        self._request.start_async([token_ids, lengths])
        self._request.wait()
        return np.array(self._request.get_output_tensor(0).data, np.float32)


def _on_yielding_thread(work: Callable[[], T]) -> T:
    """The result of `work`; the threads that it starts give way to others, as far as the system lets them."""
    results: list[T] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            if sys.platform == "linux":  # elsewhere niceness belongs to the process
                me = threading.get_native_id()
                inherited = os.getpriority(os.PRIO_PROCESS, me)
                os.setpriority(os.PRIO_PROCESS, me, min(inherited + _NICENESS, _LEAST_PRIORITY))
            results.append(work())
        except BaseException as error:  # the thread's edge: it belongs to the caller
            errors.append(error)

    thread = threading.Thread(target=run, name="encoder-compile")
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return results[0]
