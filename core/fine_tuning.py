"""Tuning of the encoder for one classifier, kept only where cross-validation says that it helps.

The encoder is tuned on all folds but one and the head fitted to its vectors; both heads then label the fold
that was left out. What is kept is tuned on all examples.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np

from core.bulk_encoding import slices
from core.classifier_types import Bools, Examples, Head, TrainedHead, TrainingOptions
from core.errors import InvalidInput, Unavailable
from core.ports.classifiers import Arrays, EncoderTuner, Going, Heads
from core.ports.models import Encoder
from core.twins import first_rows, twin_groups
from core.types import Float32, Float64, Int64, Lane, PassageText

FOLDS: Final = 3
MIN_PER_FOLD: Final = 2  # examples of a fold's test part, at least
UNSEEN: Final = "The scores are shares of right labels on folds that neither encoder nor head had seen."
FLATTERED: Final = (
    f"{UNSEEN} All other figures of this report are cross-validated over the head alone, on an encoder that"
    " was tuned on all examples: they flatter it."
)


@dataclass(frozen=True, slots=True)
class FineTuning:
    """`tuner` raises Unavailable or InvalidInput where it cannot tune."""

    tuner: EncoderTuner
    heads: Heads

    def improve(
        self, plain: TrainedHead, examples: Examples, options: TrainingOptions, going: Going
    ) -> tuple[TrainedHead, Arrays | None]:
        """The plain head, or one on tuned vectors and the adapters; the report says which, and why.

        Where tuning fails, at whatever point, it is the plain head.
        """
        folds = _folds(examples, options.seed)
        if min(np.bincount(folds, minlength=FOLDS)) < MIN_PER_FOLD:
            told = {"kept": False, "reason": f"too few examples to compare on {FOLDS} folds"}
            return with_tuning(plain, told), None
        going(0.0)
        try:
            return self._better(plain, examples, folds, options, going)
        except (Unavailable, InvalidInput) as error:
            going(0.0)  # raises if that was the process stopping
            return with_tuning(plain, {"kept": False, "reason": str(error)}), None

    def refit(
        self,
        trained: TrainedHead,
        adapters: Arrays,
        examples: Examples,
        options: TrainingOptions,
        going: Going,
    ) -> TrainedHead:
        """The head fitted to changed examples, on the encoder with the adapters that it was trained with."""
        vectors = _encode(self.tuner.encoder(adapters), examples.texts, going)
        return self.heads.refit(trained.head, replace(examples, vectors=vectors), options)

    def _better(
        self, plain: TrainedHead, examples: Examples, folds: Int64, options: TrainingOptions, going: Going
    ) -> tuple[TrainedHead, Arrays | None]:
        """Tunes on each of the folds (n,), and on all examples if that was better."""
        gains = [
            self._gains(plain.head, examples, folds == fold, options, _part(going, fold))
            for fold in range(FOLDS)
        ]
        before, after = (np.concatenate([fold[i] for fold in gains]) for i in range(2))
        told = _comparison(before, after)
        if not told["kept"]:
            return with_tuning(plain, told), None
        last = _part(going, FOLDS)
        adapters = self.tuner.tune(examples.texts, examples.truth, options.seed, lambda s: last(0.6 * s))
        vectors = _encode(self.tuner.encoder(adapters), examples.texts, lambda s: last(0.6 + 0.2 * s))
        trained = self.heads.train(replace(examples, vectors=vectors), options, lambda s: last(0.8 + 0.2 * s))
        return with_tuning(trained, told), adapters

    def _gains(
        self, head: Head, examples: Examples, is_test: Bools, options: TrainingOptions, going: Going
    ) -> tuple[Float64, Float64]:
        """Scores (m,) of the m left out examples, of the encoder as it is and tuned without them."""
        train = _rows(examples, ~is_test)
        adapters = self.tuner.tune(train.texts, train.truth, options.seed, lambda s: going(0.8 * s))
        encoder = self.tuner.encoder(adapters)
        tuned = _encode(encoder, examples.texts, lambda s: going(0.8 + 0.2 * s))
        scores = []
        for vectors in (examples.vectors, tuned):
            fitted = self.heads.refit(head, replace(train, vectors=vectors[~is_test]), options).head
            chosen = self.heads.scores(fitted, vectors[is_test]).is_chosen
            scores.append(_right(fitted, chosen, examples, is_test))
        return scores[0], scores[1]


def with_tuning(trained: TrainedHead, told: Mapping[str, Any]) -> TrainedHead:
    """The same with what is known of tuning in its report."""
    return replace(trained, report={**trained.report, "tuning": dict(told)})


def _comparison(before: Float64, after: Float64) -> dict[str, Any]:
    """Kept if the gain is greater than its standard error (paired, over examples)."""
    gain = after - before
    error = float(gain.std() / np.sqrt(len(gain)))
    is_kept = bool(gain.mean() > error)
    return {
        "kept": is_kept,
        "folds": FOLDS,
        "score_before": float(before.mean()),
        "score_after": float(after.mean()),
        "standard_error": error,
        "note": FLATTERED if is_kept else UNSEEN,
    }


def _folds(examples: Examples, seed: int) -> Int64:
    """(n,) a fold for each example: texts of one set of labels are spread evenly, twins stay together."""
    groups = twin_groups(examples.texts)
    truth = examples.truth[first_rows(groups)]
    order = np.random.default_rng(seed).permutation(len(truth))
    _, kinds = np.unique(truth[order], axis=0, return_inverse=True)
    folds = np.empty(len(truth), np.int64)
    folds[order[np.argsort(kinds.ravel(), kind="stable")]] = np.arange(len(truth)) % FOLDS
    return folds[groups]


def _rows(examples: Examples, chosen: Bools) -> Examples:
    """Examples of the rows chosen (n,), with the labels that occur among them."""
    rows = np.flatnonzero(chosen)
    truth = examples.truth[rows]
    columns = np.flatnonzero(truth.any(axis=0))
    return Examples(
        tuple(examples.labels[i] for i in columns),
        tuple(examples.texts[i] for i in rows),
        examples.vectors[rows],
        truth[:, columns],
    )


def _right(fitted: Head, chosen: Bools, examples: Examples, is_test: Bools) -> Float64:
    """(m,) how right `chosen` (m, labels of the head) is: Jaccard's share, 1 where both are none."""
    truth = examples.truth[is_test]
    given = np.zeros_like(truth)
    columns = {label: i for i, label in enumerate(examples.labels)}
    given[:, [columns[label] for label in fitted.labels]] = chosen
    union = (truth | given).sum(axis=1)
    return np.where(union == 0, 1.0, (truth & given).sum(axis=1) / np.maximum(union, 1))


def _encode(encoder: Encoder, texts: tuple[str, ...], going: Going) -> Float32:
    passages = [PassageText("", text) for text in texts]
    parts = []
    for part in slices(passages):
        parts.append(encoder.encode_passages(passages[part], Lane.BULK))
        going(part.stop / len(passages))
    return np.concatenate(parts)


def _part(going: Going, number: int) -> Going:
    """Progress of one of the folds, or of the last tuning."""
    return lambda share: going((number + share) / (FOLDS + 1))
