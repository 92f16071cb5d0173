"""The generator as two OpenVINO graphs, built straight from numpy weights: one reads sources, once, the other
decodes one token a row and run.

The same model as `encoder/encoder_decoder.py`, whose parameter names the weights have. Shapes: n sources,
s source tokens (the task's first), g rows a source, r = n g rows, t tokens decoded, e encoder width, d width,
m heads, V vocabulary, l decoder blocks. The patterns are those the CPU plugin fuses: RMSNorm written out,
attention over a cache of ReadValue, Gather by row, Concat.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import openvino as ov
from openvino import opset13 as op
from openvino.op.util import Variable, VariableInfo

from core.types import Float32
from encoder.backends.openvino_graph import Node
from encoder.generator_config import DecoderConfig, GeneratorConfig
from encoder.parameters import Weights

# x (.., i) and weight (o, i) of a matrix product to its result (.., o).
Product = Callable[[Node, Float32], Node]

FLOOR = 1e-30  # of a probability, before its logarithm


@dataclass(frozen=True, slots=True)
class _Model:
    shape: DecoderConfig
    weights: Weights
    product: Product

    def linear(self, name: str, x: Node) -> Node:
        return self.product(x, self.weights[f"{name}.weight"])


def float_product(x: Node, w: Float32) -> Node:
    """In the precision that the graph is compiled for."""
    return op.matmul(x, _constant(w), False, True)


def int8_product(x: Node, w: Float32) -> Node:
    """Weights as int8 with one scale an output, x as it is: a step is bound by reading its weights."""
    scale = np.maximum(np.abs(w).max(1, keepdims=True), 1e-12) / 127  # (o, 1)
    rounded = op.constant(np.round(w / scale).astype(np.int8))
    return op.matmul(x, op.multiply(op.convert(rounded, "f32"), _constant(scale)), False, True)


def build_reader(config: GeneratorConfig, weights: Weights, product: Product = float_product) -> ov.Model:
    """Inputs, all float32: `states` (n, s, e), `embeddings` (n, s, d) of the cased tokens, and `mask`
    (n, 1, 1, s), 0 for a token and -1e9 for padding.

    Outputs: memory (n, s, d), copy keys (n, s, d), then keys and values (n, m, s, d/m) of each decoder block.
    """
    model = _Model(config.decoder, weights, product)
    d = config.decoder.d
    states = op.parameter([-1, -1, config.encoder_d], np.float32, name="states")
    embeddings = op.parameter([-1, -1, d], np.float32, name="embeddings")
    mask = op.parameter([-1, 1, 1, -1], np.float32, name="mask")
    positions = op.range(np.int32(0), _size(embeddings, 1), np.int32(1), "i32")  # (s,)
    rotate = _rotation(config.decoder, config.max_source_tokens + 1, positions)
    h = op.add(model.linear("reader.states", states), embeddings)  # (n, s, d)
    for i in range(config.source_layers):
        h = _reader_block(model, f"reader.blocks.{i}", h, rotate, mask)
    memory = _norm(model, "reader.norm", h)  # (n, s, d)
    outputs = [memory, model.linear("copy.key", memory)]
    for i in range(config.decoder.layers):
        for kind in ("key", "value"):
            heads = model.linear(f"decoder.blocks.{i}.cross_attention.{kind}", memory)
            outputs.append(_split_heads(model, heads))
    return ov.Model(outputs, [states, embeddings, mask], f"{config.id} reader")


def build_step(config: GeneratorConfig, weights: Weights, product: Product = float_product) -> ov.Model:
    """Inputs: `embeddings` (r, 1, d) of the last tokens, `position` (1,) int32 of these in the text, `rows`
    (r,) int32: which row of the cache each row goes on from; of the sources `token_ids` (n, s) int32, `mask`
    (n, 1, 1, s) and `copy_mask` (n, 1, s), and the reader's outputs in their order.

    Output: log probabilities (r, V). The cache of keys and values is the state of an inference request.
    """
    shape = config.decoder
    model = _Model(shape, weights, product)
    embeddings = op.parameter([-1, 1, shape.d], np.float32, name="embeddings")
    position = op.parameter([1], np.int32, name="position")
    rows = op.parameter([-1], np.int32, name="rows")
    token_ids = op.parameter([-1, -1], np.int32, name="token_ids")
    mask = op.parameter([-1, 1, 1, -1], np.float32, name="mask")
    copy_mask = op.parameter([-1, 1, -1], np.float32, name="copy_mask")
    memory, copy_keys = (op.parameter([-1, -1, shape.d], np.float32) for _ in range(2))
    heads = [-1, shape.heads, -1, shape.d // shape.heads]
    source = [op.parameter(heads, np.float32) for _ in range(2 * shape.layers)]
    cache = _Cache(shape, rows)
    rotate = _rotation(shape, config.max_new_tokens + 1, position)
    h = embeddings  # (r, 1, d)
    for i in range(shape.layers):
        kv = (source[2 * i], source[2 * i + 1])
        h = _decoder_block(model, f"decoder.blocks.{i}", h, rotate, cache, kv, mask)
    h = _norm(model, "decoder.norm", h)
    copied = _Copied(token_ids, memory, copy_keys, copy_mask)
    log_probs = _mixed(model, h, copied)
    inputs = [embeddings, position, rows, token_ids, mask, copy_mask, memory, copy_keys, *source]
    return ov.Model([log_probs.output(0)], cache.assigned, inputs, f"{config.id} step")


def _constant(array: Float32) -> Node:
    return op.constant(np.ascontiguousarray(array, np.float32))


def _size(x: Node, axis: int) -> Node:
    return op.gather(op.shape_of(x, "i32"), np.int32(axis), np.int32(0))


def _norm(model: _Model, name: str, x: Node) -> Node:
    square = op.reduce_mean(op.multiply(x, x), np.array([-1], np.int64), True)
    x = op.divide(x, op.sqrt(op.add(square, np.float32(model.shape.norm_eps))))
    return op.multiply(x, _constant(model.weights[f"{name}.weight"]))


def _split_heads(model: _Model, x: Node) -> Node:
    """(b, t, d) to (b, m, t, d/m)."""
    m = model.shape.heads
    x = op.reshape(x, np.array([0, 0, m, model.shape.d // m], np.int64), True)
    return op.transpose(x, np.array([0, 2, 1, 3], np.int64))


def _join_heads(model: _Model, x: Node) -> Node:
    """(b, m, t, d/m) to (b, t, d)."""
    x = op.transpose(x, np.array([0, 2, 1, 3], np.int64))
    return op.reshape(x, np.array([0, 0, model.shape.d], np.int64), True)


def _rotation(shape: DecoderConfig, most: int, positions: Node) -> Callable[[Node], Node]:
    """Turns the pairs (x_i, x_{i + half}) of (b, m, t, d/m) by their `positions` (t,), all below `most`."""
    half = shape.d // shape.heads // 2
    frequencies = shape.rotary_base ** (-np.arange(half, dtype=np.float32) / half)
    angles = np.arange(most, dtype=np.float32)[:, None] * frequencies  # (most, d/2m)
    cos, sin = (op.gather(_constant(f(angles)), positions, np.int32(0)) for f in (np.cos, np.sin))

    def rotate(x: Node) -> Node:
        a, b = op.split(x, np.int32(3), 2).outputs()
        turned = op.subtract(op.multiply(a, cos), op.multiply(b, sin))
        return op.concat([turned, op.add(op.multiply(b, cos), op.multiply(a, sin))], 3)

    return rotate


def _attend(model: _Model, q: Node, keys: Node, values: Node, mask: Node) -> Node:
    """(b, m, t, d/m). Written out it is a third faster on long sources than the operator."""
    scores = op.multiply(
        op.matmul(q, keys, False, True), np.float32((model.shape.d // model.shape.heads) ** -0.5)
    )
    return op.matmul(op.softmax(op.add(scores, mask), 3), values, False, False)


def _feed_forward(model: _Model, name: str, h: Node) -> Node:
    x = model.linear(f"{name}.feed_forward.up", _norm(model, f"{name}.feed_norm", h))
    return op.add(h, model.linear(f"{name}.feed_forward.down", op.gelu(x, "erf")))


def _queries_keys_values(
    model: _Model, name: str, h: Node, rotate: Callable[[Node], Node]
) -> tuple[Node, Node, Node]:
    x = _norm(model, f"{name}.self_norm", h)
    q, k, v = (
        _split_heads(model, model.linear(f"{name}.self_attention.{kind}", x))
        for kind in ("query", "key", "value")
    )
    return rotate(q), rotate(k), v


def _reader_block(model: _Model, name: str, h: Node, rotate: Callable[[Node], Node], mask: Node) -> Node:
    a = _attend(model, *_queries_keys_values(model, name, h, rotate), mask)
    h = op.add(h, model.linear(f"{name}.self_attention.output", _join_heads(model, a)))
    return _feed_forward(model, name, h)


class _Cache:
    """Keys and values of the tokens so far, each a state (r, m, t, d/m) of the inference request."""

    def __init__(self, shape: DecoderConfig, rows: Node) -> None:
        self._shape = ov.PartialShape([-1, shape.heads, -1, shape.d // shape.heads])
        self._rows = rows
        sizes = op.constant(np.array([shape.heads, 0, shape.d // shape.heads], np.int32))
        empty = op.concat([op.unsqueeze(_size(rows, 0), np.int32(0)), sizes], 0)
        self._empty = op.broadcast(op.constant(np.float32(0)), empty)  # (r, m, 0, d/m)
        self.assigned: list[Node] = []

    def extended(self, name: str, new: Node) -> Node:
        """The state of that name after `new` (r, m, 1, d/m) was put to its end."""
        info = VariableInfo()
        info.data_shape, info.data_type, info.variable_id = self._shape, ov.Type.f32, name
        variable = Variable(info)
        past = ov.opset6.read_value(self._empty, variable)
        past = op.gather(past, self._rows, np.int32(0))
        whole = op.concat([past, new], 2)  # (r, m, t, d/m)
        self.assigned.append(ov.opset6.assign(whole, variable))
        return whole


def _decoder_block(
    model: _Model,
    name: str,
    h: Node,
    rotate: Callable[[Node], Node],
    cache: _Cache,
    source: tuple[Node, Node],
    mask: Node,
) -> Node:
    q, k, v = _queries_keys_values(model, name, h, rotate)
    k, v = cache.extended(f"{name}.keys", k), cache.extended(f"{name}.values", v)
    a = op.scaled_dot_product_attention(q, k, v)  # (r, m, 1, d/m)
    h = op.add(h, model.linear(f"{name}.self_attention.output", _join_heads(model, a)))
    q = model.linear(f"{name}.cross_attention.query", _norm(model, f"{name}.cross_norm", h))
    a = _attend(model, _by_source(model, q, source[0]), *source, mask)  # (n, m, g, d/m)
    a = _by_row(_join_heads(model, a), model.shape.d)
    h = op.add(h, model.linear(f"{name}.cross_attention.output", a))
    return _feed_forward(model, name, h)


def _by_source(model: _Model, q: Node, keys: Node) -> Node:
    """Queries (r, 1, d) of all rows of a source beside each other: (n, m, g, d/m)."""
    m = model.shape.heads
    sources = op.unsqueeze(_size(keys, 0), np.int32(0))
    rest = op.constant(np.array([-1, m, model.shape.d // m], np.int32))
    q = op.reshape(q, op.concat([sources, rest], 0), False)  # (n, g, m, d/m)
    return op.transpose(q, np.array([0, 2, 1, 3], np.int64))


def _by_row(x: Node, width: int) -> Node:
    """(n, g, width) to (r, 1, width)."""
    return op.reshape(x, np.array([-1, 1, width], np.int64), False)


@dataclass(frozen=True, slots=True)
class _Copied:
    """What is copied from: `token_ids` (n, s), `memory` and `keys` (n, s, d), `mask` (n, 1, s)."""

    token_ids: Node
    memory: Node
    keys: Node
    mask: Node


def _mixed(model: _Model, h: Node, source: _Copied) -> Node:
    """Log probabilities (r, V) of states `h` (r, 1, d) (See et al. 2017, equations 8 and 9)."""
    d = model.shape.d
    words = op.softmax(model.product(h, model.weights["decoder.embedding.weight"]), 2)  # (r, 1, V)
    sources = op.unsqueeze(_size(source.token_ids, 0), np.int32(0))
    grouped = op.concat([sources, op.constant(np.array([-1, d], np.int32))], 0)
    q = op.reshape(model.linear("copy.query", h), grouped, False)  # (n, g, d)
    scores = op.multiply(op.matmul(q, source.keys, False, True), np.float32(d**-0.5))
    attention = op.softmax(op.add(scores, source.mask), 2)  # (n, g, s)
    context = _by_row(op.matmul(attention, source.memory, False, False), d)  # (r, 1, d)
    gate = op.sigmoid(_gate_logit(model, h, context))  # (r, 1, 1)
    words = op.squeeze(op.multiply(words, gate), np.int32(1))  # (r, V)
    s = op.unsqueeze(_size(source.token_ids, 1), np.int32(0))
    rows = op.concat([op.constant(np.array([-1], np.int32)), s], 0)  # (r, s)
    copies = op.multiply(
        op.reshape(attention, rows, False), op.squeeze(op.subtract(np.float32(1), gate), np.int32(2))
    )
    ids = op.broadcast(op.unsqueeze(source.token_ids, np.int32(1)), op.shape_of(attention, "i32"))
    mixed = op.scatter_elements_update(
        words, op.reshape(ids, rows, False), copies, np.int32(1), reduction="sum"
    )
    return op.log(op.maximum(mixed, np.float32(FLOOR)))


def _gate_logit(model: _Model, h: Node, context: Node) -> Node:
    w, bias = model.weights["copy.gate.weight"], model.weights["copy.gate.bias"]
    both = op.matmul(op.concat([h, context], 2), _constant(w), False, True)
    return op.add(both, _constant(bias))
