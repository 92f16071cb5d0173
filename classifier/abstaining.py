"""Where a head should abstain: below which confidence, and what is unlike all that it was trained on.

Shapes: n examples, c labels, m landmarks.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from classifier.fitting import Trainable
from classifier.scoring import is_outside
from core.classifier_types import Bools
from core.twins import first_rows
from core.types import Float32, Float64, Int64

Z = 1.645  # one-sided 95 %
MAX_LANDMARKS = 1024
FAR, DOUBTFUL = 0.002, 0.05  # shares of the training examples that lie so far out themselves
UNSURE = 0.1  # share of the training examples that are so unsure out of fold
TAIL = 0.4  # of the t distribution's; chosen on train parts, see docs/classification.md
NOTHING_BELOW = -1.0  # a cosine
MOST = 0.999  # an example's cosine to itself, rounded, is not less
CELLS = 8_000_000


@dataclass(frozen=True, slots=True)
class AbstainBelow:
    """`bound` is what the precision of the rest is at least, with 95 % confidence."""

    confidence: float
    bound: float
    is_reached: bool


@dataclass(frozen=True, slots=True, eq=False)
class Given:
    """Of n held-out examples: `confidence` (n,), `right` (n,) labels given rightly, `count` (n,) given."""

    confidence: Float32
    right: Int64
    count: Int64

    def take(self, rows: npt.NDArray[Any]) -> Given:
        return Given(self.confidence[rows], self.right[rows], self.count[rows])


def abstain_below(given: Given, target: float) -> AbstainBelow:
    """The least confidence above which the precision is at least `target` with 95 % confidence.

    The bound is Wilson's (1927, "Probable inference, the law of succession, and statistical inference").
    Where no part reaches the target, the one of the greatest bound is taken.
    """
    given = given.take(given.count > 0)
    if not len(given.count):
        return AbstainBelow(0.0, 0.0, False)
    order = np.argsort(-given.confidence, kind="stable")
    ordered = given.take(order)
    confidence = ordered.confidence
    bounds = wilson_bound(
        np.cumsum(ordered.right, dtype=np.float64), np.cumsum(ordered.count, dtype=np.float64)
    )
    is_last_of_equals = np.r_[confidence[:-1] > confidence[1:], True]
    bounds = np.where(is_last_of_equals, bounds, -1.0)
    reached = np.flatnonzero(bounds >= target)
    last = int(reached[-1]) if len(reached) else int(bounds.argmax())
    if last == len(confidence) - 1 and len(reached):
        return AbstainBelow(0.0, float(bounds[last]), True)
    return AbstainBelow(float(confidence[last]), float(bounds[last]), bool(len(reached)))


def held_out_limits(given: Given, is_counted: Bools, folds: Int64, target: float) -> Float32:
    """(n,) for each example the confidence that those of the other folds that count would choose.

    `is_counted` and `folds` are (n,).
    """
    limits = np.empty(len(folds), np.float32)
    for fold in np.unique(folds):
        others = given.take(is_counted & (folds != fold))
        limits[folds == fold] = abstain_below(others, target).confidence
    return limits


def wilson_bound(right: Float64, count: Float64, z: float = Z) -> Float64:
    """Lower end of the score interval of right / count."""
    rate = right / count
    middle = rate + z * z / (2 * count)
    half = z * np.sqrt(rate * (1 - rate) / count + z * z / (4 * count * count))
    return np.asarray((middle - half) / (1 + z * z / count))


def fewest_answers(target: float, z: float = Z) -> int:
    """How many answers, all right, have a `wilson_bound` of `target` (below 1)."""
    return math.ceil(z * z * target / (1 - target))


@dataclass(frozen=True, slots=True, eq=False)
class Scope:
    """`landmarks` (m, d) of the training examples; see classifier.scoring.is_outside for the numbers."""

    landmarks: Float32
    far: float
    doubtful: float
    unsure: float
    is_outside: Bools  # (n,) of the training examples themselves, each left out of the landmarks

    def parameters(self) -> dict[str, float]:
        return {"far": self.far, "doubtful": self.doubtful, "unsure": self.unsure}


def fit_scope(data: Trainable, best: Float32 | None, order: np.ndarray, unsure: float = 0.0) -> Scope:
    """Thresholds from the training examples' own distances, each left out of its own with its twins.

    `best` (n,) their highest probabilities out of fold (None: `unsure` stays as it was); `order` (n,) is the
    rows' order of which the first MAX_LANDMARKS different texts become landmarks.
    """
    texts = first_rows(data.groups)
    chosen = np.sort(order[np.isin(order, texts)][:MAX_LANDMARKS])
    similarity = _left_out(data, chosen)
    far, doubtful = (lower_bound(similarity[texts], share) for share in (FAR, DOUBTFUL))
    unsure = unsure if best is None else float(np.quantile(best[texts], UNSURE))
    parameters = {"far": far, "doubtful": doubtful, "unsure": unsure}
    is_far = np.zeros(len(similarity), np.bool_) if best is None else is_outside(parameters, similarity, best)
    return Scope(data.vectors[chosen], far, doubtful, unsure, is_far)


def lower_bound(similarity: Float32, share: float) -> float:
    """What about `share` of new texts of the examples' kind lie below, from the examples' own (n,).

    Of 1 / `share` examples or more it is their quantile. The least of fewer stands for their 1 / n quantile,
    and from there down it is TAIL of what it were in Student's t distribution of as many values as differ:
    two examples that are nearest to each other have the same. A single value says nothing: nothing is below.
    """
    quantile = min(float(np.quantile(similarity, share)), MOST)
    n = len(similarity)
    if n * share >= 1:
        return quantile
    different = np.unique(similarity.round(5))
    if len(different) < 2:
        return NOTHING_BELOW
    from scipy.special import stdtrit

    freedom = len(different) - 1
    steps = stdtrit(freedom, 1 / n) - stdtrit(freedom, share)
    return float(max(NOTHING_BELOW, quantile - TAIL * steps * different.std(ddof=1)))


def _left_out(data: Trainable, chosen: np.ndarray) -> Float32:
    """(n,) the greatest cosine of each vector to the chosen ones of other texts."""
    landmarks, groups = data.vectors[chosen], data.groups[chosen]
    nearest = np.empty(len(data.vectors), np.float32)
    step = max(1, CELLS // len(chosen))
    for start in range(0, len(nearest), step):
        rows = slice(start, start + step)
        similarity = data.vectors[rows] @ landmarks.T
        similarity[data.groups[rows, None] == groups] = NOTHING_BELOW
        nearest[rows] = similarity.max(axis=1)
    return nearest
