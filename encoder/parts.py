"""An embedding as a sum over tokens, so that a similarity splits exactly into contributions of tokens."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from core.errors import InvalidInput
from core.types import Float32
from encoder.config import ModelConfig, Pooling
from encoder.parameters import Weights, fold_class_attention

Split = Callable[[Float32], Float32]


def splitter(config: ModelConfig, weights: Weights) -> Split:
    """A function from token states h (t, d) to parts (t, d) float32 that add up to the unit embedding.

    With class attention part i is `W_o concat_m(a_i^m W_v^m h_i) / |u|` (Touvron et al. 2021, section 3);
    with mean pooling `h_i / (t |u|)`. For the state of CLS alone the function raises InvalidInput: what the
    blocks mixed into that one state cannot be told apart by tokens.
    """
    if config.pooling is Pooling.CLASS_ATTENTION:
        folded = fold_class_attention(config, weights)
        return lambda h: _unit(_class_attention_parts(h, *folded))
    if config.pooling is Pooling.MEAN:
        return lambda h: _unit(h / np.float32(len(h)))
    return _refuse


def _class_attention_parts(h: Float32, keys: Float32, values: Float32, output: Float32) -> Float32:
    """`keys` (m, d) scaled, `values` (m, d_head, d), `output` (d, d)."""
    scores = h @ keys.T  # (t, m)
    a = np.exp(scores - scores.max(axis=0))
    a /= a.sum(axis=0)
    heads = np.einsum("td,mvd->tmv", h, values) * a[:, :, None]  # (t, m, d_head)
    return np.asarray(heads.reshape(len(h), -1) @ output.T, dtype=np.float32)


def _unit(parts: Float32) -> Float32:
    return np.asarray(parts / np.linalg.norm(parts.sum(axis=0)), dtype=np.float32)


def _refuse(_h: Float32) -> Float32:
    raise InvalidInput(
        "This encoder takes the state of CLS as the embedding, which is no sum over tokens; exact"
        " contributions are not available. Use an encoder with class-attention or mean pooling."
    )
