"""The CPU backend: the OpenVINO graph compiled for this machine. Never imports torch."""

from __future__ import annotations

from enum import StrEnum

import numpy as np
import openvino as ov

from core.types import Float32
from encoder.backends.base import Int32
from encoder.backends.openvino_graph import build_graph, float_linear
from encoder.backends.openvino_int8 import int8_linear
from encoder.config import ModelConfig
from encoder.int8 import Ranges
from encoder.parameters import Weights

# Lengths are rounded up so that few shapes occur: OpenVINO generates code for each new one (5 to 40 ms, and
# some megabytes).
_SHORT_TOKENS = 64
_SHORT_MULTIPLE = 4
_LONG_MULTIPLE = 16
_WARM_TOKENS = 32
# Of code generated for shapes seen before; OpenVINO's own limit of 5000 took 30 MB more and saved no time.
_KEPT_KERNELS = "300"


class Precision(StrEnum):
    """Arithmetic of the matrix products; on a chip without bf16 OpenVINO computes in f32 instead.

    `int8` is for the products with weights; attention, norms and pooling are then in bf16.
    """

    F32 = "f32"
    BF16 = "bf16"
    INT8 = "int8"


class OpenVinoBackend:
    """Padded batches of any shape on `threads` CPU threads (0: all cores)."""

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
        is_int8 = precision is Precision.INT8
        properties = {
            "INFERENCE_PRECISION_HINT": Precision.BF16.value if is_int8 else precision.value,
            "PERFORMANCE_HINT": "LATENCY",
            "NUM_STREAMS": "1",
            "INFERENCE_NUM_THREADS": str(threads),
            "CPU_RUNTIME_CACHE_CAPACITY": _KEPT_KERNELS,
        }
        linear = int8_linear(ranges or {}) if is_int8 else float_linear
        compiled = ov.Core().compile_model(build_graph(config, weights, linear), "CPU", properties)
        self._request = compiled.create_infer_request()

    def padded_length(self, tokens: int) -> int:
        multiple = _SHORT_MULTIPLE if tokens <= _SHORT_TOKENS else _LONG_MULTIPLE
        return min(-(-tokens // multiple) * multiple, self._max_positions)

    def forward(self, token_ids: Int32, lengths: Int32) -> Float32:
        return self._infer(token_ids, lengths, 0)

    def states(self, token_ids: Int32, lengths: Int32) -> Float32:
        return self._infer(token_ids, lengths, 1)

    def _infer(self, token_ids: Int32, lengths: Int32, output: int) -> Float32:
        # Inputs are copied, not shared: the plugin keeps their address beyond this call.
        self._request.infer([token_ids, lengths])
        found: Float32 = np.array(self._request.get_output_tensor(output).data, np.float32)
        return found

    def warm_up(self) -> None:
        """Has code generated for single texts as short as queries, so that no caller waits for it."""
        for tokens in range(_SHORT_MULTIPLE, min(_WARM_TOKENS, self._max_positions) + 1, _SHORT_MULTIPLE):
            self.forward(np.zeros((1, tokens), np.int32), np.array([tokens], np.int32))
