"""The upper blocks of an encoder on states that its frozen lower blocks computed once.

Shapes: n texts, b of them in a chunk, t tokens, d width.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from encoder.backends.base import Int32
from encoder.bert import Bert, Block
from encoder.training.bfloat16 import bfloat16

_CHUNK_TOKENS = 1024
_LENGTH_STEP = 8  # few different shapes: each has code generated and kept for it

Drop = Callable[[Tensor], Tensor]  # of states between blocks


def blocks_of(model: Bert) -> list[Block]:
    return cast(list[Block], list(model.encoder.layer))


def lower_states(model: Bert, token_ids: Sequence[Int32], last: int, bf16: bool) -> list[Tensor]:
    """What the uppermost `last` blocks read of each text: (t, d) float32 each, in their order."""
    rows: list[Tensor] = [torch.from_numpy(ids).long()[:, None] for ids in token_ids]
    states = list(rows)
    with torch.no_grad():
        for chunk in _chunks(rows):
            ids, is_text = _padded([rows[i] for i in chunk], model.config.max_positions)
            with _arithmetic(bf16):
                h = _through(model, model.embeddings(ids[..., 0]), is_text, slice(0, -last))
            for i, state in zip(chunk, h.float(), strict=True):
                states[i] = state[: len(rows[i])].clone()
    return states


def upper_vectors(model: Bert, states: Sequence[Tensor], last: int, bf16: bool, drop: Drop) -> Tensor:
    """Unit embeddings (n, d) float32 of texts by their states before the uppermost `last` blocks."""
    parts, order = [], []
    for chunk in _chunks(states):
        h, is_text = _padded([states[i] for i in chunk], model.config.max_positions)
        with _arithmetic(bf16):
            h = _through(model, drop(h), is_text, slice(-last, None), drop)
            parts.append(model.pool(h, is_text).float())
        order += chunk
    back = torch.from_numpy(np.argsort(order))
    return F.normalize(torch.cat(parts)[back], dim=-1)


def _through(model: Bert, h: Tensor, is_text: Tensor, which: slice, drop: Drop = lambda h: h) -> Tensor:
    score_bias = model.encoder.score_bias(h, is_text)
    for block in blocks_of(model)[which]:
        h = drop(block(h, score_bias))
    return h


@contextmanager
def _arithmetic(bf16: bool) -> Iterator[None]:
    """Attention by its plain formula, whose backward pass is the faster one on a CPU."""
    with sdpa_kernel(SDPBackend.MATH), bfloat16("cpu", bf16):
        yield


def _chunks(rows: Sequence[Tensor]) -> Iterator[list[int]]:
    """Indices of all rows, shortest first, in parts that fit into the chunk once padded."""
    order = np.argsort([len(row) for row in rows], kind="stable").tolist()
    start = 0
    for end in range(1, len(order) + 1):
        is_last = end == len(order)
        if is_last or (end + 1 - start) * _rounded(len(rows[order[end]])) > _CHUNK_TOKENS:
            yield order[start:end]
            start = end


def _padded(rows: Sequence[Tensor], most: int) -> tuple[Tensor, Tensor]:
    """Rows (t, d) as one tensor (b, t, d), and where it is not padding (b, t).

    Neither the rows nor what is made of them are longer than `most`, the positions of the model.
    """
    lengths = torch.tensor([len(row) for row in rows])
    length = min(_rounded(int(lengths.max())), most)
    padded = rows[0].new_zeros(len(rows), length, rows[0].shape[1])
    for i, row in enumerate(rows):
        padded[i, : len(row)] = row
    return padded, torch.arange(length) < lengths[:, None]


def _rounded(length: int) -> int:
    return -(-length // _LENGTH_STEP) * _LENGTH_STEP
