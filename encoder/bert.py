"""A BERT-shaped encoder with class-attention pooling, in torch; the reference for every other backend.

Devlin et al. 2019, "BERT"; pooling by Touvron et al. 2021, "Going deeper with image transformers", section 3.
Shapes: b texts, t tokens, d width, m heads, f feed-forward width. Module names give the public weight names.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from encoder.config import Activation, ModelConfig, Pooling
from encoder.parameters import Weights, relative_buckets


class Embeddings(nn.Module):
    """Word, position and segment vectors added, then layer norm. All tokens are of segment 0."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.word_embeddings = nn.Embedding(config.vocab_size, config.d)
        self.position_embeddings = nn.Embedding(config.max_positions, config.d)
        self.token_type_embeddings = nn.Embedding(config.type_vocab, config.d)
        self.LayerNorm = nn.LayerNorm(config.d, eps=config.layer_norm_eps)

    def forward(self, token_ids: Tensor) -> Tensor:
        positions = self.position_embeddings.weight[: token_ids.shape[1]]  # (t, d)
        h = self.word_embeddings(token_ids) + positions + self.token_type_embeddings.weight[0]  # (b, t, d)
        normed: Tensor = self.LayerNorm(h)
        return normed


class SelfAttention(nn.Module):
    """Scaled dot-product attention between all tokens; `score_bias` (…, t, t) is added to the scores."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.heads = config.heads
        self.query = nn.Linear(config.d, config.d)
        self.key = nn.Linear(config.d, config.d)
        self.value = nn.Linear(config.d, config.d)

    def forward(self, h: Tensor, score_bias: Tensor) -> Tensor:
        q, k, v = (self._split(linear(h)) for linear in (self.query, self.key, self.value))
        a = F.scaled_dot_product_attention(q, k, v, attn_mask=score_bias)  # (b, m, t, d/m)
        return a.transpose(1, 2).flatten(2)  # (b, t, d)

    def _split(self, x: Tensor) -> Tensor:
        b, t, d = x.shape
        return x.view(b, t, self.heads, d // self.heads).transpose(1, 2)  # (b, m, t, d/m)


class Residual(nn.Module):
    """A linear layer, the skip connection, and layer norm after it."""

    def __init__(self, width: int, config: ModelConfig) -> None:
        super().__init__()
        self.dense = nn.Linear(width, config.d)
        self.LayerNorm = nn.LayerNorm(config.d, eps=config.layer_norm_eps)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        h: Tensor = self.LayerNorm(self.dense(x) + skip)  # (b, t, d)
        return h


class Attention(nn.Module):
    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.self = SelfAttention(config)
        self.output = Residual(config.d, config)

    def forward(self, h: Tensor, score_bias: Tensor) -> Tensor:
        a: Tensor = self.output(self.self(h, score_bias), h)
        return a


class Intermediate(nn.Module):
    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.dense = nn.Linear(config.d, config.intermediate)
        self.activate: Callable[[Tensor], Tensor] = F.gelu if config.activation is Activation.GELU else F.relu

    def forward(self, h: Tensor) -> Tensor:
        return self.activate(self.dense(h))  # (b, t, f)


class Block(nn.Module):
    """Self-attention, then the feed-forward layer, each with its skip connection and layer norm."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.attention = Attention(config)
        self.intermediate = Intermediate(config)
        self.output = Residual(config.intermediate, config)

    def forward(self, h: Tensor, score_bias: Tensor) -> Tensor:
        h = self.attention(h, score_bias)
        f: Tensor = self.output(self.intermediate(h), h)
        return f


class Blocks(nn.Module):
    """All blocks, and the bias by relative position that MPNet adds in each of them."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.layer = nn.ModuleList(Block(config) for _ in range(config.layers))
        if config.relative_buckets:
            self.relative_attention_bias = nn.Embedding(config.relative_buckets, config.heads)

    def forward(self, h: Tensor, is_text: Tensor) -> Tensor:
        score_bias = self.score_bias(h, is_text)
        for block in self.layer:
            h = block(h, score_bias)
        return h

    def score_bias(self, h: Tensor, is_text: Tensor) -> Tensor:
        """What every block adds to its attention scores, or where False forbids attention."""
        may_attend = is_text[:, None, None, :]  # (b, 1, 1, t)
        if not self.config.relative_buckets:
            return may_attend
        return self._relative_bias(h).masked_fill(~may_attend, -torch.inf)  # (b, m, t, t)

    def _relative_bias(self, h: Tensor) -> Tensor:
        buckets = torch.from_numpy(relative_buckets(self.config)).to(h.device)  # (2 max_positions - 1,)
        positions = torch.arange(h.shape[1], device=h.device)
        offsets = positions - positions[:, None] + self.config.max_positions - 1  # (t, t)
        by_head: Tensor = self.relative_attention_bias(buckets[offsets]).permute(2, 0, 1)[
            None
        ]  # (1, m, t, t)
        return by_head


class ClassAttention(nn.Module):
    """The CLS query attends over all tokens: `u = sum_i W_o a_i W_v h_i`, a plain sum over tokens.

    The query does not depend on the text, so it is folded through W_k and no token needs a key or a value
    of its own. Zero query with identity W_v and W_o is mean pooling, which is how it starts.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.heads = config.pooling_heads
        self.query = nn.Parameter(torch.zeros(config.d))
        self.key = nn.Linear(config.d, config.d, bias=False)
        self.value = nn.Linear(config.d, config.d, bias=False)
        self.output = nn.Linear(config.d, config.d, bias=False)
        for linear in (self.key, self.value, self.output):
            nn.init.eye_(linear.weight)

    def attention(self, h: Tensor, is_text: Tensor) -> Tensor:
        """Weights a (b, m, t) of the tokens of `h` (b, t, d), each head's adding up to 1."""
        q = self.query.view(self.heads, 1, -1)  # (m, 1, d/m)
        keys = q @ self._by_head(self.key)  # (m, 1, d)
        scores = h @ keys.squeeze(1).T / q.shape[-1] ** 0.5  # (b, t, m)
        a: Tensor = scores.masked_fill(~is_text[..., None], -torch.inf).softmax(1)
        return a.transpose(1, 2)  # (b, m, t)

    def forward(self, h: Tensor, is_text: Tensor) -> Tensor:
        context = self.attention(h, is_text) @ h  # (b, m, d)
        w_v = self._by_head(self.value)  # (m, d/m, d)
        u: Tensor = self.output(torch.einsum("bmd,mvd->bmv", context, w_v).flatten(1))  # (b, d)
        return u

    def _by_head(self, linear: nn.Linear) -> Tensor:
        return linear.weight.view(self.heads, -1, linear.in_features)  # (m, d/m, d)


class Bert(nn.Module):
    """Token ids (b, t) and `is_text` (b, t) bool, False at padding, to embeddings (b, d)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.embeddings = Embeddings(config)
        self.encoder = Blocks(config)
        if config.pooling is Pooling.CLASS_ATTENTION:
            self.class_attention = ClassAttention(config)

    def states(self, token_ids: Tensor, is_text: Tensor) -> Tensor:
        """Hidden states of the last layer (b, t, d); those of padding mean nothing."""
        h: Tensor = self.encoder(self.embeddings(token_ids), is_text)
        return h

    def pool(self, h: Tensor, is_text: Tensor) -> Tensor:
        """One vector a text, before normalisation: (b, d)."""
        if self.config.pooling is Pooling.CLASS_ATTENTION:
            u: Tensor = self.class_attention(h, is_text)
            return u
        return pool_states(self.config.pooling, h, is_text)

    def forward(self, token_ids: Tensor, is_text: Tensor) -> Tensor:
        u = self.pool(self.states(token_ids, is_text), is_text)
        return F.normalize(u, dim=-1) if self.config.normalize else u


def pool_states(pooling: Pooling, h: Tensor, is_text: Tensor) -> Tensor:
    """The state at the CLS position, or the mean of those of `h` (b, t, d) that are no padding: (b, d)."""
    if pooling is Pooling.CLS:
        return h[:, 0]
    weights = is_text.to(h.dtype)
    return (weights[:, None] @ h).squeeze(1) / weights.sum(1, keepdim=True)


def bert_from_weights(config: ModelConfig, weights: Weights) -> Bert:
    """A model in evaluation mode with a copy of the given weights."""
    model = Bert(config)
    model.load_state_dict({name: torch.from_numpy(np.array(w, np.float32)) for name, w in weights.items()})
    return model.eval()
