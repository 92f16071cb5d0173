"""A causal transformer decoder in torch: pre-norm, rotary positions, tied embeddings, cached keys and values.

Vaswani et al. 2017, "Attention is all you need", section 3; norms before each part as in Xiong et al. 2020;
RMSNorm by Zhang and Sennrich 2019; rotary positions by Su et al. 2021, "RoFormer", section 3.2.
Shapes: b sequences, t new tokens, p tokens decoded before, s source tokens, d width, m heads, V vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from encoder.generator_config import DecoderConfig


class KeyValues(NamedTuple):
    """What attention looks up: keys and values, both (b, m, t, d/m)."""

    keys: Tensor
    values: Tensor

    def after(self, past: KeyValues | None) -> KeyValues:
        """These behind those of the tokens before."""
        if past is None:
            return self
        return KeyValues(torch.cat((past.keys, self.keys), 2), torch.cat((past.values, self.values), 2))


@dataclass(frozen=True, slots=True)
class Source:
    """What cross-attention reads: of each block the keys and values, and `is_text` (b, 1, 1, s)."""

    by_block: tuple[KeyValues, ...]
    is_text: Tensor


class Attention(nn.Module):
    """Dot-product attention of queries from `x` over given keys and values.

    A head is `d_head` wide, d/m unless told; scores are divided by its root unless `is_scaled` is False.
    """

    def __init__(
        self, d: int, heads: int, d_head: int | None = None, has_bias: bool = False, is_scaled: bool = True
    ) -> None:
        super().__init__()
        d_head = d_head or d // heads
        self.heads = heads
        self.divisor = d_head**0.5 if is_scaled else 1.0
        self.query = nn.Linear(d, heads * d_head, bias=has_bias)
        self.key = nn.Linear(d, heads * d_head, bias=has_bias)
        self.value = nn.Linear(d, heads * d_head, bias=has_bias)
        self.output = nn.Linear(heads * d_head, d, bias=has_bias)

    def queries(self, x: Tensor) -> Tensor:
        return self._split(self.query(x))  # (b, m, t, d/m)

    def keys_values(self, x: Tensor) -> KeyValues:
        return KeyValues(self._split(self.key(x)), self._split(self.value(x)))

    def attend(
        self,
        q: Tensor,
        kv: KeyValues,
        mask: Tensor | None,
        is_causal: bool = False,
        bias: Tensor | None = None,
    ) -> Tensor:
        """What is found (b, t, d). `mask` is True where a query may see a key; `bias` is added to scores."""
        # Written out: for sequences this short torch's fused kernel takes several times as long on a CPU.
        scores = q @ kv.keys.transpose(2, 3) / self.divisor  # (b, m, t, s)
        if bias is not None:
            scores = scores + bias
        if is_causal:
            mask = may_see(0, q.shape[2], q.device)
        if mask is not None:
            scores = scores.masked_fill(~mask, -torch.inf)
        a = scores.softmax(-1) @ kv.values  # (b, m, t, d/m)
        attended: Tensor = self.output(a.transpose(1, 2).flatten(2))  # (b, t, d)
        return attended

    def _split(self, x: Tensor) -> Tensor:
        b, t, width = x.shape
        return x.view(b, t, self.heads, width // self.heads).transpose(1, 2)  # (b, m, t, d/m)


class FeedForward(nn.Module):
    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        self.up = nn.Linear(config.d, config.intermediate, bias=False)
        self.down = nn.Linear(config.intermediate, config.d, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        fed: Tensor = self.down(F.gelu(self.up(x)))  # (b, t, d)
        return fed


class Block(nn.Module):
    """Self-attention, cross-attention where the model has a source, feed-forward; each added to its input.

    Dropout is applied to what the block adds as a whole.
    """

    def __init__(self, config: DecoderConfig, has_cross_attention: bool, dropout: float = 0.0) -> None:
        super().__init__()
        self.self_norm = nn.RMSNorm(config.d, eps=config.norm_eps)
        self.self_attention = Attention(config.d, config.heads)
        self.cross_attention: Attention | None = None
        if has_cross_attention:
            self.cross_norm = nn.RMSNorm(config.d, eps=config.norm_eps)
            self.cross_attention = Attention(config.d, config.heads)
        self.feed_norm = nn.RMSNorm(config.d, eps=config.norm_eps)
        self.feed_forward = FeedForward(config)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self,
        h: Tensor,
        rotation: Rotation,
        mask: Tensor | None,
        is_causal: bool,
        past: KeyValues | None = None,
        source: tuple[KeyValues, Tensor] | None = None,
    ) -> tuple[Tensor, KeyValues]:
        """New states (b, t, d), and keys and values of all tokens so far."""
        x = self.self_norm(h)
        q, kv = rotation.of(self.self_attention.queries(x)), self.self_attention.keys_values(x)
        kv = KeyValues(rotation.of(kv.keys), kv.values).after(past)
        start = h
        h = h + self.self_attention.attend(q, kv, mask, is_causal)
        if self.cross_attention is not None and source is not None:
            q = self.cross_attention.queries(self.cross_norm(h))
            h = h + self.cross_attention.attend(q, *source)
        h = h + self.feed_forward(self.feed_norm(h))
        return start + self.dropout(h - start), kv


class Rotation:
    """Cosines and sines of positions `start` to `start + t - 1`, for vectors (b, m, t, d/m)."""

    def __init__(self, config: DecoderConfig, start: int, tokens: int, device: torch.device) -> None:
        half = config.d // config.heads // 2
        frequencies = config.rotary_base ** (-torch.arange(half, device=device) / half)  # (d/2m,)
        positions = torch.arange(start, start + tokens, device=device)
        angles = positions[:, None] * frequencies  # (t, d/2m)
        self._cos, self._sin = angles.cos(), angles.sin()

    def of(self, x: Tensor) -> Tensor:
        """Each pair (x_i, x_{i + half}) turned by the angle of its position."""
        a, b = x.chunk(2, -1)
        cos, sin = self._cos.to(x.dtype), self._sin.to(x.dtype)
        return torch.cat((a * cos - b * sin, b * cos + a * sin), -1)


class Decoder(nn.Module):
    """Token ids (b, t) to logits (b, t, V), each position seeing only itself and those before it."""

    def __init__(self, config: DecoderConfig, dropout: float = 0.0) -> None:
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(config.vocab_size, config.d)
        self.blocks = nn.ModuleList(
            Block(config, config.has_cross_attention, dropout) for _ in range(config.layers)
        )
        self.norm = nn.RMSNorm(config.d, eps=config.norm_eps)
        self.dropout = nn.Dropout(dropout)
        nn.init.normal_(self.embedding.weight, std=config.d**-0.5)

    def source(self, memory: Tensor, is_text: Tensor) -> Source:
        """Keys and values of all blocks for `memory` (b, s, d), computed once an input."""
        by_block = tuple(block.cross_attention.keys_values(memory) for block in self.blocks)  # type: ignore[union-attr,operator]
        return Source(by_block, is_text[:, None, None, :])

    def forward(
        self,
        token_ids: Tensor,
        source: Source | None = None,
        past: tuple[KeyValues, ...] | None = None,
        prefix: Tensor | None = None,
    ) -> tuple[Tensor, tuple[KeyValues, ...]]:
        """States (b, t, d) after the last norm, and the cache for the next call.

        `past` holds the cache of the p tokens before. `prefix` (b, x, d) goes before the first tokens as if
        they were embeddings; states of its positions come first in the result.
        """
        h = self.dropout(self.embedding(token_ids))  # (b, t, d)
        if prefix is not None:
            h = torch.cat((prefix, h), 1)
        p = 0 if past is None else past[0].keys.shape[2]
        t = h.shape[1]
        rotation = Rotation(self.config, p, t, h.device)
        mask = may_see(p, t, h.device) if p and t > 1 else None
        cache = []
        for i, block in enumerate(self.blocks):
            cross = None if source is None else (source.by_block[i], source.is_text)
            h, kv = block(h, rotation, mask, p == 0, None if past is None else past[i], cross)
            cache.append(kv)
        return self.norm(h), tuple(cache)

    def logits(self, states: Tensor) -> Tensor:
        """(b, t, V) of states (b, t, d): the embeddings are tied."""
        return states @ self.embedding.weight.T


def may_see(p: int, t: int, device: torch.device) -> Tensor:
    """True where token i of t new ones may see token j of p + t: (t, p + t)."""
    return torch.ones(t, p + t, dtype=torch.bool, device=device).tril(p)
