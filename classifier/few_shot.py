"""Classification by the examples of one call: a head trained on the fly, kept for calls with the same ones.

The label's name, read as words, is one more example of it: that helps where there are few
(docs/classification.md has the numbers).
"""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Sequence
from typing import Final

import numpy as np

from classifier.calibrators import fit_scaling
from classifier.fitting import Recipe, Trainable, fit_and_predict, fit_arrays
from classifier.folds import stratified_folds
from classifier.label_wordings import as_words
from classifier.progress import Progress
from classifier.scoring import score
from classifier.zero_shot import BULK_FROM_TEXTS
from core.classifier_types import Head, HeadKind
from core.label_types import Classification, Label, ZeroShotOptions
from core.lengths import truncated
from core.ports.models import Encoder
from core.types import Float32, Lane, PassageText

MAX_KEPT: Final = 16
FOLDS: Final = 2
_DEFAULTS = ZeroShotOptions()
RECIPE: Final = Recipe(HeadKind.LOGISTIC)


class FewShotScorer:
    """Implements core.ports.ZeroShotModel for labels with examples. Safe to share between threads."""

    def __init__(self, encoder: Encoder) -> None:
        self._encoder = encoder
        self._kept: OrderedDict[bytes, Head] = OrderedDict()
        self._lock, self._training = threading.Lock(), threading.Lock()

    def classify(
        self, texts: Sequence[str], labels: Sequence[Label], options: ZeroShotOptions = _DEFAULTS
    ) -> list[Classification]:
        """One result a text: the most probable label, its probability and those of all labels.

        `options` are for labels told by words; here each text gets one label of those with examples.
        """
        head = self._head(labels)
        lane = Lane.BULK if len(texts) >= BULK_FROM_TEXTS else Lane.INTERACTIVE
        vectors = self._encoder.encode_passages([PassageText("", text) for text in texts], lane)  # (n, d)
        probabilities = score(head, vectors).probabilities  # (n, c)
        return [
            _classification(head.labels, row, is_cut)
            for row, is_cut in zip(probabilities, truncated(self._encoder, texts), strict=True)
        ]

    def _head(self, labels: Sequence[Label]) -> Head:
        key = hashlib.sha256(repr([(one.name, one.examples) for one in labels]).encode()).digest()
        head = self._known(key)
        if head is not None:
            return head
        with self._training:  # one at a time: it takes all cores
            head = self._known(key) or self._train(labels)
        with self._lock:
            self._kept[key] = head
            while len(self._kept) > MAX_KEPT:
                self._kept.popitem(last=False)
        return head

    def _known(self, key: bytes) -> Head | None:
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
            return self._kept.get(key)

    def _train(self, labels: Sequence[Label]) -> Head:
        wordings = [[as_words(label.name), *label.examples] for label in labels]
        texts = [text for of_label in wordings for text in of_label]
        owners = np.repeat(np.arange(len(labels)), [len(of_label) for of_label in wordings])  # (n,)
        vectors = self._encoder.encode_passages([PassageText("", text) for text in texts], Lane.BULK)
        truth = owners[:, None] == np.arange(len(labels))  # (n, c)
        # Each apart: a label of which nothing is left in the other half would spoil the temperature of all.
        data = Trainable(vectors, truth, np.arange(len(texts)), is_multi=False)
        return fit_few(tuple(label.name for label in labels), data)


def _classification(labels: tuple[str, ...], probabilities: Float32, is_cut: bool) -> Classification:
    best = int(probabilities.argmax())
    scores = dict(zip(labels, probabilities.tolist(), strict=True))
    return Classification(labels[best], scores[labels[best]], scores, is_cut, (labels[best],))


def fit_few(labels: tuple[str, ...], data: Trainable) -> Head:
    """Logistic regression of the usual strength, its temperature fitted to held-out predictions.

    Nothing is searched for and no report is made: a caller waits. `data` has two rows of a label or more.
    """
    progress = Progress(_go_on)
    folds = stratified_folds(data.truth, data.groups, FOLDS, seed=0)
    logits = np.empty(data.truth.shape, np.float32)
    for fold in range(FOLDS):
        is_held = folds == fold
        logits[is_held] = fit_and_predict(RECIPE, data.take(~is_held), data.vectors[is_held], progress)
    calibration = fit_scaling(logits, data.truth, is_multi=False)
    parameters = {"calibration": dict(calibration.parameters), "abstain_below": 0.0, "scope": None}
    arrays = fit_arrays(RECIPE, data, progress)
    return Head(RECIPE.kind, labels, False, arrays, RECIPE.parameters() | parameters)


def _go_on(share: float) -> None:
    """Nobody cancels a training that a caller waits for."""
