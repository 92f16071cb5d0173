"""Weights as named numpy arrays, in the public BERT names, and what is derived from them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from core.types import Float32, Int64
from encoder.config import ModelConfig, Pooling

Weights = Mapping[str, Float32]

_FARTHEST = 128  # tokens; all keys farther away share a bucket
RELATIVE_BIAS = "encoder.relative_attention_bias.weight"
WORD_EMBEDDINGS = "embeddings.word_embeddings.weight"
SEGMENTS = "embeddings.token_type_embeddings.weight"


def expected_shapes(config: ModelConfig) -> dict[str, tuple[int, ...]]:
    """Name and shape of every tensor that a model of this config needs."""
    if config.modern:
        return _modern_shapes(config)
    d = config.d
    shapes: dict[str, tuple[int, ...]] = {
        WORD_EMBEDDINGS: (config.vocab_size, d),
        "embeddings.position_embeddings.weight": (config.max_positions, d),
        SEGMENTS: (config.type_vocab, d),
    }
    norms = ["embeddings.LayerNorm"]
    linears: dict[str, tuple[int, int]] = {}
    for i in range(config.layers):
        block = f"encoder.layer.{i}"
        norms += [f"{block}.attention.output.LayerNorm", f"{block}.output.LayerNorm"]
        linears |= {f"{block}.attention.self.{part}": (d, d) for part in ("query", "key", "value")}
        linears[f"{block}.attention.output.dense"] = (d, d)
        linears[f"{block}.intermediate.dense"] = (config.intermediate, d)
        linears[f"{block}.output.dense"] = (d, config.intermediate)
    shapes |= {f"{name}.{kind}": (d,) for name in norms for kind in ("weight", "bias")}
    shapes |= {f"{name}.weight": shape for name, shape in linears.items()}
    shapes |= {f"{name}.bias": shape[:1] for name, shape in linears.items()}
    if config.relative_buckets:
        shapes[RELATIVE_BIAS] = (config.relative_buckets, config.heads)
    if config.pooling is Pooling.CLASS_ATTENTION:
        shapes |= {name: array.shape for name, array in class_attention_as_mean(config).items()}
    return shapes


def _modern_shapes(config: ModelConfig) -> dict[str, tuple[int, ...]]:
    d, f = config.d, config.intermediate
    shapes: dict[str, tuple[int, ...]] = {
        "embeddings.tok_embeddings.weight": (config.vocab_size, d),
        "embeddings.norm.weight": (d,),
        "final_norm.weight": (d,),
    }
    for i in range(config.layers):
        if i:
            shapes[f"layers.{i}.attn_norm.weight"] = (d,)
        shapes[f"layers.{i}.attn.Wqkv.weight"] = (3 * d, d)
        shapes[f"layers.{i}.attn.Wo.weight"] = (d, d)
        shapes[f"layers.{i}.mlp_norm.weight"] = (d,)
        shapes[f"layers.{i}.mlp.Wi.weight"] = (2 * f, d)
        shapes[f"layers.{i}.mlp.Wo.weight"] = (d, f)
    return shapes


def class_attention_as_mean(config: ModelConfig) -> dict[str, Float32]:
    """Class-attention weights that are exactly mean pooling: zero query, identity key, value and output."""
    eye = np.eye(config.d, dtype=np.float32)
    return {
        "class_attention.query": np.zeros(config.d, np.float32),
        "class_attention.key.weight": eye,
        "class_attention.value.weight": eye.copy(),
        "class_attention.output.weight": eye.copy(),
    }


def fold_class_attention(config: ModelConfig, weights: Weights) -> tuple[Float32, Float32, Float32]:
    """The query seen through W_k and scaled (m, d), W_v by head (m, d_head, d), and W_o (d, d).

    `q . (W_k h) = (W_k^T q) . h`, so no key is ever computed for a token.
    """
    m, d = config.pooling_heads, config.d
    q = weights["class_attention.query"].reshape(m, 1, d // m)
    w_k = weights["class_attention.key.weight"].reshape(m, d // m, d)
    keys = (q @ w_k)[:, 0] / np.sqrt(np.float32(d // m))  # (m, d)
    w_v = weights["class_attention.value.weight"].reshape(m, d // m, d)
    return keys, w_v, weights["class_attention.output.weight"]


def relative_buckets(config: ModelConfig) -> Int64:
    """Row of the relative bias for a key `offset` tokens after its query: (2 max_positions - 1,).

    At index `offset + max_positions - 1`.
    """
    offsets = np.arange(1 - config.max_positions, config.max_positions)
    return bucket_of(offsets, config.relative_buckets, _FARTHEST, is_bidirectional=True)


def bucket_of(offsets: Int64, buckets: int, farthest: int, is_bidirectional: bool) -> Int64:
    """Row of the relative bias for keys `offsets` tokens after their queries (Raffel et al. 2020, "T5", 2.1).

    Of a model that sees both ways half of the rows are for keys before the query and half for those after;
    else all are for those before. In each the first half are single offsets, the rest grow logarithmically
    up to `farthest`.
    """
    half = buckets // 2 if is_bidirectional else buckets
    exact = half // 2
    distance = (np.abs(offsets) if is_bidirectional else -np.minimum(offsets, 0)).astype(np.float32)
    growth = np.log(np.maximum(distance, 1) / np.float32(exact)) / np.float32(np.log(farthest / exact))
    far = np.minimum(exact + (growth * (half - exact)).astype(np.int64), half - 1)
    rows: Int64 = np.where(distance < exact, distance.astype(np.int64), far)
    return rows + np.where(is_bidirectional & (offsets > 0), half, 0)
