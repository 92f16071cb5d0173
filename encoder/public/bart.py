"""BART and Marian: the encoder-decoder of Vaswani et al. 2017, each norm after its part, with biases.

Lewis et al. 2020, "BART", section 2.1: learned positions, a norm of the embeddings. Marian (Junczys-Dowmunt
et al. 2018) has sinusoidal positions (Vaswani et al. 2017, section 3.5) and no such norm. Both add a bias to
the logits. Shapes: b texts, t target tokens, p before, s source tokens, d width, V vocabulary.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from core.errors import CheckpointError
from encoder.decoder import Attention, KeyValues, Source, may_see
from encoder.families import AnyArray
from encoder.public.decoding import Decoding
from encoder.public.layers import FeedForward

_FIRST_POSITION = 2  # rows of BART's position tables that lie before the first token
_NAMES = (
    (r"^model\.", ""),
    (r"^shared\.", "embedding."),
    (r"^final_logits_bias$", "logits_bias"),
    (r"\.layers\.", ".blocks."),
    (r"\.embed_positions\.", ".positions."),
    (r"\.layernorm_embedding\.", ".embedding_norm."),
    (r"\.self_attn_layer_norm\.", ".self_norm."),
    (r"\.encoder_attn_layer_norm\.", ".cross_norm."),
    (r"\.final_layer_norm\.", ".feed_norm."),
    (r"\.self_attn\.", ".self_attention."),
    (r"\.encoder_attn\.", ".cross_attention."),
    (r"_attention\.q_proj\.", "_attention.query."),
    (r"_attention\.k_proj\.", "_attention.key."),
    (r"_attention\.v_proj\.", "_attention.value."),
    (r"_attention\.out_proj\.", "_attention.output."),
    (r"\.fc1\.", ".feed_forward.up."),
    (r"\.fc2\.", ".feed_forward.down."),
)
_UNUSED = ("embed_tokens.weight", "lm_head.weight")  # the embedding once more


@dataclass(frozen=True, slots=True)
class StackConfig:
    """Of the encoder or the decoder."""

    layers: int
    heads: int
    intermediate: int


@dataclass(frozen=True, slots=True)
class BartConfig:
    """Shape of the model, in our names; with `has_sinusoids` it is a Marian model."""

    vocab_size: int
    d: int
    encoder: StackConfig
    decoder: StackConfig
    max_positions: int
    activation: str
    scales_embedding: bool
    has_sinusoids: bool


def bart_config(raw: Mapping[str, Any], is_marian: bool = False) -> BartConfig:
    """Raises CheckpointError for embeddings that are not shared, KeyError for a missing field."""
    for name in ("tie_word_embeddings", "share_encoder_decoder_embeddings"):
        if raw.get(name, True) is not True:
            raise CheckpointError(f"A {raw['model_type']} model with {name}=false is not supported.")
    if raw.get("normalize_before") or raw.get("add_final_layer_norm"):
        raise CheckpointError(f"A {raw['model_type']} model with norms before its parts is not supported.")
    encoder, decoder = (
        StackConfig(raw[f"{side}_layers"], raw[f"{side}_attention_heads"], raw[f"{side}_ffn_dim"])
        for side in ("encoder", "decoder")
    )
    return BartConfig(
        raw["vocab_size"],
        raw["d_model"],
        encoder,
        decoder,
        raw["max_position_embeddings"],
        raw.get("activation_function", "gelu"),
        bool(raw.get("scale_embedding", False)),
        is_marian,
    )


class Block(nn.Module):
    def __init__(self, config: BartConfig, stack: StackConfig, has_cross_attention: bool) -> None:
        super().__init__()
        d = config.d
        self.self_attention = Attention(d, stack.heads, has_bias=True)
        self.self_norm = nn.LayerNorm(d)
        if has_cross_attention:
            self.cross_attention = Attention(d, stack.heads, has_bias=True)
            self.cross_norm = nn.LayerNorm(d)
        self.feed_forward = FeedForward(d, stack.intermediate, config.activation)
        self.feed_norm = nn.LayerNorm(d)

    def forward(
        self,
        h: Tensor,
        mask: Tensor,
        past: KeyValues | None = None,
        source: tuple[KeyValues, Tensor] | None = None,
    ) -> tuple[Tensor, KeyValues]:
        attention = self.self_attention
        kv = attention.keys_values(h).after(past)
        h = self.self_norm(h + attention.attend(attention.queries(h), kv, mask))
        if source is not None:
            attention = self.cross_attention
            h = self.cross_norm(h + attention.attend(attention.queries(h), *source))
        return self.feed_norm(h + self.feed_forward(h)), kv  # (b, t, d)


class Stack(nn.Module):
    """Positions and blocks: the encoder, or the decoder."""

    def __init__(self, config: BartConfig, stack: StackConfig, is_decoder: bool) -> None:
        super().__init__()
        self.is_decoder = is_decoder
        self.positions: nn.Embedding | None = None
        self.embedding_norm: nn.LayerNorm | None = None
        if not config.has_sinusoids:
            self.positions = nn.Embedding(config.max_positions + _FIRST_POSITION, config.d)
            self.embedding_norm = nn.LayerNorm(config.d)
        self.blocks = nn.ModuleList(Block(config, stack, is_decoder) for _ in range(stack.layers))

    def forward(
        self, embedded: Tensor, mask: Tensor, decoding: Decoding
    ) -> tuple[Tensor, tuple[KeyValues, ...]]:
        _, t, d = embedded.shape
        positions = torch.arange(decoding.tokens, decoding.tokens + t, device=embedded.device)
        if self.positions is None or self.embedding_norm is None:
            h = embedded + sinusoids(positions, d)  # (b, t, d)
        else:
            h = self.embedding_norm(embedded + self.positions(positions + _FIRST_POSITION))
        cache = []
        for i, block in enumerate(self.blocks):
            cross = decoding.cross_of(i) if self.is_decoder else None
            h, kv = block(h, mask, decoding.past_of(i), cross)
            cache.append(kv)
        return h, tuple(cache)


class Bart(nn.Module):
    """Sources are read once by the encoder; each block of the decoder attends over its final states."""

    def __init__(self, config: BartConfig) -> None:
        super().__init__()
        self.scale = config.d**0.5 if config.scales_embedding else 1.0
        self.embedding = nn.Embedding(config.vocab_size, config.d)
        self.encoder = Stack(config, config.encoder, is_decoder=False)
        self.decoder = Stack(config, config.decoder, is_decoder=True)
        self.logits_bias = nn.Parameter(torch.zeros(1, config.vocab_size))

    def read(self, token_ids: Tensor, is_text: Tensor) -> Decoding:
        is_text = is_text[:, None, None, :]  # (b, 1, 1, s)
        states, _ = self.encoder(self.embedding(token_ids) * self.scale, is_text, Decoding())  # (b, s, d)
        by_block = tuple(block.cross_attention.keys_values(states) for block in self.decoder.blocks)  # type: ignore[union-attr,operator]
        return Decoding(source=Source(by_block, is_text))

    def forward(self, token_ids: Tensor, decoding: Decoding) -> tuple[Tensor, Decoding]:
        mask = may_see(decoding.tokens, token_ids.shape[1], token_ids.device)
        h, cache = self.decoder(self.embedding(token_ids) * self.scale, mask, decoding)
        logits = h @ self.embedding.weight.T + self.logits_bias
        return logits, Decoding(cache, decoding.source)  # (b, t, V)


def sinusoids(positions: Tensor, d: int) -> Tensor:
    """`sin(p / 10000^(2i/d))` for i < d/2, then the cosines: (t, d)."""
    i = torch.arange((d + 1) // 2, device=positions.device, dtype=torch.float64)
    angles = positions[:, None] / 10000 ** (2 * i / d)  # (t, d/2)
    return torch.cat((angles.sin(), angles.cos()[:, : d // 2]), 1).float()


def bart_weights(stored: Mapping[str, AnyArray], config: BartConfig) -> dict[str, AnyArray]:
    """Tensors in our names; a bias of zeros where none is stored."""
    weights: dict[str, AnyArray] = {}
    for name, array in stored.items():
        if name.endswith(_UNUSED) or (config.has_sinusoids and "embed_positions" in name):
            continue
        for pattern, ours in _NAMES:
            name = re.sub(pattern, ours, name)
        weights[name] = array
    if "logits_bias" not in weights:
        weights["logits_bias"] = torch.zeros(1, config.vocab_size).numpy()
    return weights
