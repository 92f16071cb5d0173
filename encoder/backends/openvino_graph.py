"""A BERT-family encoder as an OpenVINO graph, built straight from numpy weights.

Shapes: b texts, t tokens, d width, m heads. The patterns are those the CPU plugin fuses: one matrix product
for query, key and value, attention written out (it becomes one generated kernel, with the scale in the query
weights 3 % faster than the `ScaledDotProductAttention` operator), MVN with scale and shift as layer norm.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import openvino as ov
from openvino import opset13 as op

from core.types import Float32
from encoder.config import Activation, ModelConfig, Pooling
from encoder.parameters import Weights, fold_class_attention

Node = Any  # openvino.Node; the package publishes no types
_MASKED = -1e9  # added to the score of padding; exp of it is 0 in every precision


def build_graph(config: ModelConfig, weights: Weights) -> ov.Model:
    """Inputs `token_ids` (b, t) and `lengths` (b,), both int32; output (b, d) float32, b and t dynamic."""
    token_ids = op.parameter([-1, -1], np.int32, name="token_ids")
    lengths = op.parameter([-1], np.int32, name="lengths")
    mask = _padding_mask(token_ids, lengths)  # (b, 1, 1, t)
    h = _embed(config, weights, token_ids)  # (b, t, d)
    for i in range(config.layers):
        h = _block(config, weights, f"encoder.layer.{i}", h, mask)
    u = _pool(config, weights, h, mask)  # (b, d)
    if config.normalize:
        u = op.normalize_l2(u, np.array([-1], np.int64), eps=1e-24, eps_mode="max")
    return ov.Model([op.convert(u, "f32")], [token_ids, lengths], config.id)


def _constant(array: Float32) -> Node:
    return op.constant(np.ascontiguousarray(array), shared_memory=True)


def _padding_mask(token_ids: Node, lengths: Node) -> Node:
    positions = op.range(np.int32(0), _length(token_ids), np.int32(1), "i32")  # (t,)
    is_text = op.less(positions, op.unsqueeze(lengths, np.int32(1)))  # (b, t)
    mask = op.select(is_text, np.float32(0), np.float32(_MASKED))
    return op.unsqueeze(mask, np.array([1, 2], np.int32))  # (b, 1, 1, t)


def _length(token_ids: Node) -> Node:
    return op.gather(op.shape_of(token_ids, "i32"), np.int32(1), np.int32(0))


def _embed(config: ModelConfig, weights: Weights, token_ids: Node) -> Node:
    words = weights["embeddings.word_embeddings.weight"]  # (vocab, d)
    positions = weights["embeddings.position_embeddings.weight"]  # (max_positions, d)
    positions = positions + weights["embeddings.token_type_embeddings.weight"][0]
    end = op.unsqueeze(_length(token_ids), np.int32(0))
    row = op.slice(
        _constant(positions), np.array([0], np.int32), end, np.array([1], np.int32), np.array([0], np.int32)
    )
    h = op.add(op.gather(_constant(words), token_ids, np.int32(0)), row)  # (b, t, d)
    return _layer_norm(config, weights, "embeddings.LayerNorm", h)


def _block(config: ModelConfig, weights: Weights, name: str, h: Node, mask: Node) -> Node:
    a = _self_attention(config, weights, f"{name}.attention.self", h, mask)  # (b, t, d)
    a = _linear(weights, f"{name}.attention.output.dense", a)
    h = _layer_norm(config, weights, f"{name}.attention.output.LayerNorm", op.add(a, h))
    f = _linear(weights, f"{name}.intermediate.dense", h)  # (b, t, intermediate)
    f = op.gelu(f, "erf") if config.activation is Activation.GELU else op.relu(f)
    f = _linear(weights, f"{name}.output.dense", f)  # (b, t, d)
    return _layer_norm(config, weights, f"{name}.output.LayerNorm", op.add(f, h))


def _self_attention(config: ModelConfig, weights: Weights, name: str, h: Node, mask: Node) -> Node:
    d_head = config.d // config.heads
    scales = {"query": np.float32(d_head**-0.5), "key": np.float32(1), "value": np.float32(1)}
    w = np.concatenate(
        [weights[f"{name}.{part}.weight"] * scale for part, scale in scales.items()]
    )  # (3d, d)
    bias = np.concatenate([weights[f"{name}.{part}.bias"] * scale for part, scale in scales.items()])
    qkv = op.add(op.matmul(h, _constant(w), False, True), _constant(bias))  # (b, t, 3d)
    qkv = op.reshape(qkv, np.array([0, 0, 3, config.heads, d_head], np.int64), True)  # (b, t, 3, m, d_head)
    qkv = op.transpose(qkv, np.array([2, 0, 3, 1, 4], np.int64))  # (3, b, m, t, d_head)
    q, k, v = (op.gather(qkv, np.int32(i), np.int32(0)) for i in range(3))
    a = op.softmax(op.add(op.matmul(q, k, False, True), mask), -1)  # (b, m, t, t)
    a = op.matmul(a, v, False, False)  # (b, m, t, d_head)
    a = op.transpose(a, np.array([0, 2, 1, 3], np.int64))
    return op.reshape(a, np.array([0, 0, config.d], np.int64), True)  # (b, t, d)


def _linear(weights: Weights, name: str, x: Node) -> Node:
    w, bias = _constant(weights[f"{name}.weight"]), _constant(weights[f"{name}.bias"])
    return op.add(op.matmul(x, w, False, True), bias)


def _layer_norm(config: ModelConfig, weights: Weights, name: str, x: Node) -> Node:
    x = op.mvn(x, np.array([-1], np.int64), True, config.layer_norm_eps, "inside_sqrt")
    return op.add(op.multiply(x, _constant(weights[f"{name}.weight"])), _constant(weights[f"{name}.bias"]))


def _pool(config: ModelConfig, weights: Weights, h: Node, mask: Node) -> Node:
    if config.pooling is Pooling.CLS:
        return op.gather(h, np.int32(0), np.int32(1))  # (b, d)
    if config.pooling is Pooling.MEAN:
        keys = np.zeros((1, config.d), np.float32)
        return op.squeeze(_attend(keys, h, mask), np.int32(1))  # (b, d)
    return _class_attention(config, weights, h, mask)


def _class_attention(config: ModelConfig, weights: Weights, h: Node, mask: Node) -> Node:
    """Touvron et al. 2021, section 3: `u = sum_i W_o a_i W_v h_i`; the query is folded through W_k first."""
    keys, values, out = fold_class_attention(config, weights)
    context = _attend(keys, h, mask)  # (b, m, d)
    context = op.transpose(context, np.array([1, 0, 2], np.int64))  # (m, b, d)
    u = op.matmul(context, _constant(values), False, True)  # (m, b, d_head)
    u = op.transpose(u, np.array([1, 0, 2], np.int64))
    u = op.reshape(u, np.array([0, config.d], np.int64), True)  # (b, d)
    return op.matmul(u, _constant(out), False, True)


def _attend(keys: Float32, h: Node, mask: Node) -> Node:
    """Softmax-weighted sums of `h` (b, t, d), one for each of the `keys` (m, d): (b, m, d)."""
    scores = op.transpose(
        op.matmul(h, _constant(keys), False, True), np.array([0, 2, 1], np.int64)
    )  # (b, m, t)
    a = op.softmax(op.add(scores, op.squeeze(mask, np.int32(1))), -1)
    return op.matmul(a, h, False, False)
