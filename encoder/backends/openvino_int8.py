"""Int8 matrix products in the OpenVINO graph, and the same graph showing their inputs for calibration."""

from __future__ import annotations

import logging
from functools import cache

import numpy as np
import openvino as ov
from openvino import opset13 as op

from core.errors import CheckpointError
from core.types import Float32
from encoder.backends.base import Int32
from encoder.backends.openvino_graph import Linear, Node, build_graph, float_linear
from encoder.config import ModelConfig
from encoder.int8 import QuantizedProduct, Ranges, quantize_product
from encoder.parameters import Weights

_LEVELS = 256
_log = logging.getLogger(__name__)


def int8_linear(ranges: Ranges) -> Linear:
    """Products whose inputs are rounded to 256 steps and whose weights are int8, one scale an output.

    The CPU plugin runs the rounding inside the operation before, and the product on the int8 instructions
    of the chip. On a chip whose instructions do not sum exactly the products are float ones, which are also
    faster there. Raises CheckpointError for a product that has no range.
    """
    is_exact = sums_int8_exactly()
    if not is_exact:
        _log.warning(
            "This CPU has no int8 dot products (VNNI): matrix products stay in floating point, with the "
            "vectors of f32 and at its speed"
        )

    def linear(name: str, x: Node, w: Float32, bias: Float32) -> Node:
        if name not in ranges:
            raise CheckpointError(f"There is no calibrated range for '{name}'; run encoder.calibrate again.")
        if not is_exact:
            return float_linear(name, x, w, bias)
        return op.add(_rounded_product(x, quantize_product(w, ranges[name])), op.constant(bias))

    return linear


def _rounded_product(x: Node, product: QuantizedProduct) -> Node:
    x = op.multiply(x, op.constant(product.input_scale))
    x = op.fake_quantize(x, product.low, product.high, product.low, product.high, _LEVELS)
    weight = op.multiply(op.convert(op.constant(product.weight), "f32"), op.constant(product.weight_scale))
    return op.matmul(x, weight, False, True)


@cache
def sums_int8_exactly() -> bool:
    """Whether the CPU plugin's int8 products are right at the ends of the ranges, found out by trying.

    Without VNNI it adds pairs of products in 16 bits, which hold them only up to 32,767 (`vpmaddubsw`); the
    shipped encoder's mean cosine to its reference then falls from 0.998 to 0.994.
    """
    inputs = 64
    greatest = QuantizedProduct(
        input_scale=np.ones(inputs, np.float32),
        low=np.float32(0),
        high=np.float32(_LEVELS - 1),
        weight=np.full((16, inputs), np.iinfo(np.int8).max, np.int8),
        weight_scale=np.ones((16, 1), np.float32),
    )
    x = np.full((1, inputs), greatest.high, np.float32)
    parameter = op.parameter([1, inputs], np.float32)
    model = ov.Model([_rounded_product(parameter, greatest)], [parameter], "int8-sums")
    properties = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": "1"}
    found = ov.Core().compile_model(model, "CPU", properties)(x)[0]
    return bool(np.allclose(found, x @ greatest.weight.T.astype(np.float32), rtol=0.01))


class Observer:
    """Runs a model in float32 and shows what goes into each matrix product of its blocks."""

    def __init__(self, config: ModelConfig, weights: Weights) -> None:
        inputs: dict[str, Node] = {}

        def linear(name: str, x: Node, w: Float32, bias: Float32) -> Node:
            inputs[name] = x
            return float_linear(name, x, w, bias)

        parameters = build_graph(config, weights, linear).get_parameters()
        model = ov.Model(list(inputs.values()), parameters, "observer")
        compiled = ov.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
        self._names = tuple(inputs)
        self._request = compiled.create_infer_request()

    def observe(self, token_ids: Int32) -> dict[str, Float32]:
        """Inputs (t, i) of each product for one text (t,)."""
        results = self._request.infer([token_ids[None], np.array([len(token_ids)], np.int32)])
        return {name: np.array(results[i][0]) for i, name in enumerate(self._names)}
