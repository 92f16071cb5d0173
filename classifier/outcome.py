"""What held-out predictions teach about a head: which one, its calibration, its thresholds, its limit.

What serves is chosen on all examples. How good it is, is told by calibrations, thresholds and limits that the
other folds chose: judged by the examples it was chosen on, a threshold of few examples flatters. Shapes: n
examples, c labels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from classifier.abstaining import AbstainBelow, Given, Scope, abstain_below, held_out_limits
from classifier.calibrators import Calibration, Calibrations, choose_calibration
from classifier.fitting import Recipe, Trainable
from classifier.folds import fold_count, seen_elsewhere, stratified_folds
from classifier.progress import Progress
from classifier.scoring import choose, confidences
from classifier.selection import Selection, Selector
from classifier.thresholds import best_thresholds
from core.classifier_types import Bools, HeadKind, TrainingOptions
from core.twins import first_rows
from core.types import Float32

# Without two examples of any label nothing can be held out; cosines are then told apart as in zero-shot.
UNTRIED_SCALE = 17.5


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """`probabilities` and `is_chosen` (n, c) are by calibrations and thresholds of the other folds.

    `thresholds` (c,) and the calibration that serve are of all examples.
    """

    selection: Selection
    calibrations: Calibrations
    probabilities: Float32
    is_chosen: Bools
    thresholds: Float32 | None
    is_seen: Bools  # (n, c) of the labels given, those of which the head that predicted it had examples

    def as_served(self) -> Float32:
        """(n, c) probabilities by the calibration that serves, which was fitted to these very examples."""
        return self.calibrations.serving.probabilities(self.selection.chosen.logits, self.is_multi)

    @property
    def is_multi(self) -> bool:
        return self.thresholds is not None

    @property
    def is_known(self) -> Bools:
        """(n,) whether the example could be predicted."""
        return _known(self.is_seen, self.is_multi)

    @property
    def is_tried(self) -> bool:
        """False: the held-out predictions say nothing."""
        return bool(self.is_seen.any())


@dataclass(frozen=True, slots=True, eq=False)
class Limit:
    """The confidence below which the head abstains, and what it abstains on held out: `is_abstained` (n,)."""

    below: AbstainBelow
    is_abstained: Bools


def learn(data: Trainable, options: TrainingOptions, progress: Progress) -> Outcome:
    """The best head by cross-validation, calibrated."""
    count = fold_count(data.truth, data.groups)
    folds = stratified_folds(data.truth, data.groups, count, options.seed)
    is_seen = seen_elsewhere(data.truth, folds)
    is_known = _known(is_seen, data.is_multi) & (folds.max() > 0)  # one text alone cannot be held out
    if not is_known.any():
        recipe = Recipe(options.head or HeadKind.PROTOTYPES)
        options = TrainingOptions(head=recipe.kind, seed=options.seed)
        if folds.max() == 0:  # a fold has to be trained on; what it predicts says nothing
            folds = np.arange(len(folds)) % 2
    selection = Selector(data, folds, progress).select(options)
    logits = selection.chosen.logits
    calibrations = _calibrations(data, selection, is_known, progress)
    probabilities = calibrations.held_out(logits, folds, data.is_multi)
    if data.is_multi:  # no calibration changes the order of a label's examples, nor what thresholds choose
        is_chosen = selection.chosen.is_chosen
        thresholds = best_thresholds(calibrations.serving.probabilities(logits, True), data.truth)
    else:
        is_chosen, thresholds = choose(probabilities, None), None
    return Outcome(selection, calibrations, probabilities, is_chosen, thresholds, is_seen)


def limit(data: Trainable, options: TrainingOptions, outcome: Outcome, scope: Scope | None) -> Limit:
    """Where it abstains for `options.target_precision`, or as the options say; twins count once."""
    truth = data.truth
    is_outside = np.zeros(len(truth), np.bool_) if scope is None else scope.is_outside
    if not outcome.is_tried:
        return Limit(AbstainBelow(options.abstain_below or 0.0, 0.0, False), is_outside)
    is_first = np.isin(np.arange(len(truth)), first_rows(data.groups))
    is_counted = outcome.is_known & ~is_outside & is_first
    served = _given(truth, outcome.is_chosen, outcome.as_served())
    found = abstain_below(served.take(is_counted), options.target_precision)
    given = _given(truth, outcome.is_chosen, outcome.probabilities)
    if options.abstain_below is None:
        limits = held_out_limits(given, is_counted, outcome.selection.folds, options.target_precision)
        return Limit(found, (given.confidence < limits) | is_outside)
    below = AbstainBelow(options.abstain_below, found.bound, found.is_reached)
    return Limit(below, (given.confidence < np.float32(options.abstain_below)) | is_outside)


def _given(truth: Bools, is_chosen: Bools, probabilities: Float32) -> Given:
    right = (truth & is_chosen).sum(axis=1)
    return Given(confidences(probabilities, is_chosen), right, is_chosen.sum(axis=1))


def _known(is_seen: Bools, is_multi: bool) -> Bools:
    return np.ones(len(is_seen), np.bool_) if is_multi else np.asarray(is_seen.any(axis=1))


def _calibrations(data: Trainable, selection: Selection, is_known: Bools, progress: Progress) -> Calibrations:
    if not is_known.any():
        scale = UNTRIED_SCALE if selection.chosen.recipe.kind is HeadKind.PROTOTYPES else 1.0
        return Calibrations(Calibration({"method": "none", "scale": scale, "offset": 0.0}))
    logits, folds = selection.chosen.logits, selection.folds
    rows = np.flatnonzero(is_known)
    return choose_calibration(logits[rows], data.truth[rows], folds[rows], data.is_multi, progress.tick)
