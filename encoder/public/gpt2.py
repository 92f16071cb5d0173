"""GPT-2: a causal decoder with learned positions, norms before each part, tied embeddings.

Radford et al. 2019, "Language models are unsupervised multitask learners", section 2.3.
Shapes: b texts, t new tokens, p tokens before, d width, m heads, V vocabulary.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from core.errors import CheckpointError
from encoder.decoder import Attention, KeyValues, may_see
from encoder.families import AnyArray
from encoder.public.decoding import Decoding
from encoder.public.layers import FeedForward

_NAMES = (
    (r"^transformer\.", ""),
    (r"^wte\.", "embedding."),
    (r"^wpe\.", "positions."),
    (r"^ln_f\.", "norm."),
    (r"^h\.", "blocks."),
    (r"\.ln_1\.", ".self_norm."),
    (r"\.ln_2\.", ".feed_norm."),
    (r"\.attn\.c_proj\.", ".self_attention.output."),
    (r"\.mlp\.c_fc\.", ".feed_forward.up."),
    (r"\.mlp\.c_proj\.", ".feed_forward.down."),
)
_UNUSED = (".attn.bias", ".attn.masked_bias", "lm_head.weight")  # masks, and the embedding once more


@dataclass(frozen=True, slots=True)
class Gpt2Config:
    """Shape of the model, in our names."""

    vocab_size: int
    d: int
    layers: int
    heads: int
    intermediate: int
    max_positions: int
    norm_eps: float
    activation: str


def gpt2_config(raw: Mapping[str, Any]) -> Gpt2Config:
    """Raises CheckpointError for variants that compute otherwise, KeyError for a missing field."""
    changed = [
        name
        for name, usual in (
            ("scale_attn_weights", True),
            ("scale_attn_by_inverse_layer_idx", False),
            ("add_cross_attention", False),
            ("tie_word_embeddings", True),
        )
        if raw.get(name, usual) is not usual
    ]
    if changed:
        raise CheckpointError(
            f"A gpt2 model with another {' and '.join(changed)} than usual is not supported."
        )
    d = raw["n_embd"]
    return Gpt2Config(
        raw["vocab_size"],
        d,
        raw["n_layer"],
        raw["n_head"],
        raw.get("n_inner") or 4 * d,
        raw["n_positions"],
        raw.get("layer_norm_epsilon", 1e-5),
        raw.get("activation_function", "gelu_new"),
    )


class Block(nn.Module):
    def __init__(self, config: Gpt2Config) -> None:
        super().__init__()
        self.self_norm = nn.LayerNorm(config.d, config.norm_eps)
        self.self_attention = Attention(config.d, config.heads, has_bias=True)
        self.feed_norm = nn.LayerNorm(config.d, config.norm_eps)
        self.feed_forward = FeedForward(config.d, config.intermediate, config.activation)

    def forward(self, h: Tensor, mask: Tensor, past: KeyValues | None) -> tuple[Tensor, KeyValues]:
        x = self.self_norm(h)
        kv = self.self_attention.keys_values(x).after(past)
        h = h + self.self_attention.attend(self.self_attention.queries(x), kv, mask)
        return h + self.feed_forward(self.feed_norm(h)), kv  # (b, t, d)


class Gpt2(nn.Module):
    """Goes on with prompts. Shorter ones are padded before, so that all go on from the last place."""

    def __init__(self, config: Gpt2Config) -> None:
        super().__init__()
        self.embedding = nn.Embedding(config.vocab_size, config.d)
        self.positions = nn.Embedding(config.max_positions, config.d)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.layers))
        self.norm = nn.LayerNorm(config.d, config.norm_eps)

    def read(self, token_ids: Tensor, is_text: Tensor) -> Decoding:
        if not token_ids.shape[1]:
            return Decoding()
        return self._decode(token_ids, Decoding(), is_text)[1]

    def forward(self, token_ids: Tensor, decoding: Decoding) -> tuple[Tensor, Decoding]:
        h, after = self._decode(token_ids, decoding, torch.ones_like(token_ids, dtype=torch.bool))
        return self.norm(h) @ self.embedding.weight.T, after  # (b, t, V)

    def _decode(self, token_ids: Tensor, decoding: Decoding, is_text: Tensor) -> tuple[Tensor, Decoding]:
        p, t = decoding.tokens, token_ids.shape[1]
        if decoding.is_text is not None:
            is_text = torch.cat((decoding.is_text, is_text), 1)  # (b, p + t)
        positions = (is_text.cumsum(1) - 1).clamp_min(0)[:, p:]  # (b, t); padding has none
        sees = may_see(p, t, token_ids.device)  # (t, p + t)
        # Padding sees itself, for a softmax over nothing is not a number and would spread.
        mask = (sees & is_text[:, None, None, :]) | sees.triu(p)  # (b, 1, t, p + t)
        h = self.embedding(token_ids) + self.positions(positions)  # (b, t, d)
        cache = []
        for i, block in enumerate(self.blocks):
            h, kv = block(h, mask, decoding.past_of(i))
            cache.append(kv)
        return h, Decoding(tuple(cache), None, is_text)


def gpt2_weights(stored: Mapping[str, AnyArray]) -> dict[str, AnyArray]:
    """Tensors in our names. GPT-2 stores matrices as (in, out), queries, keys and values as one."""
    weights: dict[str, AnyArray] = {}
    for public, array in stored.items():
        if public.endswith(_UNUSED):
            continue
        name = public
        for pattern, ours in _NAMES:
            name = re.sub(pattern, ours, name)
        is_linear = ".c_" in public
        if is_linear and array.ndim == 2:
            array = array.T
        if ".attn.c_attn." in name:
            for part, piece in zip(("query", "key", "value"), np.split(array, 3), strict=True):
                weights[name.replace(".attn.c_attn.", f".self_attention.{part}.")] = piece
        else:
            weights[name] = array
    return weights
