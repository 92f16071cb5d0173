"""The report of a head of which nothing could be held out: the same keys, without figures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from classifier.problems import find_problems
from classifier.report import imbalance
from core.classifier_types import Examples

WHY = (
    "No label has two examples, so nothing could be held out (those that differ only by case and white space"
    " count as one): how good the head is, is not known, and its probabilities are not calibrated. Add"
    " examples."
)


def untried_report(
    examples: Examples, is_multi: bool, seed: int, head: Mapping[str, Any], abstention: Mapping[str, Any]
) -> dict[str, Any]:
    """As classifier.report.cross_validated_report, with null for every figure."""
    support = examples.truth.sum(axis=0)
    figures = dict.fromkeys(("accuracy", "macro_f1", "micro_f1"))
    of_class = dict.fromkeys(("precision", "recall", "f1"))
    return {
        "examples": len(examples.texts),
        "labels": len(examples.labels),
        "multi_label": is_multi,
        "split": {"method": "nothing held out", "folds": 0, "seed": seed, "examples": 0, "note": WHY},
        "head": dict(head),
        **figures,
        "classes": [
            {"label": label, **of_class, "support": int(count), "mean_confidence": None}
            for label, count in zip(examples.labels, support, strict=True)
        ],
        "confusion": {"labels": list(examples.labels), "counts": None, "most_confused": []},
        "calibration": {"bins": [], "ece": None, "ece_before": None},
        "abstention": {**abstention, "coverage": None, "precision": None},
        "learning_curve": [],
        "suspicious_labels": {"count": 0, "examples": []},
        "imbalance": imbalance(examples.truth),
        "problems": [*find_problems(examples.labels, examples.texts, examples.truth), WHY],
    }
