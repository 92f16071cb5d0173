"""T5, T5 v1.1 and Flan-T5: an encoder-decoder whose positions are a bias on the attention scores.

Raffel et al. 2020, "Exploring the limits of transfer learning", section 2.1; RMSNorm before each part, scores
that are not scaled, no biases. Version 1.1 and Flan (Chung et al. 2022) gate the feed-forward layer (Shazeer
2020, "GLU variants", GEGLU) and have an output layer apart from the embeddings.
Shapes: b texts, t target tokens, p before, s source tokens, d width, m heads, V vocabulary.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from encoder.decoder import Attention, KeyValues, Source, may_see
from encoder.families import AnyArray
from encoder.parameters import bucket_of
from encoder.public.decoding import Decoding
from encoder.public.layers import activation

_NAMES = (
    (r"^shared\.", "embedding."),
    (r"^lm_head\.", "head."),
    (r"\.block\.0\.layer\.0\.SelfAttention\.relative_attention_bias\.", ".relative_bias."),
    (r"\.block\.", ".blocks."),
    (r"\.layer\.0\.SelfAttention\.", ".self_attention."),
    (r"\.layer\.1\.EncDecAttention\.", ".cross_attention."),
    (r"\.layer\.[12]\.DenseReluDense\.wi_0\.", ".feed_forward.gate."),
    (r"\.layer\.[12]\.DenseReluDense\.wi(_1)?\.", ".feed_forward.up."),
    (r"\.layer\.[12]\.DenseReluDense\.wo\.", ".feed_forward.down."),
    (r"\.layer\.0\.layer_norm\.", ".self_norm."),
    (r"^encoder(.*)\.layer\.1\.layer_norm\.", r"encoder\1.feed_norm."),
    (r"\.layer\.1\.layer_norm\.", ".cross_norm."),
    (r"\.layer\.2\.layer_norm\.", ".feed_norm."),
    (r"\.final_layer_norm\.", ".norm."),
    (r"_attention\.q\.", "_attention.query."),
    (r"_attention\.k\.", "_attention.key."),
    (r"_attention\.v\.", "_attention.value."),
    (r"_attention\.o\.", "_attention.output."),
)
# The embedding once more, and a bias of early exports that no version of the model uses.
_UNUSED = ("embed_tokens.weight", "EncDecAttention.relative_attention_bias.weight")


@dataclass(frozen=True, slots=True)
class T5Config:
    """Shape of the model, in our names. All keys `farthest` tokens away and more share a bucket."""

    vocab_size: int
    d: int
    d_head: int
    heads: int
    intermediate: int
    encoder_layers: int
    decoder_layers: int
    buckets: int
    farthest: int
    norm_eps: float
    activation: str
    is_gated: bool
    scales_output: bool
    has_head: bool


def t5_config(raw: Mapping[str, Any], has_head: bool) -> T5Config:
    """`has_head` where the folder has an output layer of its own. Raises KeyError for a missing field."""
    feed_forward = raw.get("feed_forward_proj", "relu")
    kind = feed_forward.removeprefix("gated-")
    is_tied = raw.get("tie_word_embeddings", True) is not False
    return T5Config(
        raw["vocab_size"],
        raw["d_model"],
        raw["d_kv"],
        raw["num_heads"],
        raw["d_ff"],
        raw["num_layers"],
        raw.get("num_decoder_layers") or raw["num_layers"],
        raw.get("relative_attention_num_buckets", 32),
        raw.get("relative_attention_max_distance", 128),
        raw.get("layer_norm_epsilon", 1e-6),
        "gelu_new" if feed_forward == "gated-gelu" else kind,
        kind != feed_forward,
        bool(raw.get("scale_decoder_outputs", is_tied)),
        has_head,
    )


class FeedForward(nn.Module):
    """`W_down act(W_up x)`, or gated `W_down (act(W_gate x) * W_up x)`."""

    def __init__(self, config: T5Config) -> None:
        super().__init__()
        self.up = nn.Linear(config.d, config.intermediate, bias=False)
        self.gate = nn.Linear(config.d, config.intermediate, bias=False) if config.is_gated else None
        self.down = nn.Linear(config.intermediate, config.d, bias=False)
        self.activate = activation(config.activation)

    def forward(self, x: Tensor) -> Tensor:
        inner = self.up(x)  # (b, t, f)
        inner = self.activate(inner) if self.gate is None else self.activate(self.gate(x)) * inner
        fed: Tensor = self.down(inner)  # (b, t, d)
        return fed


class Block(nn.Module):
    def __init__(self, config: T5Config, has_cross_attention: bool) -> None:
        super().__init__()
        self.self_norm = nn.RMSNorm(config.d, config.norm_eps)
        self.self_attention = _attention(config)
        if has_cross_attention:
            self.cross_norm = nn.RMSNorm(config.d, config.norm_eps)
            self.cross_attention = _attention(config)
        self.feed_norm = nn.RMSNorm(config.d, config.norm_eps)
        self.feed_forward = FeedForward(config)

    def forward(
        self,
        h: Tensor,
        mask: Tensor,
        bias: Tensor,
        past: KeyValues | None = None,
        source: tuple[KeyValues, Tensor] | None = None,
    ) -> tuple[Tensor, KeyValues]:
        x = self.self_norm(h)
        kv = self.self_attention.keys_values(x).after(past)
        h = h + self.self_attention.attend(self.self_attention.queries(x), kv, mask, bias=bias)
        if source is not None:
            q = self.cross_attention.queries(self.cross_norm(h))
            h = h + self.cross_attention.attend(q, *source)
        return h + self.feed_forward(self.feed_norm(h)), kv  # (b, t, d)


class Stack(nn.Module):
    """Blocks that share one bias by relative position: the encoder, or the decoder."""

    def __init__(self, config: T5Config, layers: int, is_decoder: bool) -> None:
        super().__init__()
        self.buckets, self.farthest, self.is_decoder = config.buckets, config.farthest, is_decoder
        self.relative_bias = nn.Embedding(config.buckets, config.heads)
        self.blocks = nn.ModuleList(Block(config, is_decoder) for _ in range(layers))
        self.norm = nn.RMSNorm(config.d, config.norm_eps)

    def bias(self, p: int, t: int, device: torch.device) -> Tensor:
        """Added to the score of each of t new queries with each of p + t keys: (1, m, t, p + t)."""
        offsets = np.arange(p + t) - np.arange(p, p + t)[:, None]  # (t, p + t)
        rows = bucket_of(offsets, self.buckets, self.farthest, is_bidirectional=not self.is_decoder)
        bias: Tensor = self.relative_bias(torch.from_numpy(rows).to(device)).permute(2, 0, 1)[None]
        return bias

    def forward(self, h: Tensor, mask: Tensor, decoding: Decoding) -> tuple[Tensor, tuple[KeyValues, ...]]:
        bias = self.bias(decoding.tokens, h.shape[1], h.device)
        cache = []
        for i, block in enumerate(self.blocks):
            cross = decoding.cross_of(i) if self.is_decoder else None
            h, kv = block(h, mask, bias, decoding.past_of(i), cross)
            cache.append(kv)
        return self.norm(h), tuple(cache)


class T5(nn.Module):
    """Sources are read once by the encoder; each block of the decoder attends over its final states."""

    def __init__(self, config: T5Config) -> None:
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(config.vocab_size, config.d)
        self.encoder = Stack(config, config.encoder_layers, is_decoder=False)
        self.decoder = Stack(config, config.decoder_layers, is_decoder=True)
        self.head = nn.Linear(config.d, config.vocab_size, bias=False) if config.has_head else None

    def read(self, token_ids: Tensor, is_text: Tensor) -> Decoding:
        is_text = is_text[:, None, None, :]  # (b, 1, 1, s)
        states, _ = self.encoder(self.embedding(token_ids), is_text, Decoding())  # (b, s, d)
        by_block = tuple(block.cross_attention.keys_values(states) for block in self.decoder.blocks)  # type: ignore[union-attr,operator]
        return Decoding(source=Source(by_block, is_text))

    def forward(self, token_ids: Tensor, decoding: Decoding) -> tuple[Tensor, Decoding]:
        mask = may_see(decoding.tokens, token_ids.shape[1], token_ids.device)
        h, cache = self.decoder(self.embedding(token_ids), mask, decoding)
        if self.config.scales_output:
            h = h * self.config.d**-0.5
        head = self.embedding.weight if self.head is None else self.head.weight
        return h @ head.T, Decoding(cache, decoding.source)  # (b, t, V)


def t5_weights(stored: Mapping[str, AnyArray]) -> dict[str, AnyArray]:
    """Tensors in our names."""
    weights: dict[str, AnyArray] = {}
    for name, array in stored.items():
        if name.endswith(_UNUSED):
            continue
        for pattern, ours in _NAMES:
            name = re.sub(pattern, ours, name)
        weights[name] = array
    return weights


def _attention(config: T5Config) -> Attention:
    return Attention(config.d, config.heads, config.d_head, is_scaled=False)
