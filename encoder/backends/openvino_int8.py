"""Int8 matrix products in the OpenVINO graph, and the same graph showing their inputs for calibration."""

from __future__ import annotations

import numpy as np
import openvino as ov
from openvino import opset13 as op

from core.errors import CheckpointError
from core.types import Float32
from encoder.backends.base import Int32
from encoder.backends.openvino_graph import Linear, Node, build_graph, float_linear
from encoder.config import ModelConfig
from encoder.int8 import Ranges, quantize_product
from encoder.parameters import Weights

_LEVELS = 256


def int8_linear(ranges: Ranges) -> Linear:
    """Products whose inputs are rounded to 256 steps and whose weights are int8, one scale an output.

    The CPU plugin runs the rounding inside the operation before, and the product on the int8 instructions
    of the chip. Raises CheckpointError for a product that has no range.
    """

    def linear(name: str, x: Node, w: Float32, bias: Float32) -> Node:
        if name not in ranges:
            raise CheckpointError(f"There is no calibrated range for '{name}'; run encoder.calibrate again.")
        product = quantize_product(w, ranges[name])
        x = op.multiply(x, op.constant(product.input_scale))
        x = op.fake_quantize(x, product.low, product.high, product.low, product.high, _LEVELS)
        weight = op.multiply(
            op.convert(op.constant(product.weight), "f32"), op.constant(product.weight_scale)
        )
        return op.add(op.matmul(x, weight, False, True), op.constant(bias))

    return linear


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
