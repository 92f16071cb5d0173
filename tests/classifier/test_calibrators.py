"""Scale and offset are those of the lowest loss, whatever the logits."""

from __future__ import annotations

import numpy as np
import pytest

from classifier.calibrators import LEAST, fit_scaling
from core.classifier_types import Bools
from core.types import Float32


def shares_of_neighbours(seed: int, of: int = 3) -> tuple[Float32, Bools]:
    """Log odds as heads of few neighbours give them: a few steps, most of them far out."""
    random = np.random.default_rng(seed)
    truth = random.random((150, 5)) < 0.12
    shares = np.clip(random.binomial(of, 0.12 + 0.2 * truth) / of, 1e-3, 1 - 1e-3)
    return np.log(shares / (1 - shares)).astype(np.float32), truth


def scaling(logits: Float32, truth: Bools) -> tuple[float, float]:
    parameters = fit_scaling(logits, truth, True).parameters
    return parameters["scale"], parameters["offset"]


def loss(logits: Float32, truth: Bools, scale: float, offset: float) -> float:
    """As the fit sees it: targets smoothed (Platt 1999)."""
    yes, no = int(truth.sum()), int((~truth).sum())
    targets = np.where(truth, (yes + 1) / (yes + 2), 1 / (no + 2))
    u = scale * logits + offset
    return float((np.logaddexp(0, u) - targets * u).mean())


@pytest.mark.parametrize("seed", range(5))
def test_no_scale_and_offset_nearby_or_elsewhere_are_better(seed: int) -> None:
    logits, truth = shares_of_neighbours(seed)
    found = scaling(logits, truth)
    others = [(scale, offset) for scale in np.linspace(0.05, 2, 40) for offset in np.linspace(-4, 1, 51)]
    assert loss(logits, truth, *found) <= min(loss(logits, truth, *other) for other in others) + 1e-4


def test_logits_that_tell_the_contrary_leave_the_frequency() -> None:
    logits, truth = shares_of_neighbours(0)
    scale, offset = scaling(-logits, truth)
    assert scale == pytest.approx(LEAST)
    assert (1 / (1 + np.exp(-(scale * -logits + offset)))).mean() == pytest.approx(truth.mean(), abs=0.01)


def test_equal_logits_and_one_sided_truth_have_a_finite_fit() -> None:
    for truth in (np.zeros((4, 2), np.bool_), np.ones((4, 2), np.bool_), np.eye(4, 2) == 1):
        for logits in (np.zeros((4, 2), np.float32), np.full((4, 2), 30, np.float32)):
            scale, offset = scaling(logits, truth)
            p = 1 / (1 + np.exp(-(scale * logits + offset)))
            assert p.mean() == pytest.approx((truth.sum() + 1) / (truth.size + 2), abs=0.05)
