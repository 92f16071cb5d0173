"""Trains a head: selection by cross-validation, calibration, abstention, report.

Shapes: n examples, c labels, d dimensions.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from classifier.abstaining import AbstainBelow, Scope, fewest_answers, fit_scope
from classifier.calibrators import Calibration
from classifier.curves import SHARES, LearningPoint, learning_curve, spread_order
from classifier.fitting import Trainable, fit_and_predict, fit_arrays
from classifier.outcome import Limit, Outcome, learn, limit
from classifier.progress import Progress
from classifier.report import HeldOut, Split, chief_numbers, cross_validated_report
from classifier.scoring import choose, sigmoid
from classifier.selection import MANY_CELLS, Candidate
from classifier.thresholds import best_thresholds
from classifier.untried import untried_report
from core.classifier_types import Bools, Examples, Head, TrainedHead, TrainingOptions
from core.errors import InvalidInput
from core.ports.classifiers import Going
from core.types import Float32, Int64

FEWER_SHARES = (0.1, 0.3, 1.0)  # of the learning curve, where each point takes long


def train(examples: Examples, options: TrainingOptions, going: Going) -> TrainedHead:
    """The best head by cross-validation with its report. Raises InvalidInput, and what `going` raises."""
    is_multi = check(examples, options)
    progress = Progress(going)
    progress.at(0.0)
    data = Trainable.of(examples, is_multi)
    outcome = learn(data, options, progress)
    recipe = outcome.selection.chosen.recipe
    progress.at(0.7)
    arrays = fit_arrays(recipe, data, progress)
    progress.at(0.8)
    scope = _scope(data, outcome, options.seed) if options.out_of_scope else None
    limited = limit(data, options, outcome, scope)
    head = _head(examples, outcome, arrays, scope, limited.below)
    curve = _curve(data, options, outcome, progress)
    progress.at(0.95)
    report = _report(examples, options, outcome, scope, limited, curve)
    return TrainedHead(head, chief_numbers(report), report)


def check(examples: Examples, options: TrainingOptions) -> bool:
    """Whether an example may have several labels. Raises InvalidInput for what cannot be learned from."""
    truth = examples.truth
    if len(truth) < 2:
        raise InvalidInput(
            f"Found {len(truth)} example(s); a classifier needs at least two, better eight or more of each"
            " label. Send more examples."
        )
    is_multi = options.multi_label
    if is_multi is None:
        is_multi = bool((truth.sum(axis=1) != 1).any())
    if is_multi:
        _check_several(examples)
    else:
        _check_one(examples)
    return is_multi


def _check_one(examples: Examples) -> None:
    odd = np.flatnonzero(examples.truth.sum(axis=1) != 1)
    if len(odd):
        raise InvalidInput(
            f"{len(odd):,} examples have none or several labels, the first is number {int(odd[0]) + 1};"
            " with multi_label false each needs exactly one. Send one label each, or multi_label true."
        )
    used = np.flatnonzero(examples.truth.any(axis=0))
    if len(used) < 2:
        raise InvalidInput(
            f"All {len(examples.truth):,} examples have the label {examples.labels[int(used[0])]!r}; a"
            " classifier needs examples of at least two labels. Send examples of another label."
        )


def _check_several(examples: Examples) -> None:
    if not (examples.truth.any(axis=0) & ~examples.truth.all(axis=0)).any():
        raise InvalidInput(
            "Every label stands at all of the examples or at none; a classifier needs examples with and"
            " without a label. Send examples that differ in their labels."
        )


def _spread(truth: Bools, seed: int) -> Int64:
    return spread_order(truth, np.random.default_rng(seed))


def _scope(data: Trainable, outcome: Outcome, seed: int) -> Scope:
    best = outcome.as_served().max(axis=1) if outcome.is_tried else None
    return fit_scope(data, best, _spread(data.truth, seed))


def _head(
    examples: Examples,
    outcome: Outcome,
    arrays: Mapping[str, npt.NDArray[Any]],
    scope: Scope | None,
    below: AbstainBelow,
) -> Head:
    recipe = outcome.selection.chosen.recipe
    calibration = outcome.calibrations.serving
    all_arrays = {**arrays, **calibration.arrays}
    if outcome.thresholds is not None:
        all_arrays["thresholds"] = outcome.thresholds
    if scope is not None:
        all_arrays["landmarks"] = scope.landmarks
    parameters = {
        **recipe.parameters(),
        "calibration": dict(calibration.parameters),
        "abstain_below": below.confidence,
        "scope": None if scope is None else scope.parameters(),
    }
    return Head(recipe.kind, examples.labels, outcome.is_multi, all_arrays, parameters)


def _curve(
    data: Trainable, options: TrainingOptions, outcome: Outcome, progress: Progress
) -> list[LearningPoint]:
    if not outcome.is_tried:
        return []

    def chosen(rows: Int64, test: Int64) -> Bools:
        recipe = outcome.selection.chosen.recipe
        logits = fit_and_predict(recipe, data.take(rows), data.vectors[test], progress)
        if not data.is_multi:
            return choose(logits, None)
        others = np.setdiff1d(np.arange(len(data.truth)), test)
        held_out = sigmoid(outcome.selection.chosen.logits[others])
        return choose(sigmoid(logits), best_thresholds(held_out, data.truth[others]))

    shares = FEWER_SHARES if data.truth.size > MANY_CELLS else SHARES
    return learning_curve(data.truth, data.groups, chosen, options.seed, shares)


def _report(
    examples: Examples,
    options: TrainingOptions,
    outcome: Outcome,
    scope: Scope | None,
    limited: Limit,
    curve: list[LearningPoint],
) -> dict[str, Any]:
    described, abstention = _described(outcome), _abstention(options, outcome, limited.below, scope)
    if not outcome.is_tried:
        is_multi = outcome.is_multi
        return untried_report(examples, is_multi, options.seed, described, abstention)
    held_out = HeldOut(
        examples.labels,
        outcome.is_multi,
        examples.texts,
        examples.truth,
        outcome.is_seen,
        outcome.probabilities,
        _uncalibrated(outcome),
        outcome.is_chosen,
        limited.is_abstained,
        outcome.thresholds,
    )
    split = Split(int(outcome.selection.folds.max()) + 1, options.seed)
    report = cross_validated_report(held_out, split, described, abstention, curve)
    report["problems"] += _problems(options, limited)
    return report


def _uncalibrated(outcome: Outcome) -> Float32:
    plain = Calibration({"method": "none", "scale": 1.0, "offset": 0.0})
    return plain.probabilities(outcome.selection.chosen.logits, outcome.is_multi)


def _described(outcome: Outcome) -> dict[str, Any]:
    """The head, and what was tried for it where that could be told apart."""
    chosen: Candidate = outcome.selection.chosen
    tried = outcome.selection.tried if outcome.is_tried else ()
    strengths = outcome.selection.strengths if outcome.is_tried else {}
    calibrations = outcome.calibrations.scores if outcome.is_tried else []
    return {
        "kind": chosen.recipe.kind.value,
        **chosen.recipe.parameters(),
        "score": "macro_f1" if outcome.is_multi else "accuracy",
        "candidates": [one.as_json() for one in tried],
        "strengths": [{"c": c, "score": round(score, 4)} for c, score in sorted(strengths.items())],
        "calibration": {**outcome.calibrations.serving.parameters, "candidates": calibrations},
    }


def _abstention(
    options: TrainingOptions, outcome: Outcome, below: AbstainBelow, scope: Scope | None
) -> dict[str, Any]:
    return {
        "target_precision": options.target_precision,
        "abstain_below": round(below.confidence, 4),
        "is_chosen_for_target": outcome.is_tried and options.abstain_below is None,
        "precision_at_least": round(below.bound, 4) if outcome.is_tried else None,
        "is_target_reached": below.is_reached,
        "out_of_scope": None if scope is None else {n: round(v, 4) for n, v in scope.parameters().items()},
    }


def _problems(options: TrainingOptions, limited: Limit) -> list[str]:
    below, target = limited.below, options.target_precision
    if options.abstain_below is not None or below.is_reached:
        return []
    return [
        f"The precision {target:g} asked for was reached by no part of the held-out examples with 95 %"
        f" confidence, which takes {fewest_answers(target):,} answers, all right, or more. Below"
        f" {below.confidence:.3f} it abstains, which gives at least {below.bound:.3f} and answers"
        f" {1 - limited.is_abstained.mean():.0%} of them. Add or correct examples, ask for a lower"
        " target_precision, or set abstain_below yourself."
    ]
