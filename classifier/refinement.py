"""Prototypes moved to where the texts of a call are: transductive zero-shot classification.

Expectation maximisation with fixed width, as in k-means with soft assignments (Ren et al. 2018,
"Meta-learning for semi-supervised few-shot classification", section 3.1): texts are shared out among labels
by their present prototypes and how common the labels are so far, each prototype moves to its texts, the words
of the label keep pulling it back. Nothing takes all labels to be equally common: in real calls most are not,
and many have no text at all.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from core.types import Float32

ROUNDS = 10
LEAST_TEXTS = 5  # a label; with fewer their means are worse than its words
TEMPERATURE = 0.03
WORDS_WEIGHT = 1.0  # of the label's own wording beside the mean of its texts
COMMONNESS = 0.5  # exponent of how common labels are: 0 ignores it, 1 is that of a mixture of distributions
SHRINKAGE = 8.0  # texts a label must get before their mean counts half


def refined(vectors: Float32, prototypes: Float32, similarities: Callable[[Float32], Float32]) -> Float32:
    """(c, d) unit rows: `prototypes` (c, d) after ROUNDS among the texts' unit `vectors` (n, d).

    `similarities` (n, c) to prototypes as they are by then say how texts are shared out. As they are where
    there are fewer than LEAST_TEXTS texts a label.
    """
    if len(vectors) < LEAST_TEXTS * len(prototypes):
        return prototypes
    present = prototypes
    texts = np.zeros(len(prototypes), np.float32)  # (c,) of each label so far
    for _ in range(ROUNDS):
        commonness = np.float32(COMMONNESS) * np.log1p(texts)
        shares = _softmax(similarities(present) / TEMPERATURE + commonness)  # (n, c)
        texts = shares.sum(axis=0)
        pulls = (shares.T @ vectors) / (texts[:, None] + SHRINKAGE)  # (c, d)
        moved = WORDS_WEIGHT * prototypes + pulls
        present = moved / np.linalg.norm(moved, axis=1, keepdims=True)
    return np.asarray(present, dtype=np.float32)


def _softmax(logits: Float32) -> Float32:
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(exponentials / exponentials.sum(axis=1, keepdims=True), dtype=np.float32)
