"""What cross-validation says of a classifier, as JSON. Shapes: n examples, c labels.

All figures are of predictions by heads that had not seen the example (out of fold), with calibrations,
thresholds and limits of abstaining that had not seen it either.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from classifier.confusion import confusion, most_confused
from classifier.curves import LearningPoint
from classifier.measures import accuracy, class_scores, macro_f1, micro_f1
from classifier.problems import find_problems
from classifier.reliability import calibration_error, reliability_bins
from classifier.suspicious import suspicious_labels
from core.classifier_types import Bools
from core.types import Float32

BINS = 15
MAX_SUSPICIOUS = 100
DECIMALS = 4
NOTE = (
    "Every example is predicted once, by a head trained on the other folds. Its calibration, the thresholds"
    " of labels and the confidence below which it abstains are for these figures chosen on the other folds"
    " too; those that serve, which the report names, on all examples. Kind and strength of the head are those"
    " that do best in these very figures."
)


@dataclass(frozen=True, slots=True)
class Split:
    """How the examples were held out: each once, in one of `folds` parts drawn with `seed`."""

    folds: int
    seed: int
    is_stratified: bool = True


@dataclass(frozen=True, slots=True, eq=False)
class HeldOut:
    """Out-of-fold predictions of n examples.

    `truth`, `is_seen` (see classifier.suspicious) and `is_chosen` (n, c); `probabilities` (n, c) calibrated
    and `uncalibrated` before that; with one label an example `is_chosen` has one True a row, abstained or
    not. `is_abstained` (n,). `thresholds` (c,) above which the head that serves gives a label of several.
    """

    labels: tuple[str, ...]
    is_multi: bool
    texts: tuple[str, ...]
    truth: Bools
    is_seen: Bools
    probabilities: Float32
    uncalibrated: Float32
    is_chosen: Bools
    is_abstained: Bools
    thresholds: Float32 | None = None


def cross_validated_report(
    held_out: HeldOut,
    split: Split,
    head: Mapping[str, Any],
    abstention: Mapping[str, Any],
    curve: Sequence[LearningPoint],
) -> dict[str, Any]:
    """The report as plain JSON values.

    `head` describes the head and how it was chosen, `abstention` what was asked for (target_precision,
    abstain_below …); both are repeated in the report.
    """
    return {
        "examples": len(held_out.texts),
        "labels": len(held_out.labels),
        "multi_label": held_out.is_multi,
        "split": _split(split, len(held_out.texts)),
        "head": dict(head),
        "accuracy": _rounded(accuracy(held_out.truth, held_out.is_chosen)),
        "macro_f1": _rounded(macro_f1(held_out.truth, held_out.is_chosen)),
        "micro_f1": _rounded(micro_f1(held_out.truth, held_out.is_chosen)),
        "classes": _classes(held_out),
        "confusion": _confusion(held_out),
        "calibration": _calibration(held_out),
        "abstention": {**abstention, **_answered(held_out)},
        "learning_curve": [
            {"examples": p.examples, "accuracy": _rounded(p.accuracy), "macro_f1": _rounded(p.macro_f1)}
            for p in curve
        ],
        "suspicious_labels": _suspicious(held_out),
        "imbalance": imbalance(held_out.truth),
        "problems": find_problems(held_out.labels, held_out.texts, held_out.truth),
    }


def chief_numbers(report: Mapping[str, Any]) -> dict[str, float]:
    """The numbers that versions are compared by, of those that the report knows."""
    numbers = {
        "accuracy": report["accuracy"],
        "macro_f1": report["macro_f1"],
        "micro_f1": report["micro_f1"],
        "ece": report["calibration"]["ece"],
        "coverage": report["abstention"]["coverage"],
        "precision": report["abstention"]["precision"],
    }
    return {name: value for name, value in numbers.items() if value is not None}


def _split(split: Split, examples: int) -> dict[str, Any]:
    drawn = "stratified by label" if split.is_stratified else "drawn at random"
    return {
        "method": f"{split.folds}-fold cross-validation, {drawn}",
        "folds": split.folds,
        "seed": split.seed,
        "examples": examples,
        "note": NOTE,
    }


def _classes(held_out: HeldOut) -> list[dict[str, Any]]:
    scores = class_scores(held_out.truth, held_out.is_chosen)
    rows = []
    for column, label in enumerate(held_out.labels):
        chosen = held_out.is_chosen[:, column]
        row = {
            "label": label,
            "precision": _rounded(scores.precision[column]),
            "recall": _rounded(scores.recall[column]),
            "f1": _rounded(scores.f1[column]),
            "support": int(scores.support[column]),
            "mean_confidence": _mean(held_out.probabilities[chosen, column]),
        }
        if held_out.thresholds is not None:
            row["threshold"] = _rounded(held_out.thresholds[column])
        rows.append(row)
    return rows


def _confusion(held_out: HeldOut) -> dict[str, Any]:
    counts = confusion(held_out.truth, held_out.is_chosen)
    return {
        "labels": list(held_out.labels),
        "counts": counts.tolist(),
        "most_confused": most_confused(held_out.labels, counts),
    }


def _calibration(held_out: HeldOut) -> dict[str, Any]:
    after = reliability_bins(*_confidences(held_out, held_out.probabilities), BINS)
    before = reliability_bins(*_confidences(held_out, held_out.uncalibrated), BINS)
    return {
        "bins": [
            {
                "from": _rounded(row.low),
                "to": _rounded(row.high),
                "count": row.count,
                "confidence": _rounded(row.confidence),
                "accuracy": _rounded(row.accuracy),
            }
            for row in after
        ],
        "ece": _rounded(calibration_error(after)),
        "ece_before": _rounded(calibration_error(before)),
    }


def _confidences(held_out: HeldOut, probabilities: Float32) -> tuple[Float32, Bools]:
    """How sure, and whether it is so: of the most probable label, or with several of each label alone."""
    if held_out.is_multi:
        return probabilities.ravel(), held_out.truth.ravel()
    best = probabilities.argmax(axis=1)
    rows = np.arange(len(best))
    return probabilities[rows, best], held_out.truth[rows, best]


def _answered(held_out: HeldOut) -> dict[str, Any]:
    """Coverage: the share of examples not abstained; precision: that of the labels given to those."""
    answered = ~held_out.is_abstained
    right = held_out.truth & held_out.is_chosen
    chosen = held_out.is_chosen[answered].sum()
    return {
        "coverage": _mean(answered.astype(np.float32)),
        "precision": _rounded(right[answered].sum() / chosen) if chosen else None,
    }


def _suspicious(held_out: HeldOut) -> dict[str, Any]:
    found = suspicious_labels(held_out.truth, held_out.is_seen, held_out.probabilities, held_out.is_multi)
    names = held_out.labels
    return {
        "count": len(found),
        "examples": [
            {
                "text": held_out.texts[one.row],
                "given": [names[column] for column in one.given],
                "suggested": [names[column] for column in one.suggested],
                "confidence": _rounded(one.confidence),
            }
            for one in found[:MAX_SUSPICIOUS]
        ],
    }


def imbalance(truth: Bools) -> dict[str, Any]:
    """How many examples the rarest and the most frequent label have; `truth` (n, c)."""
    support = truth.sum(axis=0)
    least, most = int(support.min()), int(support.max())
    return {"least": least, "most": most, "ratio": _rounded(most / least) if least else None}


def _mean(values: Float32) -> float | None:
    return _rounded(values.mean()) if len(values) else None


def _rounded(value: Any) -> float:
    return round(float(value), DECIMALS)
