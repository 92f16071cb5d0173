"""A ModernBERT encoder in torch: rotary positions, norms before, gated feed-forward, mostly local attention.

Warner et al. 2024, "Smarter, Better, Faster, Longer"; rotation by Su et al. 2021, "RoFormer", section 3.4.
Shapes: b texts, t tokens, d width, m heads, f feed-forward width. Module names give the public weight names.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from encoder.bert import pool_states
from encoder.config import Activation, ModelConfig, ModernShape
from encoder.parameters import Weights


class Embeddings(nn.Module):
    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.tok_embeddings = nn.Embedding(config.vocab_size, config.d)
        self.norm = _norm(config)

    def forward(self, token_ids: Tensor) -> Tensor:
        h: Tensor = self.norm(self.tok_embeddings(token_ids))  # (b, t, d)
        return h


class Attention(nn.Module):
    """Queries and keys are rotated by their positions before they meet."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.heads = config.heads
        self.Wqkv = nn.Linear(config.d, 3 * config.d, bias=False)
        self.Wo = nn.Linear(config.d, config.d, bias=False)

    def forward(self, h: Tensor, angles: Tensor, sees: Tensor) -> Tensor:
        qkv = self.Wqkv(h).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)  # (3, b, m, t, d/m)
        q, k, v = rotate(qkv[0], angles), rotate(qkv[1], angles), qkv[2]
        a = F.scaled_dot_product_attention(q, k, v, attn_mask=sees)  # (b, m, t, d/m)
        out: Tensor = self.Wo(a.transpose(1, 2).flatten(2))  # (b, t, d)
        return out


class FeedForward(nn.Module):
    """Gated: `W_o (gelu(x) * g)` with `[x, g] = W_i h` (Shazeer 2020, "GLU variants", GEGLU)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.Wi = nn.Linear(config.d, 2 * config.intermediate, bias=False)
        self.Wo = nn.Linear(config.intermediate, config.d, bias=False)
        self.activate = F.gelu if config.activation is Activation.GELU else F.relu

    def forward(self, h: Tensor) -> Tensor:
        x, gate = self.Wi(h).chunk(2, dim=-1)  # (b, t, f) each
        out: Tensor = self.Wo(self.activate(x) * gate)  # (b, t, d)
        return out


class Block(nn.Module):
    """Attention and feed-forward, each on the norm of its input and added to it; the first needs none."""

    def __init__(self, config: ModelConfig, is_first: bool) -> None:
        super().__init__()
        self.attn_norm = nn.Identity() if is_first else _norm(config)
        self.attn = Attention(config)
        self.mlp_norm = _norm(config)
        self.mlp = FeedForward(config)

    def forward(self, h: Tensor, angles: Tensor, sees: Tensor) -> Tensor:
        h = h + self.attn(self.attn_norm(h), angles, sees)
        out: Tensor = h + self.mlp(self.mlp_norm(h))  # (b, t, d)
        return out


class ModernBert(nn.Module):
    """Token ids (b, t) and `is_text` (b, t) bool, False at padding, to embeddings (b, d)."""

    def __init__(self, config: ModelConfig, shape: ModernShape) -> None:
        super().__init__()
        self.config, self.shape = config, shape
        self.embeddings = Embeddings(config)
        self.layers = nn.ModuleList(Block(config, is_first=i == 0) for i in range(config.layers))
        self.final_norm = _norm(config)

    def states(self, token_ids: Tensor, is_text: Tensor) -> Tensor:
        """Hidden states of the last layer (b, t, d); those of padding mean nothing."""
        positions = torch.arange(token_ids.shape[1], device=token_ids.device)
        distance = (positions[:, None] - positions).abs()  # (t, t)
        # Padding sees itself, for a softmax over nothing is not a number and would spread.
        everywhere = is_text[:, None, None, :] | (distance == 0)  # (b, 1, t, t)
        nearby = everywhere & (distance <= self.shape.reach)
        d_head = self.config.d // self.config.heads
        global_angles = rotation_angles(positions, d_head, self.shape.global_theta)
        local_angles = rotation_angles(positions, d_head, self.shape.local_theta)
        h = self.embeddings(token_ids)
        for block, is_global in zip(self.layers, self.shape.is_global, strict=True):
            h = block(h, global_angles, everywhere) if is_global else block(h, local_angles, nearby)
        normed: Tensor = self.final_norm(h)
        return normed

    def forward(self, token_ids: Tensor, is_text: Tensor) -> Tensor:
        u = pool_states(self.config.pooling, self.states(token_ids, is_text), is_text)
        return F.normalize(u, dim=-1) if self.config.normalize else u


def rotation_angles(positions: Tensor, d_head: int, theta: float) -> Tensor:
    """`position * theta^(-2i / d_head)` for each pair i: (t, d_head / 2)."""
    pairs = torch.arange(0, d_head, 2, device=positions.device, dtype=torch.float32)
    return positions[:, None].float() * theta ** (-pairs / d_head)


def rotate(x: Tensor, angles: Tensor) -> Tensor:
    """Turns the pairs (x_i, x_{i + d/2}) of `x` (…, t, d) by `angles` (t, d / 2)."""
    first, second = x.float().chunk(2, dim=-1)
    cos, sin = angles.cos(), angles.sin()
    return torch.cat([first * cos - second * sin, second * cos + first * sin], dim=-1).to(x.dtype)


def modern_bert_from_weights(config: ModelConfig, shape: ModernShape, weights: Weights) -> ModernBert:
    """A model in evaluation mode with a copy of the given weights."""
    model = ModernBert(config, shape)
    model.load_state_dict({name: torch.from_numpy(np.array(w, np.float32)) for name, w in weights.items()})
    return model.eval()


def _norm(config: ModelConfig) -> nn.LayerNorm:
    return nn.LayerNorm(config.d, eps=config.layer_norm_eps, bias=False)
