"""Fits a head of known kind and hyper-parameters to changed examples, in milliseconds to a second.

Calibration and thresholds stay: all labels share the calibration, so it holds for new ones too.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from classifier.abstaining import fit_scope
from classifier.curves import spread_order
from classifier.fitting import Recipe, Trainable, fit_arrays, prior_shift
from classifier.logistic import Linear
from classifier.problems import find_problems
from classifier.progress import Progress
from classifier.prototypes import fit_prototypes
from classifier.thresholds import UNKNOWN
from classifier.training import check
from core.classifier_types import Examples, Head, HeadKind, TrainedHead, TrainingOptions
from core.types import Float32

KEPT = ("isotonic_x", "isotonic_y")


def refit(head: Head, examples: Examples, options: TrainingOptions) -> TrainedHead:
    """A head like `head` on `examples`, whose labels may be others. Raises InvalidInput."""
    check(examples, _of_head(head, options))
    recipe = Recipe.of(head.kind, head.parameters)
    data = Trainable.of(examples, head.is_multi)
    start = _start(head, recipe, data.once(), examples.labels) if head.kind is HeadKind.LOGISTIC else None
    arrays = fit_arrays(recipe, data, Progress(_never_ends), start)
    arrays |= {name: head.arrays[name] for name in KEPT if name in head.arrays}
    if head.is_multi:
        arrays["thresholds"] = _moved(head, head.arrays["thresholds"], examples.labels, UNKNOWN)
    parameters = dict(head.parameters)
    if parameters.get("scope") is not None:
        order = spread_order(examples.truth, np.random.default_rng(options.seed))
        scope = fit_scope(data, None, order, parameters["scope"]["unsure"])
        arrays["landmarks"], parameters["scope"] = scope.landmarks, scope.parameters()
    fitted = Head(head.kind, examples.labels, head.is_multi, arrays, parameters)
    return TrainedHead(fitted, {}, _report(fitted, examples))


def _never_ends(share: float) -> None:
    """A refit is too short to be cancelled."""


def _of_head(head: Head, options: TrainingOptions) -> TrainingOptions:
    return TrainingOptions(head.kind, head.is_multi, options.target_precision, options.abstain_below)


def _start(head: Head, recipe: Recipe, data: Trainable, labels: tuple[str, ...]) -> Linear:
    """The head's weights; a new label begins at its prototype, as long as the mean of the others.

    What the recipe takes off the fitted biases is put back: the fit begins where the last one ended.
    """
    weights = _moved(head, head.arrays["weights"], labels, 0.0)
    bias = _moved(head, head.arrays["bias"], labels, 0.0)
    new = [column for column, label in enumerate(labels) if label not in head.labels]
    length = np.linalg.norm(head.arrays["weights"], axis=0).mean()
    weights[:, new] = length * fit_prototypes(data.vectors, data.truth).weights[:, new]
    return Linear(weights, bias + prior_shift(data.truth, recipe.prior_share))


def _moved(head: Head, values: Float32, labels: tuple[str, ...], fill: float) -> Float32:
    """`values` (…, c) of the head's labels as (…, c') of `labels`."""
    columns = {label: column for column, label in enumerate(head.labels)}
    moved = np.full((*values.shape[:-1], len(labels)), fill, np.float32)
    for column, label in enumerate(labels):
        if label in columns:
            moved[..., column] = values[..., columns[label]]
    return moved


def _report(head: Head, examples: Examples) -> dict[str, Any]:
    support = examples.truth.sum(axis=0)
    return {
        "examples": len(examples.texts),
        "labels": len(examples.labels),
        "multi_label": head.is_multi,
        "head": {
            "kind": head.kind.value,
            **Recipe.of(head.kind, head.parameters).parameters(),
            "calibration": dict(head.parameters["calibration"]),
        },
        "note": "The head of the version before, fitted again to changed examples; kind, hyper-parameters and"
        " calibration are that version's, and nothing was cross-validated. Train it for a full report.",
        "classes": [
            {"label": label, "support": int(count)}
            for label, count in zip(examples.labels, support, strict=True)
        ],
        "imbalance": {"least": int(support.min()), "most": int(support.max())},
        "problems": find_problems(examples.labels, examples.texts, examples.truth),
    }
