"""Calibration of a head on logits of examples it had not seen. Shapes: n examples, c labels.

One label an example: a temperature (Guo et al. 2017, "On calibration of modern neural networks", section
4.2). Several: sigmoid(scale z + offset), shared by the labels (Platt 1999, "Probabilistic outputs for support
vector machines"). Where data allow, isotonic regression on top of it (Zadrozny and Elkan 2002, "Transforming
classifier scores into accurate multiclass probability estimates"), fitted to all labels' probabilities at
once: a map shared by the labels keeps their order. What has the lower cross-validated loss is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from classifier.reliability import calibration_error, reliability_bins
from classifier.scoring import calibrated
from core.classifier_types import Bools
from core.types import Float32, Float64, Int64

ENOUGH = 1000  # examples for isotonic regression
MAX_CELLS = 2_000_000  # logits that a calibration looks at
STEPS = 40
LEAST, MOST = 1e-3, 1e4  # scales
LOGIT_BINS = np.linspace(-12, 12, 401)
FLOOR = 1e-5  # no label is impossible
ECE_BINS = 15
LEAST_P = 1e-9
Fit = Callable[[Float32, Bools, bool], "Calibration"]


@dataclass(frozen=True, slots=True, eq=False)
class Calibration:
    """`parameters` and `arrays` are what classifier.scoring.calibrated reads."""

    parameters: Mapping[str, Any]
    arrays: Mapping[str, Float32] = field(default_factory=dict)

    def probabilities(self, logits: Float32, is_multi: bool) -> Float32:
        return calibrated(self.parameters, self.arrays, logits, is_multi)


@dataclass(frozen=True, slots=True, eq=False)
class Calibrations:
    """The one that serves is fitted to all examples; `by_fold` the same kind to the other folds alone.

    `scores` are of each kind tried, on folds it was not fitted to.
    """

    serving: Calibration
    by_fold: Mapping[int, Calibration] = field(default_factory=dict)
    scores: list[dict[str, Any]] = field(default_factory=list)

    def held_out(self, logits: Float32, folds: Int64, is_multi: bool) -> Float32:
        """(n, c) probabilities of `logits` (n, c), each row's by a calibration that had not seen it.

        A fold without one, of which no example can be predicted, gets the one that serves.
        """
        probabilities = np.empty_like(logits)
        for fold in np.unique(folds).tolist():
            rows = folds == fold
            of_fold = self.by_fold.get(fold, self.serving)
            probabilities[rows] = of_fold.probabilities(logits[rows], is_multi)
        return probabilities


def choose_calibration(
    logits: Float32, truth: Bools, folds: Int64, is_multi: bool, tick: Callable[[], None]
) -> Calibrations:
    """The calibration with the lowest loss on folds it was not fitted to.

    `logits` and `truth` are (n, c), `folds` (n,). At most MAX_CELLS logits are looked at.
    """
    rows = np.arange(0, len(logits), max(1, logits.size // MAX_CELLS))
    logits, truth, folds = logits[rows], truth[rows], folds[rows]
    fits: dict[str, Fit] = {"platt" if is_multi else "temperature": fit_scaling}
    if len(logits) >= ENOUGH:
        fits["isotonic"] = fit_isotonic
    scores: list[dict[str, Any]] = []
    fitted: dict[str, dict[int, Calibration]] = {}
    for name, fit in fits.items():
        held_out, fitted[name] = np.empty_like(logits), {}
        for fold in np.unique(folds).tolist():
            tick()
            is_held = folds == fold
            fitted[name][fold] = fit(logits[~is_held], truth[~is_held], is_multi)
            held_out[is_held] = fitted[name][fold].probabilities(logits[is_held], is_multi)
        nll, ece = loss(held_out, truth, is_multi), error(held_out, truth, is_multi)
        scores.append({"method": name, "nll": round(nll, 4), "ece": round(ece, 4)})
    best = str(min(scores, key=lambda row: float(row["nll"]))["method"])
    return Calibrations(fits[best](logits, truth, is_multi), fitted[best], scores)


def fit_scaling(logits: Float32, truth: Bools, is_multi: bool) -> Calibration:
    """A temperature, or with several labels scale and offset."""
    scale, offset = _fit_platt(logits, truth) if is_multi else (_fit_inverse_temperature(logits, truth), 0.0)
    method = "platt" if is_multi else "temperature"
    return Calibration({"method": method, "scale": scale, "offset": offset})


def fit_isotonic(logits: Float32, truth: Bools, is_multi: bool) -> Calibration:
    """Isotonic regression of truth on the scaled probabilities, in bins of their logits."""
    from scipy.optimize import isotonic_regression

    scaling = fit_scaling(logits, truth, is_multi)
    p = scaling.probabilities(logits, is_multi).ravel().astype(np.float64)
    places = np.digitize(np.log(np.maximum(p, LEAST_P)) - np.log(np.maximum(1 - p, LEAST_P)), LOGIT_BINS)
    counts = np.bincount(places, minlength=len(LOGIT_BINS) + 1)
    used = counts > 0
    x = np.bincount(places, p, len(counts))[used] / counts[used]
    rates = np.bincount(places, truth.ravel(), len(counts))[used] / counts[used]
    y = isotonic_regression(rates, weights=counts[used]).x  # x rises from bin to bin, and has no equals
    x, y = _steps_to_points(x, y, counts[used])
    arrays = {"isotonic_x": x.astype(np.float32), "isotonic_y": y.astype(np.float32)}
    return Calibration({**scaling.parameters, "method": "isotonic"}, arrays)


def loss(probabilities: Float32, truth: Bools, is_multi: bool) -> float:
    """Mean over n of -log p of the row's label; of several, the sum over every label's yes or no."""
    right = -np.log(np.maximum(probabilities[truth], LEAST_P)).sum(dtype=np.float64)
    if is_multi:
        right -= np.log(np.maximum(1 - probabilities[~truth], LEAST_P)).sum(dtype=np.float64)
    return float(right / len(truth))


def error(probabilities: Float32, truth: Bools, is_multi: bool) -> float:
    """Expected calibration error (15 bins) of the most probable label; of every label where several."""
    if is_multi:
        return calibration_error(reliability_bins(probabilities.ravel(), truth.ravel(), ECE_BINS))
    rows, best = np.arange(len(truth)), probabilities.argmax(axis=1)
    return calibration_error(reliability_bins(probabilities[rows, best], truth[rows, best], ECE_BINS))


def _fit_inverse_temperature(logits: Float32, truth: Bools) -> float:
    """Newton's method on the scale b of softmax(b z), in which the loss is convex.

    Targets are smoothed by 1 / (n + 2), as if one more example had every label (Platt 1999, section 2.2):
    without it the scale has no bound where all examples are right.
    """
    z = logits - logits.max(axis=1, keepdims=True)
    smoothing = 1 / (len(z) + 2)
    wanted = float(((1 - smoothing) * z[truth] + smoothing * z.mean(axis=1)).mean())
    scale = 1.0
    for _ in range(STEPS):
        p = np.exp(z * np.float32(scale))
        p /= p.sum(axis=1, keepdims=True)
        mean = (p * z).sum(axis=1)
        variance = float(((p * z * z).sum(axis=1) - mean * mean).mean())
        step = (float(mean.mean()) - wanted) / max(variance, 1e-12)
        updated = float(np.clip(scale - step, max(LEAST, scale / 3), min(MOST, scale * 3)))
        if abs(updated - scale) < 1e-4 * scale:
            return updated
        scale = updated
    return scale


def _fit_platt(logits: Float32, truth: Bools) -> tuple[float, float]:
    """Scale (LEAST to MOST) and offset of sigmoid(scale z + offset) with the lowest loss, targets smoothed.

    From no scale and the labels' own frequency on, with logits around 0 in units of their spread.
    """
    from scipy.optimize import minimize
    from scipy.special import expit

    z = logits.ravel().astype(np.float64)
    yes, no = int(truth.sum()), int(truth.size - truth.sum())
    targets = np.where(truth.ravel(), (yes + 1) / (yes + 2), 1 / (no + 2))
    middle, spread = float(z.mean()), max(float(z.std()), 1e-6)
    z = (z - middle) / spread

    def mean_loss(at: Float64) -> tuple[float, Float64]:
        u = at[0] * z + at[1]
        error = expit(u) - targets
        value = float((np.logaddexp(0, u) - targets * u).mean())
        return value, np.array([float((error * z).mean()), float(error.mean())])

    start = np.array([LEAST * spread, np.log((yes + 1) / (no + 1))])
    bounds = [(LEAST * spread, MOST * spread), (None, None)]
    found = minimize(mean_loss, start, jac=True, method="L-BFGS-B", bounds=bounds).x
    return float(found[0] / spread), float(found[1] - found[0] * middle / spread)


def _steps_to_points(x: Float64, y: Float64, counts: Int64) -> tuple[Float64, Float64]:
    """The steps' centres, so that the line through them still tells probabilities of one step apart."""
    starts = np.flatnonzero(np.r_[True, np.diff(y) > 0])
    totals = np.add.reduceat(counts, starts)
    centres = np.add.reduceat(x * counts, starts) / totals
    heights = np.clip(y[starts], FLOOR, 1 - FLOOR)
    return np.r_[0.0, centres, 1.0], np.r_[min(FLOOR, heights[0]) / 2, heights, max(heights[-1], 1 - FLOOR)]
