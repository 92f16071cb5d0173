"""The model of `encoder/bert.py` over packed texts, without padding, query, key and value in one product.

Shapes: T tokens of all texts end to end, S segments (texts), d width, m heads, f feed-forward width.
On CUDA attention is variable-length flash attention (Dao 2023, "FlashAttention-2"); elsewhere an equal one
with a block-diagonal mask, quadratic in T, there so that everything else can be tested without a GPU.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.attention.varlen import varlen_attn

from core.errors import CheckpointError
from encoder.config import Activation, ModelConfig, Pooling
from encoder.parameters import WORD_EMBEDDINGS, Weights, fold_class_attention

_BERT_NAMES = ("embeddings.", "encoder.layer.", "class_attention.")

Attend = Callable[[Tensor, Tensor, Tensor], Tensor]  # q, k, v (T, m, d/m) -> (T, m, d/m)


class PackedBlock(nn.Module):
    """Self-attention within each segment, then the feed-forward layer."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        d, f, eps = config.d, config.intermediate, config.layer_norm_eps
        self.heads = config.heads
        self.qkv, self.attention_output = nn.Linear(d, 3 * d), nn.Linear(d, d)
        self.attention_norm, self.norm = nn.LayerNorm(d, eps=eps), nn.LayerNorm(d, eps=eps)
        self.up, self.down = nn.Linear(d, f), nn.Linear(f, d)
        self.activate: Callable[[Tensor], Tensor] = F.gelu if config.activation is Activation.GELU else F.relu

    def forward(self, h: Tensor, attend: Attend) -> Tensor:
        q, k, v = self.qkv(h).unflatten(1, (3, self.heads, -1)).unbind(1)  # each (T, m, d/m)
        a = self.attention_output(attend(q, k, v).flatten(1))  # (T, d)
        h = self.attention_norm(a + h)
        f = self.activate(self.up(h))  # (T, f)
        out: Tensor = self.norm(self.down(f) + h)
        return out  # (T, d)


class PackedBert(nn.Module):
    """Token ids (T,) and segment starts (S + 1,), both int32, to embeddings (S, d) float32.

    `starts` rises from 0 to T. No segment is longer than `longest`. Rows of empty segments mean nothing.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        d = config.d
        self.config = config
        self.words = nn.Embedding(config.vocab_size, d)
        self.positions = nn.Embedding(config.max_positions, d)
        self.norm = nn.LayerNorm(d, eps=config.layer_norm_eps)
        self.blocks = nn.ModuleList(PackedBlock(config) for _ in range(config.layers))
        if config.pooling is Pooling.CLASS_ATTENTION:
            self.pool_keys = nn.Linear(d, config.pooling_heads, bias=False)
            self.pool_values = nn.Linear(d, d, bias=False)
            self.pool_output = nn.Linear(d, d, bias=False)

    def forward(self, token_ids: Tensor, starts: Tensor, longest: int) -> Tensor:
        u: Tensor = self.pool(self.states(token_ids, starts, longest), starts)
        return F.normalize(u, dim=-1) if self.config.normalize else u

    def states(self, token_ids: Tensor, starts: Tensor, longest: int) -> Tensor:
        """Hidden states of the last layer: (T, d)."""
        segment = _segments(starts, len(token_ids))  # (T,)
        index = torch.arange(len(token_ids), dtype=torch.int32, device=token_ids.device)  # (T,)
        # A segment of added tokens may be longer than the position table.
        position = (index - starts[segment]).clamp(max=self.config.max_positions - 1)  # (T,)
        h: Tensor = self.norm(self.words(token_ids) + self.positions(position))  # (T, d)
        attend = _attention(starts, segment, longest)
        for block in self.blocks:
            h = block(h, attend)
        return h

    def pool(self, h: Tensor, starts: Tensor) -> Tensor:
        """One float32 vector a segment, before normalisation: (S, d)."""
        segment = _segments(starts, len(h))  # (T,)
        if self.config.pooling is Pooling.CLASS_ATTENTION:
            return self._class_attention(h, len(starts) - 1, segment)
        if self.config.pooling is Pooling.CLS:
            return h[starts[:-1].clamp(max=len(h) - 1)].float()  # (S, d)
        lengths = starts.diff().clamp(min=1)  # (S,)
        return segment_sum(h.float(), segment, len(lengths)) / lengths[:, None]

    def _class_attention(self, h: Tensor, segments: int, segment: Tensor) -> Tensor:
        """`u = sum_i W_o a_i W_v h_i`. Values of all tokens are made first: a sum for each head of the states
        themselves, as the padded model does it, would be (T, m, d) here."""
        a = segment_softmax(self.pool_keys(h).float(), segment, segments)  # (T, m)
        v = self.pool_values(h).unflatten(1, (self.config.pooling_heads, -1))  # (T, m, d/m)
        u = segment_sum((a[..., None] * v).flatten(1), segment, segments)  # (S, d)
        return F.linear(u, self.pool_output.weight.float())


def _segments(starts: Tensor, tokens: int) -> Tensor:
    """The segment (T,) int64 of each token."""
    index = torch.arange(tokens, dtype=torch.int32, device=starts.device)  # (T,)
    return torch.searchsorted(starts[1:], index, right=True)


def segment_sum(x: Tensor, segment: Tensor, segments: int) -> Tensor:
    """Sums of the rows of `x` (T, n) by `segment` (T,): (S, n)."""
    return x.new_zeros(segments, x.shape[1]).index_add(0, segment, x)


def segment_softmax(scores: Tensor, segment: Tensor, segments: int) -> Tensor:
    """Softmax of `scores` (T, m) over the tokens of each segment: (T, m)."""
    index = segment[:, None].expand_as(scores)
    largest = scores.new_full((segments, scores.shape[1]), -torch.inf).scatter_reduce(
        0, index, scores, "amax"
    )
    w = (scores - largest[segment]).exp()
    return w / segment_sum(w, segment, segments)[segment]


def _attention(starts: Tensor, segment: Tensor, longest: int) -> Attend:
    if starts.is_cuda:
        return partial(_flash_attention, starts, longest)
    return partial(_masked_attention, segment[:, None] == segment)


def _flash_attention(starts: Tensor, longest: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    a = varlen_attn(q, k, v, starts, starts, longest, longest)
    assert isinstance(a, Tensor)  # a tuple only when more is asked for
    return a


def _masked_attention(mask: Tensor, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    q, k, v = (x.transpose(0, 1) for x in (q, k, v))  # (m, T, d/m)
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask).transpose(0, 1)


def packed_from_weights(config: ModelConfig, weights: Weights) -> PackedBert:
    """A float32 model in evaluation mode, without gradients.

    Raises CheckpointError for weights that are not of BERT's shape, by their names.
    """
    if foreign := [name for name in weights if not name.startswith(_BERT_NAMES)]:
        raise CheckpointError(
            f"Model '{config.id}' has weights that BERT has not ({', '.join(foreign[:3])}), which the packed "
            f"model would leave out. Choose the backend 'openvino' or 'torch'."
        )
    with torch.device("meta"):
        model = PackedBert(config)
    model.load_state_dict(_packed_state(config, weights), assign=True)
    return model.eval().requires_grad_(False)


def _packed_state(config: ModelConfig, weights: Weights) -> dict[str, Tensor]:
    state = {
        "words.weight": weights[WORD_EMBEDDINGS],
        "positions.weight": weights["embeddings.position_embeddings.weight"]
        + weights["embeddings.token_type_embeddings.weight"][0],
    }
    renamed = {"norm": "embeddings.LayerNorm"}
    for i in range(config.layers):
        ours, theirs = f"blocks.{i}", f"encoder.layer.{i}"
        renamed[f"{ours}.attention_output"] = f"{theirs}.attention.output.dense"
        renamed[f"{ours}.attention_norm"] = f"{theirs}.attention.output.LayerNorm"
        renamed[f"{ours}.up"] = f"{theirs}.intermediate.dense"
        renamed[f"{ours}.down"] = f"{theirs}.output.dense"
        renamed[f"{ours}.norm"] = f"{theirs}.output.LayerNorm"
        for kind in ("weight", "bias"):
            parts = [f"{theirs}.attention.self.{part}.{kind}" for part in ("query", "key", "value")]
            state[f"{ours}.qkv.{kind}"] = np.concatenate([weights[part] for part in parts])
    for kind in ("weight", "bias"):
        state |= {f"{ours}.{kind}": weights[f"{theirs}.{kind}"] for ours, theirs in renamed.items()}
    if config.pooling is Pooling.CLASS_ATTENTION:
        state["pool_keys.weight"] = fold_class_attention(config, weights)[0]
        state["pool_values.weight"] = weights["class_attention.value.weight"]
        state["pool_output.weight"] = weights["class_attention.output.weight"]
    return {name: torch.from_numpy(np.array(array, np.float32)) for name, array in state.items()}
