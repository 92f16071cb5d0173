"""Zero-shot classification: each label becomes a prototype vector, the nearest prototype wins.

A prototype is the normalised mean of the unit embeddings of the label's name (in several templates), its
phrasings, its description and its examples (Snell et al. 2017, "Prototypical networks", section 2.1, with
words as additional shots). Probabilities are softmax(similarity / temperature), or, of several labels, a
logistic function of each similarity. How the constants were chosen is in docs/classification.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from classifier.label_wordings import TEMPLATES, PrototypeCache, is_one_word
from classifier.refinement import refined
from classifier.word_similarity import WordVectors, word_similarities
from core.classifier_types import Bools
from core.label_types import Classification, Label, ZeroShotOptions
from core.lengths import truncated
from core.ports.models import Encoder
from core.types import Float32, Lane

BULK_FROM_TEXTS = 32
WORD_WEIGHT = 0.6
NONE_SIMILARITY = 0.28  # that "none of these" has to every text
MULTI_MIDDLE = 0.252  # similarity at which a label of two is as likely as not
MULTI_TEMPERATURE = 0.12
MULTI_CHOSEN = 0.14  # probability from which a label of several is given
_DEFAULTS = ZeroShotOptions()


@dataclass(frozen=True, slots=True)
class ZeroShotScorer:
    """Implements core.ports.ZeroShotModel and LabelScorer; `temperature` is chosen on data."""

    encoder: Encoder
    temperature: float
    _prototypes: PrototypeCache = field(init=False)
    _words: WordVectors = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_prototypes", PrototypeCache(self.encoder))
        object.__setattr__(self, "_words", WordVectors(self.encoder))

    def classify(
        self, texts: Sequence[str], labels: Sequence[Label], options: ZeroShotOptions = _DEFAULTS
    ) -> list[Classification]:
        """One result a text: the most probable label, its probability and those of all labels."""
        similarities = self.similarities(texts, labels, options)  # (n, c)
        if options.multi_label:
            probabilities, none = several_of(similarities)
            is_chosen = given_of_several(similarities, probabilities)
            if options.none_of_these:
                is_chosen &= (probabilities.max(axis=1) >= none)[:, None]
        else:
            probabilities, none = one_of(similarities, self.temperature, options.none_of_these)
            is_best = np.arange(len(labels)) == probabilities.argmax(axis=1)[:, None]
            is_chosen = is_best & (probabilities >= none[:, None])
        names = [label.name for label in labels]
        return [
            Classification(
                names[int(row.argmax())],
                float(row.max()),
                dict(zip(names, row.tolist(), strict=True)),
                is_cut,
                tuple(names[column] for column in np.flatnonzero(is_chosen[i])),
                float(none[i]) if options.none_of_these else None,
            )
            for i, (row, is_cut) in enumerate(zip(probabilities, truncated(self.encoder, texts), strict=True))
        ]

    def similarities(
        self, texts: Sequence[str], labels: Sequence[Label], options: ZeroShotOptions = _DEFAULTS
    ) -> Float32:
        """(n, c) float32: cosines to the labels' prototypes, and to names of one word of the nearest word."""
        lane = Lane.BULK if len(texts) >= BULK_FROM_TEXTS else Lane.INTERACTIVE
        prototypes = self._prototypes.prototypes(labels, options.templates or TEMPLATES, lane)  # (c, d)
        vectors = self.encoder.encode_queries(texts, lane)  # (n, d)
        nearest = None
        if all(is_one_word(label) for label in labels):
            nearest = word_similarities(texts, prototypes, self._words, lane)

        def similarities(present: Float32) -> Float32:
            cosines = vectors @ present.T
            if nearest is None:
                return np.asarray(cosines)
            return np.asarray((cosines + WORD_WEIGHT * nearest) / (1 + WORD_WEIGHT))

        if options.transductive:
            may_fit_none = options.none_of_these or options.multi_label
            return refined(vectors, prototypes, similarities, may_fit_none)
        return similarities(prototypes)


def one_of(similarities: Float32, temperature: float, may_be_none: bool) -> tuple[Float32, Float32]:
    """Probabilities (n, c) of labels of which one fits, and (n,) that none does (0 where that cannot be)."""
    if not may_be_none:
        return softmax(similarities / temperature), np.zeros(len(similarities), np.float32)
    none = np.full((len(similarities), 1), NONE_SIMILARITY, np.float32)
    probabilities = softmax(np.asarray(np.hstack([similarities, none]) / temperature, dtype=np.float32))
    return probabilities[:, :-1], probabilities[:, -1]


def several_of(similarities: Float32) -> tuple[Float32, Float32]:
    """Probabilities (n, c) of labels each by itself, and (n,) that none fits, as if they were independent.

    1 / (1 + exp((MULTI_MIDDLE - s) / MULTI_TEMPERATURE + log(c - 1))): of c labels about one fits.
    """
    against = (MULTI_MIDDLE - similarities) / MULTI_TEMPERATURE + prior_odds(similarities.shape[1])
    probabilities = 1 / (1 + np.exp(against))
    return np.asarray(probabilities, dtype=np.float32), np.prod(1 - probabilities, axis=1)


def given_of_several(similarities: Float32, probabilities: Float32) -> Bools:
    """(n, c): the labels that are probable enough, and nearer to the text than "none of these" is."""
    return np.asarray((probabilities >= MULTI_CHOSEN) & (similarities >= NONE_SIMILARITY))


def prior_odds(c: int) -> float:
    """Logarithm of the odds against a label of c, before the text is read."""
    return float(np.log(max(c - 1, 1)))


def softmax(logits: Float32) -> Float32:
    """Row-wise softmax of (n, c)."""
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(exponentials / exponentials.sum(axis=1, keepdims=True), dtype=np.float32)
