"""Vectors of many texts of different lengths with gradients: little padding, chunks that fit the cache."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from encoder.backends.base import Int32
from encoder.bert import Bert
from encoder.training.bfloat16 import bfloat16

_CHUNK_TOKENS = {"cpu": 2048, "cuda": 16384}
_FUSED_FROM = 160  # tokens of a text from which on the fused attention is faster on a CPU, backwards too


def embed(model: Bert, token_ids: Sequence[Int32], bf16: bool = False) -> Tensor:
    """Unit vectors (n, d) float32 in the order of the texts; with `bf16` the blocks compute in bfloat16."""
    return F.normalize(outputs(model, token_ids, bf16), dim=-1)


def outputs(model: nn.Module, token_ids: Sequence[Int32], bf16: bool = False) -> Tensor:
    """What `model(token_ids, is_text)` gives for each text, (n, …) float32 in their order."""
    device = next(model.parameters()).device
    order = np.argsort([len(ids) for ids in token_ids], kind="stable")
    parts = []
    with bfloat16(device.type, bf16):
        for chunk in _chunks([token_ids[i] for i in order], _CHUNK_TOKENS[device.type]):
            ids, is_text = _pad(chunk)
            with _attention(device, ids.shape[1]):
                parts.append(model(ids.to(device), is_text.to(device)))
    back = torch.from_numpy(np.argsort(order)).to(device)
    return torch.cat(parts).float()[back]


def _attention(device: torch.device, tokens: int) -> AbstractContextManager[object]:
    """On a CPU the backward pass of the fused attention is slower than that of the plain formula for short
    texts, and a fifth faster for 256 tokens."""
    plain = device.type == "cpu" and tokens < _FUSED_FROM
    return sdpa_kernel(SDPBackend.MATH) if plain else nullcontext()


def _chunks(by_length: Sequence[Int32], max_tokens: int) -> Iterator[Sequence[Int32]]:
    """Consecutive texts, shortest first, that fit into `max_tokens` once padded to the longest."""
    start = 0
    for end in range(1, len(by_length) + 1):
        is_last = end == len(by_length)
        if is_last or (end + 1 - start) * len(by_length[end]) > max_tokens:
            yield by_length[start:end]
            start = end


def _pad(texts: Sequence[Int32]) -> tuple[Tensor, Tensor]:
    lengths = np.array([len(ids) for ids in texts])
    is_text = np.arange(lengths.max()) < lengths[:, None]  # (n, t)
    token_ids = np.zeros(is_text.shape, np.int64)
    token_ids[is_text] = np.concatenate(texts)
    return torch.from_numpy(token_ids), torch.from_numpy(is_text)
