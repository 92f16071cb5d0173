"""The CPU backend: the OpenVINO graph compiled for this machine. Never imports torch."""

from __future__ import annotations

import os
import threading
from enum import StrEnum

import numpy as np
import openvino as ov

from core.cores import core_limit
from core.types import Float32
from encoder.backends.base import Forward, Int32
from encoder.backends.openvino_graph import build_graph, float_linear
from encoder.backends.openvino_int8 import int8_linear, sums_int8_exactly
from encoder.backends.openvino_streams import Bound, BulkStreams
from encoder.config import ModelConfig
from encoder.int8 import Ranges
from encoder.parameters import WORD_EMBEDDINGS, Weights

# Lengths are rounded up so that few shapes occur: OpenVINO generates code for each new product of length and
# texts (5 to 40 ms, and 7 MB). With 4 steps an octave, and numbers of texts that are powers of two, there are
# 4 such products between 256 and 512 tokens. With 8 steps memory is 40 MB more, and 2,000 texts take longer.
_STEPS_AN_OCTAVE = 4
_MIN_STEP = 4
_WARM_TOKENS = 32
# Single texts as short as queries get graphs of their own, without anything left to plan at run time: a
# quarter less time. Each has a copy of the weights, so it is made only when used, and for small models.
_FIXED_TOKENS = (8, 16)
_FIXED_FROM_USES = 32
_FIXED_MAX_PARAMETERS = 40_000_000  # word embeddings are not copied and do not count
# As fast as two for so few tokens, at half the work; but a product in float32 takes 5.4 ms instead of 3.2.
_ONE_THREAD = {"INFERENCE_NUM_THREADS": "1"}
# Of code generated for shapes seen before; OpenVINO's own limit of 5000 took 30 MB more and saved no time.
_KEPT_KERNELS = "300"
# The same of the library below, for the whole process. With 128 (and 100 a stream) the first 2,000 texts took
# a quarter longer, with 512 (and 300) memory was 20 MB more.
_KEPT_PRIMITIVES = ("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "256")


class Precision(StrEnum):
    """Arithmetic of the matrix products; on a chip without bf16 OpenVINO computes in f32 instead.

    `int8` is for the products with weights; attention, norms and pooling are then in bf16.
    """

    F32 = "f32"
    BF16 = "bf16"
    INT8 = "int8"


class OpenVinoBackend:
    """Padded batches of any shape on `threads` CPU threads (0: all cores this process may use)."""

    needs_one_thread = False

    def __init__(
        self,
        config: ModelConfig,
        weights: Weights,
        precision: Precision = Precision.BF16,
        threads: int = 0,
        ranges: Ranges | None = None,
    ) -> None:
        """`ranges` of the inputs of all matrix products are needed for the precision int8."""
        self._max_positions = config.max_positions
        threads = threads or core_limit()
        os.environ.setdefault(*_KEPT_PRIMITIVES)  # read when the first model is compiled
        is_int8 = precision is Precision.INT8
        properties = {
            "INFERENCE_PRECISION_HINT": Precision.BF16.value if is_int8 else precision.value,
            "PERFORMANCE_HINT": "LATENCY",
            "NUM_STREAMS": "1",
            "INFERENCE_NUM_THREADS": str(threads),
            # A pinned thread waits for its core while the other is idle, and every process pins to the same.
            "ENABLE_CPU_PINNING": "NO",
            "CPU_RUNTIME_CACHE_CAPACITY": _KEPT_KERNELS,
        }
        model = build_graph(config, weights, int8_linear(ranges or {}) if is_int8 else float_linear)
        compiled = ov.Core().compile_model(model, "CPU", properties)
        self._bound = Bound(compiled.create_infer_request())
        self._bulk = BulkStreams(model, threads, properties)
        copied = sum(array.size for name, array in weights.items() if name != WORD_EMBEDDINGS)
        sizes = [size for size in _FIXED_TOKENS if size <= config.max_positions]
        if copied > _FIXED_MAX_PARAMETERS:
            sizes = []
        alone = properties if _is_float32(compiled, is_int8) else properties | _ONE_THREAD
        self._fixed = {size: _FixedShape(model, size, alone) for size in sizes}

    @property
    def bulk_streams(self) -> tuple[Forward, ...]:
        return self._bulk.streams

    @property
    def bulk_states(self) -> Forward:
        return self._bulk.states

    def padded_length(self, tokens: int) -> int:
        octave = 1 << (tokens - 1).bit_length()  # the least power of two that holds them
        step = max(_MIN_STEP, octave // (2 * _STEPS_AN_OCTAVE))
        return min(-(-tokens // step) * step, self._max_positions)

    def forward(self, token_ids: Int32, lengths: Int32) -> Float32:
        return self._infer(token_ids, lengths, 0)

    def states(self, token_ids: Int32, lengths: Int32) -> Float32:
        return self._infer(token_ids, lengths, 1)

    def _infer(self, token_ids: Int32, lengths: Int32, output: int) -> Float32:
        tokens = token_ids.shape[1]
        fixed = self._fixed_graph(tokens) if len(token_ids) == 1 else None
        if fixed is None:
            request = self._bound.bind(token_ids, lengths)
            request.infer({}, share_outputs=True)
        else:
            request = fixed.infer(token_ids, lengths)
        found = request.get_output_tensor(output).data
        return np.array(found[:, :tokens] if output else found, np.float32)

    def _fixed_graph(self, tokens: int) -> _FixedGraph | None:
        """That of the smallest fixed shape that holds one text of `tokens` tokens, once there is one."""
        size = next((size for size in self._fixed if size >= tokens), None)
        return None if size is None else self._fixed[size].use()

    def warm_up(self) -> None:
        """Has code generated for single texts as short as queries, so that no caller waits for it."""
        for tokens in range(_MIN_STEP, min(_WARM_TOKENS, self._max_positions) + 1, _MIN_STEP):
            self.forward(np.zeros((1, tokens), np.int32), np.array([tokens], np.int32))


def _is_float32(compiled: ov.CompiledModel, is_int8: bool) -> bool:
    """Whether products are computed in float32: as asked, or for want of bf16 and int8 instructions."""
    computes_in = compiled.get_property("INFERENCE_PRECISION_HINT").to_string()
    return computes_in == Precision.F32.value and not (is_int8 and sums_int8_exactly())


class _FixedGraph:
    """The model compiled for one text of exactly `tokens` tokens, with inputs that stay where they are."""

    def __init__(self, compiled: ov.CompiledModel, tokens: int) -> None:
        self._token_ids = np.zeros((1, tokens), np.int32)
        self._lengths = np.zeros(1, np.int32)
        self._request = Bound(compiled.create_infer_request()).bind(self._token_ids, self._lengths)

    def infer(self, token_ids: Int32, lengths: Int32) -> ov.InferRequest:
        """The request after its run on `token_ids` (1, t), t <= tokens. One thread at a time may call."""
        tokens = token_ids.shape[1]
        self._token_ids[:, :tokens] = token_ids
        self._token_ids[:, tokens:] = 0
        self._lengths[:] = lengths
        self._request.infer({}, share_outputs=True)
        return self._request


class _FixedShape:
    """Compiles the model for one text of exactly `tokens` tokens once it is asked for often."""

    def __init__(self, model: ov.Model, tokens: int, properties: dict[str, str]) -> None:
        self._model = model
        self._tokens = tokens
        self._properties = properties
        self._uses = 0
        self._graph: _FixedGraph | None = None

    def use(self) -> _FixedGraph | None:
        """The graph, once there is one. One thread at a time may call."""
        self._uses += 1
        if self._uses == _FIXED_FROM_USES:
            threading.Thread(target=self._compile, name="encoder-compile").start()
        return self._graph

    def _compile(self) -> None:
        model = self._model.clone()
        model.reshape({0: [1, self._tokens], 1: [1]})
        self._graph = _FixedGraph(ov.Core().compile_model(model, "CPU", self._properties), self._tokens)
