"""Inputs longer than a model reads at once: cut into windows, whose vectors make one.

A model trained on short inputs reads longer ones badly even where its position table allows them: with 512
tokens at once the shipped model loses 3 points of nDCG@10 on MedQuAD. The sum of the vectors of consecutive
windows loses nothing and finds more (docs/encoder.md): the first counts whole, since texts begin with what
they are about, and what follows by its length.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from core.types import Float32
from encoder.backends.base import Int32

# Of a later window as long as the first one, against the first one's 1. It is part of what `window_tokens`
# means, which the fingerprint holds: another share needs a field of its own.
LATER_SHARE = 0.2
_SPECIAL_TOKENS = 2


def windows(token_ids: Int32, most: int) -> list[Int32]:
    """One input (t,) as consecutive ones of at most `most` tokens, each between its first and last token."""
    if len(token_ids) <= most:
        return [token_ids]
    inner, room = token_ids[1:-1], most - _SPECIAL_TOKENS
    cuts = [inner[at : at + room] for at in range(0, len(inner), room)]
    return [np.concatenate([token_ids[:1], cut, token_ids[-1:]]) for cut in cuts]


def window_weights(of_one: Sequence[Int32]) -> Float32:
    """Of several windows: 1, then LATER_SHARE * tokens / tokens of the first for each other, float32."""
    tokens = np.array([len(ids) - _SPECIAL_TOKENS for ids in of_one], np.float32)
    weights = LATER_SHARE * tokens / tokens[0]
    weights[0] = 1
    return np.asarray(weights, dtype=np.float32)


def mixed(vectors: Float32, inputs: Sequence[Sequence[Int32]]) -> Float32:
    """Unit vectors (n, d) of n inputs from those of all their windows, in their order.

    An input of one window has that one's, whatever stands beside it.
    """
    if len(vectors) == len(inputs):
        return vectors
    ends = np.cumsum([len(of_one) for of_one in inputs])
    whole: Float32 = vectors[ends - [len(of_one) for of_one in inputs]]  # the first of each
    for row, (of_one, end) in enumerate(zip(inputs, ends.tolist(), strict=True)):
        if len(of_one) > 1:
            u = window_weights(of_one) @ vectors[end - len(of_one) : end]  # (d,)
            whole[row] = u / np.linalg.norm(u)
    return whole


def mixed_parts(parts: Sequence[Float32], of_one: Sequence[Int32]) -> Float32:
    """(t, d): what each token of one input adds to its unit vector, from what it adds to its window's.

    What the first and last tokens of later windows contribute counts for those of the input.
    """
    weighted = [w * part for w, part in zip(window_weights(of_one), parts, strict=True)]
    first, last = sum(part[0] for part in weighted), sum(part[-1] for part in weighted)
    whole = np.concatenate([first[None], *(part[1:-1] for part in weighted), last[None]])
    return np.asarray(whole / np.linalg.norm(whole.sum(axis=0)), dtype=np.float32)
