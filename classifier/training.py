"""Trains a head: selection by cross-validation, calibration, abstention, report.

Shapes: n examples, c labels, d dimensions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from classifier.abstaining import AbstainBelow, Scope, abstain_below, fit_scope
from classifier.calibrators import Calibration, choose_calibration
from classifier.curves import SHARES, LearningPoint, learning_curve, spread_order
from classifier.fitting import Recipe, Trainable, fit_and_predict, fit_arrays
from classifier.folds import fold_count, stratified_folds
from classifier.progress import Progress
from classifier.report import HeldOut, Split, chief_numbers, cross_validated_report
from classifier.scoring import choose, confidences
from classifier.selection import MANY_CELLS, Candidate, Selection, Selector
from classifier.thresholds import best_thresholds
from core.classifier_types import Bools, Examples, Head, HeadKind, TrainedHead, TrainingOptions
from core.errors import InvalidInput
from core.ports.classifiers import Going
from core.types import Float32, Int64

FEWER_SHARES = (0.1, 0.3, 1.0)  # of the learning curve, where each point takes long
# Without two examples of any label nothing can be held out; cosines are then told apart as in zero-shot.
UNTRIED_SCALE = 17.5


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """What selection and calibration learned from held-out predictions of the n examples."""

    selection: Selection
    calibration: Calibration
    calibrations: list[dict[str, Any]]
    probabilities: Float32
    is_chosen: Bools
    thresholds: Float32 | None
    is_known: Bools  # (n,) whether the example's labels have others, so that it could be predicted


def train(examples: Examples, options: TrainingOptions, going: Going) -> TrainedHead:
    """The best head by cross-validation with its report. Raises InvalidInput, and what `going` raises."""
    is_multi = check(examples, options)
    progress = Progress(going)
    progress.at(0.0)
    data = Trainable(examples.vectors, examples.truth, is_multi)
    outcome = _learn(data, options, progress)
    recipe = outcome.selection.chosen.recipe
    progress.at(0.7)
    arrays = fit_arrays(recipe, data, progress)
    progress.at(0.8)
    scope = (
        fit_scope(data.vectors, outcome.probabilities.max(axis=1), _spread(data.truth, options.seed))
        if options.out_of_scope
        else None
    )
    below = _abstain_below(data, options, outcome, scope)
    head = _head(examples, outcome, arrays, scope, below)
    curve = _curve(data, options, outcome, progress)
    progress.at(0.95)
    report = _report(examples, options, outcome, scope, below, curve)
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


def _learn(data: Trainable, options: TrainingOptions, progress: Progress) -> Outcome:
    folds = stratified_folds(data.truth, fold_count(data.truth), options.seed)
    is_known = _known(data)
    if not is_known.any():
        recipe = Recipe(options.head or HeadKind.PROTOTYPES)
        options = TrainingOptions(head=recipe.kind, seed=options.seed)
    selection = Selector(data, folds, progress).select(options)
    logits = selection.chosen.logits
    if is_known.any():
        rows = np.flatnonzero(is_known)
        calibration, tried = choose_calibration(
            logits[rows], data.truth[rows], folds[rows], data.is_multi, progress.tick
        )
    else:
        scale = UNTRIED_SCALE if selection.chosen.recipe.kind is HeadKind.PROTOTYPES else 1.0
        calibration, tried = Calibration({"method": "none", "scale": scale, "offset": 0.0}), []
    probabilities = calibration.probabilities(logits, data.is_multi)
    thresholds = best_thresholds(probabilities, data.truth) if data.is_multi else None
    is_chosen = choose(probabilities, thresholds)
    return Outcome(selection, calibration, tried, probabilities, is_chosen, thresholds, is_known)


def _known(data: Trainable) -> Bools:
    if data.is_multi:
        return np.ones(len(data.truth), np.bool_)
    return np.asarray(data.truth[:, data.truth.sum(axis=0) > 1].any(axis=1))


def _spread(truth: Bools, seed: int) -> Int64:
    return spread_order(truth, np.random.default_rng(seed))


def _abstain_below(
    data: Trainable, options: TrainingOptions, outcome: Outcome, scope: Scope | None
) -> AbstainBelow:
    is_counted = outcome.is_known if scope is None else outcome.is_known & ~scope.is_outside
    sure = confidences(outcome.probabilities, outcome.is_chosen)[is_counted]
    right = (data.truth & outcome.is_chosen).sum(axis=1)[is_counted]
    count = outcome.is_chosen.sum(axis=1)[is_counted]
    found = abstain_below(sure, right, count, options.target_precision)
    if options.abstain_below is None:
        return found
    return AbstainBelow(options.abstain_below, found.bound, found.is_reached)


def _head(
    examples: Examples,
    outcome: Outcome,
    arrays: Mapping[str, npt.NDArray[Any]],
    scope: Scope | None,
    below: AbstainBelow,
) -> Head:
    recipe = outcome.selection.chosen.recipe
    all_arrays = {**arrays, **outcome.calibration.arrays}
    if outcome.thresholds is not None:
        all_arrays["thresholds"] = outcome.thresholds
    if scope is not None:
        all_arrays["landmarks"] = scope.landmarks
    parameters = {
        **recipe.parameters(),
        "calibration": dict(outcome.calibration.parameters),
        "abstain_below": below.confidence,
        "scope": None if scope is None else scope.parameters(),
    }
    return Head(recipe.kind, examples.labels, outcome.thresholds is not None, all_arrays, parameters)


def _curve(
    data: Trainable, options: TrainingOptions, outcome: Outcome, progress: Progress
) -> list[LearningPoint]:
    def chosen(rows: Int64, test: Int64) -> Bools:
        logits = fit_and_predict(
            outcome.selection.chosen.recipe, data.take(rows), data.vectors[test], progress
        )
        probabilities = outcome.calibration.probabilities(logits, data.is_multi)
        return choose(probabilities, outcome.thresholds)

    shares = FEWER_SHARES if data.truth.size > MANY_CELLS else SHARES
    return learning_curve(data.truth, chosen, options.seed, shares)


def _report(
    examples: Examples,
    options: TrainingOptions,
    outcome: Outcome,
    scope: Scope | None,
    below: AbstainBelow,
    curve: list[LearningPoint],
) -> dict[str, Any]:
    sure = confidences(outcome.probabilities, outcome.is_chosen)
    is_outside = np.zeros(len(sure), np.bool_) if scope is None else scope.is_outside
    held_out = HeldOut(
        examples.labels,
        outcome.thresholds is not None,
        examples.texts,
        examples.truth,
        outcome.probabilities,
        _uncalibrated(outcome),
        outcome.is_chosen,
        (sure < below.confidence) | is_outside,
        outcome.thresholds,
    )
    split = Split(int(outcome.selection.folds.max()) + 1, options.seed)
    report = cross_validated_report(
        held_out, split, _described(outcome), _abstention(options, below, scope), curve
    )
    report["problems"] += _problems(options, outcome, below)
    return report


def _uncalibrated(outcome: Outcome) -> Float32:
    plain = Calibration({"method": "none", "scale": 1.0, "offset": 0.0})
    return plain.probabilities(outcome.selection.chosen.logits, outcome.thresholds is not None)


def _described(outcome: Outcome) -> dict[str, Any]:
    chosen: Candidate = outcome.selection.chosen
    return {
        "kind": chosen.recipe.kind.value,
        **chosen.recipe.parameters(),
        "score": "macro_f1" if outcome.thresholds is not None else "accuracy",
        "candidates": [one.as_json() for one in outcome.selection.tried],
        "strengths": [
            {"c": c, "score": round(score, 4)} for c, score in sorted(outcome.selection.strengths.items())
        ],
        "calibration": {**outcome.calibration.parameters, "candidates": outcome.calibrations},
    }


def _abstention(options: TrainingOptions, below: AbstainBelow, scope: Scope | None) -> dict[str, Any]:
    return {
        "target_precision": options.target_precision,
        "abstain_below": round(below.confidence, 4),
        "is_chosen_for_target": options.abstain_below is None,
        "precision_at_least": round(below.bound, 4),
        "is_target_reached": below.is_reached,
        "out_of_scope": None if scope is None else {n: round(v, 4) for n, v in scope.parameters().items()},
    }


def _problems(options: TrainingOptions, outcome: Outcome, below: AbstainBelow) -> list[str]:
    problems = []
    if not outcome.is_known.any():
        problems.append(
            "No label has two examples, so nothing could be held out: the head was not chosen by"
            " cross-validation and its probabilities are not calibrated. Add examples."
        )
    elif options.abstain_below is None and not below.is_reached:
        problems.append(
            f"The precision {options.target_precision:g} asked for was reached by no part of the held-out"
            f" examples with 95 % confidence; below {below.confidence:.3f} it abstains, which gives at least"
            f" {below.bound:.3f}. Add examples, or ask for less."
        )
    return problems
