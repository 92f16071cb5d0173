"""A BERT-shaped encoder as an OpenVINO graph, built straight from numpy weights.

Shapes: b texts, t tokens, d width, m heads. The patterns are those the CPU plugin fuses: one matrix product
for query, key and value, attention written out (it becomes one generated kernel, with the scale in the query
weights 3 % faster than the `ScaledDotProductAttention` operator), MVN with scale and shift as layer norm.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import openvino as ov
from openvino import opset13 as op

from core.types import Float32
from encoder.config import Activation, ModelConfig, Pooling
from encoder.parameters import RELATIVE_BIAS, WORD_EMBEDDINGS, Weights, fold_class_attention, relative_buckets

Node = Any  # openvino.Node; the package publishes no types
# Name, x (b, t, i), weight (o, i) and bias (o,) of a matrix product in a block to its result (b, t, o).
Linear = Callable[[str, Node, Float32, Float32], Node]
_MASKED = -1e9  # added to the score of padding; exp of it is 0 in every precision


@dataclass(frozen=True, slots=True)
class _Model:
    config: ModelConfig
    weights: Weights
    linear: Linear


def float_linear(name: str, x: Node, w: Float32, bias: Float32) -> Node:
    """The plain matrix product, in the precision the graph is compiled for."""
    return op.add(op.matmul(x, _constant(w), False, True), _constant(bias))


def build_graph(config: ModelConfig, weights: Weights, linear: Linear = float_linear) -> ov.Model:
    """Inputs `token_ids` (b, t) and `lengths` (b,), both int32, b and t dynamic.

    Outputs, both float32: embeddings (b, d) and the hidden states of the last layer (b, t, d).

    `linear` builds the matrix products of the blocks, named as their weights are, with `...attention.self`
    for query, key and value at once.
    """
    model = _Model(config, weights, linear)
    token_ids = op.parameter([-1, -1], np.int32, name="token_ids")
    lengths = op.parameter([-1], np.int32, name="lengths")
    mask = _padding_mask(token_ids, lengths)  # (b, 1, 1, t)
    score_bias = mask
    if config.relative_buckets:
        score_bias = op.add(mask, _relative_bias(model, token_ids))  # (b, m, t, t)
    h = _embed(model, token_ids)  # (b, t, d)
    for i in range(config.layers):
        h = _block(model, f"encoder.layer.{i}", h, score_bias)
    u = _pool(model, h, mask)  # (b, d)
    if config.normalize:
        u = op.normalize_l2(u, np.array([-1], np.int64), eps=1e-24, eps_mode="max")
    return ov.Model([op.convert(u, "f32"), op.convert(h, "f32")], [token_ids, lengths], config.id)


def _constant(array: Float32) -> Node:
    return op.constant(np.ascontiguousarray(array), shared_memory=True)


def _padding_mask(token_ids: Node, lengths: Node) -> Node:
    is_text = op.less(_positions(token_ids), op.unsqueeze(lengths, np.int32(1)))  # (b, t)
    mask = op.select(is_text, np.float32(0), np.float32(_MASKED))
    return op.unsqueeze(mask, np.array([1, 2], np.int32))  # (b, 1, 1, t)


def _relative_bias(model: _Model, token_ids: Node) -> Node:
    config = model.config
    table = model.weights[RELATIVE_BIAS][relative_buckets(config)]  # (2 max_positions - 1, m)
    positions = _positions(token_ids)
    offsets = op.subtract(
        op.unsqueeze(positions, np.int32(0)), op.unsqueeze(positions, np.int32(1))
    )  # (t, t)
    rows = op.add(offsets, np.int32(config.max_positions - 1))
    return op.gather(_constant(table.T), rows, np.int32(1))  # (m, t, t)


def _positions(token_ids: Node) -> Node:
    return op.range(np.int32(0), _length(token_ids), np.int32(1), "i32")  # (t,)


def _length(token_ids: Node) -> Node:
    return op.gather(op.shape_of(token_ids, "i32"), np.int32(1), np.int32(0))


def _embed(model: _Model, token_ids: Node) -> Node:
    words = _table(model.weights[WORD_EMBEDDINGS])  # (vocab, d)
    positions = model.weights["embeddings.position_embeddings.weight"]  # (max_positions, d)
    positions = positions + model.weights["embeddings.token_type_embeddings.weight"][0]
    end = op.unsqueeze(_length(token_ids), np.int32(0))
    row = op.slice(
        _constant(positions), np.array([0], np.int32), end, np.array([1], np.int32), np.array([0], np.int32)
    )
    h = op.add(op.gather(words, token_ids, np.int32(0)), row)  # (b, t, d)
    return _layer_norm(model, "embeddings.LayerNorm", h)


def _table(words: Float32) -> Node:
    """Rows to gather, kept as float16 (half the memory) when that loses nothing."""
    halves = words.astype(np.float16)
    if not np.array_equal(halves, words):
        return _constant(words)
    return op.convert(op.constant(halves, shared_memory=True), "f32")  # fused into the gather


def _block(model: _Model, name: str, h: Node, score_bias: Node) -> Node:
    a = _self_attention(model, f"{name}.attention.self", h, score_bias)  # (b, t, d)
    a = _linear(model, f"{name}.attention.output.dense", a)
    h = _layer_norm(model, f"{name}.attention.output.LayerNorm", op.add(a, h))
    f = _linear(model, f"{name}.intermediate.dense", h)  # (b, t, intermediate)
    f = op.gelu(f, "erf") if model.config.activation is Activation.GELU else op.relu(f)
    f = _linear(model, f"{name}.output.dense", f)  # (b, t, d)
    return _layer_norm(model, f"{name}.output.LayerNorm", op.add(f, h))


def _self_attention(model: _Model, name: str, h: Node, score_bias: Node) -> Node:
    config = model.config
    d_head = config.d // config.heads
    w, bias = (_query_key_value(model, name, kind) for kind in ("weight", "bias"))  # (3d, d), (3d,)
    qkv = model.linear(name, h, w, bias)  # (b, t, 3d)
    qkv = op.reshape(qkv, np.array([0, 0, 3, config.heads, d_head], np.int64), True)  # (b, t, 3, m, d_head)
    qkv = op.transpose(qkv, np.array([2, 0, 3, 1, 4], np.int64))  # (3, b, m, t, d_head)
    q, k, v = (op.gather(qkv, np.int32(i), np.int32(0)) for i in range(3))
    a = op.softmax(op.add(op.matmul(q, k, False, True), score_bias), -1)  # (b, m, t, t)
    a = op.matmul(a, v, False, False)  # (b, m, t, d_head)
    a = op.transpose(a, np.array([0, 2, 1, 3], np.int64))
    return op.reshape(a, np.array([0, 0, config.d], np.int64), True)  # (b, t, d)


def _query_key_value(model: _Model, name: str, kind: str) -> Float32:
    scale = np.float32((model.config.d // model.config.heads) ** -0.5)
    q, k, v = (model.weights[f"{name}.{part}.{kind}"] for part in ("query", "key", "value"))
    return np.concatenate([q * scale, k, v])


def _linear(model: _Model, name: str, x: Node) -> Node:
    return model.linear(name, x, model.weights[f"{name}.weight"], model.weights[f"{name}.bias"])


def _layer_norm(model: _Model, name: str, x: Node) -> Node:
    w, bias = model.weights[f"{name}.weight"], model.weights[f"{name}.bias"]
    x = op.mvn(x, np.array([-1], np.int64), True, model.config.layer_norm_eps, "inside_sqrt")
    return op.add(op.multiply(x, _constant(w)), _constant(bias))


def _pool(model: _Model, h: Node, mask: Node) -> Node:
    if model.config.pooling is Pooling.CLS:
        return op.gather(h, np.int32(0), np.int32(1))  # (b, d)
    if model.config.pooling is Pooling.MEAN:
        keys = np.zeros((1, model.config.d), np.float32)
        return op.squeeze(_attend(keys, h, mask), np.int32(1))  # (b, d)
    return _class_attention(model, h, mask)


def _class_attention(model: _Model, h: Node, mask: Node) -> Node:
    """Touvron et al. 2021, section 3: `u = sum_i W_o a_i W_v h_i`; the query is folded through W_k first."""
    keys, values, out = fold_class_attention(model.config, model.weights)
    context = _attend(keys, h, mask)  # (b, m, d)
    context = op.transpose(context, np.array([1, 0, 2], np.int64))  # (m, b, d)
    u = op.matmul(context, _constant(values), False, True)  # (m, b, d_head)
    u = op.transpose(u, np.array([1, 0, 2], np.int64))
    u = op.reshape(u, np.array([0, model.config.d], np.int64), True)  # (b, d)
    return op.matmul(u, _constant(out), False, True)


def _attend(keys: Float32, h: Node, mask: Node) -> Node:
    """Softmax-weighted sums of `h` (b, t, d), one for each of the `keys` (m, d): (b, m, d)."""
    scores = op.transpose(
        op.matmul(h, _constant(keys), False, True), np.array([0, 2, 1], np.int64)
    )  # (b, m, t)
    a = op.softmax(op.add(scores, op.squeeze(mask, np.int32(1))), -1)
    return op.matmul(a, h, False, False)
