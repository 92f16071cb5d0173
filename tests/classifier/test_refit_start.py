"""A refit begins where the last fit ended."""

from __future__ import annotations

import numpy as np
import pytest

from classifier.fitting import Recipe, Trainable, fit_arrays
from classifier.logistic import LogisticProblem
from classifier.progress import Progress
from classifier.refitting import refit
from core.classifier_types import Examples, Head, HeadKind, TrainingOptions
from core.types import Float64

RECIPE = Recipe(HeadKind.LOGISTIC, c=3.0, prior_share=0.5)


def lopsided() -> Examples:
    """600 vectors of 12 labels, some of them ten times as frequent as others."""
    rng = np.random.default_rng(0)
    labels = rng.choice(12, 600, p=np.array([10] * 4 + [1] * 8) / 48)
    vectors = (rng.normal(size=(12, 32))[labels] + rng.normal(size=(600, 32))).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    truth = labels[:, None] == np.arange(12)
    return Examples(tuple(map(str, range(12))), tuple(f"text {i}" for i in range(600)), vectors, truth)


def test_a_refit_to_the_same_examples_takes_few_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    examples, losses = lopsided(), []
    data = Trainable.of(examples, is_multi=False)
    arrays = fit_arrays(RECIPE, data, Progress(lambda share: None))
    calibration = {"method": "temperature", "scale": 1.0, "offset": 0.0}
    parameters = {**RECIPE.parameters(), "calibration": calibration, "abstain_below": 0.0, "scope": None}
    head = Head(HeadKind.LOGISTIC, examples.labels, False, arrays, parameters)
    computed = LogisticProblem._loss

    def counted(problem: LogisticProblem, variables: Float64, c: float) -> tuple[float, Float64]:
        losses.append(computed(problem, variables, c))
        return losses[-1]

    monkeypatch.setattr(LogisticProblem, "_loss", counted)
    refit(head, examples, TrainingOptions())
    assert losses[0][0] - losses[-1][0] < 0.01 * losses[0][0]
