"""Zero-shot classification: each label becomes a prototype vector, the nearest prototype wins.

A prototype is the normalised mean of the unit embeddings of the label's name, its description and its
examples (Snell et al. 2017, "Prototypical networks", section 2.1, with label words as additional shots).
Probabilities are softmax(cosine / temperature).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from core.lengths import truncated
from core.ports.models import Encoder
from core.types import Classification, Float32, Label, Lane

BULK_FROM_TEXTS = 32
WORD_BREAK = re.compile(r"[_-]|(?<=[a-z])(?=[A-Z])")


@dataclass(frozen=True, slots=True)
class ZeroShotScorer:
    """Implements core.ports.LabelScorer; `temperature` is chosen on data, see docs/classification.md."""

    encoder: Encoder
    temperature: float

    def classify(self, texts: Sequence[str], labels: Sequence[Label]) -> list[Classification]:
        """One result a text: the most probable label, its probability and those of all labels."""
        names = [label.name for label in labels]
        count = len(texts) + sum(len(wordings_of(label)) for label in labels)
        lane = Lane.BULK if count >= BULK_FROM_TEXTS else Lane.INTERACTIVE
        vectors = self.encoder.encode_queries(texts, lane)  # (n, d)
        probabilities = softmax(vectors @ self.prototypes(labels, lane).T / self.temperature)  # (n, c)
        return [
            Classification(
                names[int(row.argmax())],
                float(row.max()),
                dict(zip(names, row.tolist(), strict=True)),
                is_cut,
            )
            for row, is_cut in zip(probabilities, truncated(self.encoder, texts), strict=True)
        ]

    def prototypes(self, labels: Sequence[Label], lane: Lane = Lane.INTERACTIVE) -> Float32:
        """(c, d) float32 unit rows, one a label."""
        wordings = [wordings_of(label) for label in labels]
        vectors = self.encoder.encode_queries([text for texts in wordings for text in texts], lane)
        starts = np.cumsum([0] + [len(texts) for texts in wordings[:-1]])
        sums = np.add.reduceat(vectors, starts, axis=0)  # (c, d)
        return np.asarray(sums / np.linalg.norm(sums, axis=1, keepdims=True), dtype=np.float32)


def wordings_of(label: Label) -> list[str]:
    """Texts that tell a label: its name as words (also `PlayMusic`), its description, its examples."""
    name = " ".join(WORD_BREAK.sub(" ", label.name).split()) or label.name
    return [name, *([label.description] if label.description else []), *label.examples]


def softmax(logits: Float32) -> Float32:
    """Row-wise softmax of (n, c)."""
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(exponentials / exponentials.sum(axis=1, keepdims=True), dtype=np.float32)
