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

from core.label_types import TRANSDUCTIVE_TEXTS
from core.types import Float32

ROUNDS = 10
TEMPERATURE = 0.03
WORDS_WEIGHT = 1.0  # of the label's own wording beside the mean of its texts
COMMONNESS = 0.5  # exponent of how common labels are: 0 ignores it, 1 is that of a mixture of distributions
SHRINKAGE = 8.0  # texts a label must get before their mean counts half
LEAST_SIMILARITY = 0.34  # where texts may fit no label: what is less similar to all names moves none of them
CLOSER = 0.05  # by so much prototypes come nearer to all texts, those that fit no label included


def refined(
    vectors: Float32,
    prototypes: Float32,
    similarities: Callable[[Float32], Float32],
    may_fit_none: bool = False,
) -> Float32:
    """Similarities (n, c) of the texts' unit `vectors` (n, d) to `prototypes` (c, d) moved in ROUNDS to them.

    `similarities` to prototypes as they are by then say how texts are shared out. With `may_fit_none` those
    far from all `prototypes` are not. Fewer than TRANSDUCTIVE_TEXTS texts a label move nothing.
    """
    present, before = prototypes, similarities(prototypes)
    if len(vectors) < TRANSDUCTIVE_TEXTS * len(prototypes):
        return before
    fits = before.max(axis=1, keepdims=True) >= LEAST_SIMILARITY if may_fit_none else np.True_
    texts = np.zeros(len(prototypes), np.float32)  # (c,) of each label so far
    for _ in range(ROUNDS):
        commonness = np.float32(COMMONNESS) * np.log1p(texts)
        shares = _softmax(similarities(present) / TEMPERATURE + commonness) * fits  # (n, c)
        texts = shares.sum(axis=0)
        pulls = (shares.T @ vectors) / (texts[:, None] + SHRINKAGE)  # (c, d)
        moved = WORDS_WEIGHT * prototypes + pulls
        present = moved / np.linalg.norm(moved, axis=1, keepdims=True)
    return similarities(np.asarray(present, dtype=np.float32)) - np.float32(CLOSER)


def _softmax(logits: Float32) -> Float32:
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(exponentials / exponentials.sum(axis=1, keepdims=True), dtype=np.float32)
