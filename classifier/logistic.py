"""L2 logistic regression on embeddings: multinomial, or one-vs-rest where examples have several labels.

Minimised is the mean loss + |W|^2 / (2 C n), which is scikit-learn's C; biases are free. With the vectors'
covariance V diag(e) V^T, the variables are W' = diag(1/p) V^T W, where p = (h e + 1/(C0 n))^(-1/2) is about
the inverse root of the loss's curvature (h: a quarter of the labels' mean variance), so that L-BFGS (Liu and
Nocedal 1989) needs about half the steps. Products are of float32.

Shapes: n examples, c labels, d dimensions.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from classifier.blas_threads import use_one_thread
from classifier.progress import Progress
from core.classifier_types import Bools
from core.types import Float32, Float64

C0 = 10.0
ROWS = 2048  # at a time: what they need stays in the processor's cache, and a cancel waits for no more
CELLS = 4_000_000  # with many labels fewer rows at a time
MAX_STEPS = 200
TOLERANCE = 3e-4  # relative change of the loss; smaller ones change no accuracy that we measured
REFIT_TOLERANCE = 5e-5  # one new example among many moves the loss little
CORRECTIONS = 10


@dataclass(frozen=True, slots=True, eq=False)
class Linear:
    """Logits are `x @ weights + bias`: (d, c) and (c,) float32."""

    weights: Float32
    bias: Float32

    def logits(self, vectors: Float32) -> Float32:
        return np.asarray(vectors @ self.weights + self.bias, dtype=np.float32)


class LogisticProblem:
    """A training set turned into the coordinates in which it is solved; several C share it."""

    def __init__(self, vectors: Float32, truth: Bools, is_multi: bool, progress: Progress) -> None:
        use_one_thread()
        self._truth, self._is_multi, self._progress = truth, is_multi, progress
        self._n, self._d = vectors.shape
        self._labels = truth.argmax(axis=1)  # of single-label rows
        self._mean = vectors.mean(axis=0)
        rates = truth.mean(axis=0)
        h = max(1e-6, float((rates * (1 - rates)).mean()) / 4)
        centred = vectors - self._mean
        values, basis = np.linalg.eigh((centred.T @ centred / self._n).astype(np.float64))
        scale = 1 / np.sqrt(h * np.maximum(values, 0) + 1 / (C0 * self._n))
        self._to_weights = basis * scale  # (d, d): W = to_weights @ W'
        self._to_variables = (basis / scale).T
        self._penalty = (scale**2 / self._n).astype(np.float32)[:, None]  # times 1/C
        self._bias_scale = 1 / np.sqrt(h)
        self._rows = centred @ self._to_weights.astype(np.float32)
        self._step = max(1, min(ROWS, CELLS // truth.shape[1]))

    def solve(self, c: float, start: Linear | None = None, tolerance: float = TOLERANCE) -> Linear:
        """Raises what the progress raises."""
        from scipy.optimize import minimize

        found = minimize(
            self._loss,
            self._variables(start),
            args=(c,),
            jac=True,
            method="L-BFGS-B",
            options={"maxiter": MAX_STEPS, "ftol": tolerance, "gtol": 1e-7, "maxcor": CORRECTIONS},
        )
        return self._linear(found.x)

    def _variables(self, start: Linear | None) -> Float64:
        shape = (self._d + 1, self._truth.shape[1])
        if start is None:
            return np.zeros(shape).ravel()
        bias = (start.bias + self._mean @ start.weights)[None] / self._bias_scale
        return np.concatenate([self._to_variables @ start.weights, bias]).ravel()

    def _linear(self, variables: Float64) -> Linear:
        table = variables.reshape(self._d + 1, -1)
        weights = (self._to_weights @ table[:-1]).astype(np.float32)
        bias = table[-1] * self._bias_scale - self._mean @ weights
        return Linear(weights, bias.astype(np.float32))

    def _loss(self, variables: Float64, c: float) -> tuple[float, Float64]:
        table = variables.reshape(self._d + 1, -1).astype(np.float32)
        weights, bias = table[:-1], table[-1] * np.float32(self._bias_scale)
        gradient = np.zeros_like(table)
        total = 0.0
        for start in range(0, self._n, self._step):
            self._progress.tick()
            rows = self._rows[start : start + self._step]
            logits = rows @ weights
            logits += bias
            total += self._residuals(logits, start)  # in place
            gradient[:-1] += rows.T @ logits
            gradient[-1] += logits.sum(axis=0) * np.float32(self._bias_scale)
        gradient /= self._n
        penalised = self._penalty * np.float32(1 / c) * weights
        gradient[:-1] += penalised
        loss = total / self._n + 0.5 * float(np.vdot(penalised, weights))
        return loss, gradient.ravel().astype(np.float64)

    def _residuals(self, logits: Float32, start: int) -> float:
        """The sum of the rows' losses; `logits` become probabilities less truth."""
        if self._is_multi:
            return _binary_residuals(logits, self._truth[start : start + len(logits)])
        return _multinomial_residuals(logits, self._labels[start : start + len(logits)])


def _multinomial_residuals(logits: Float32, labels: npt.NDArray[np.intp]) -> float:
    rows = np.arange(len(logits))
    logits -= logits.max(axis=1, keepdims=True)
    right = float(logits[rows, labels].sum(dtype=np.float64))
    np.exp(logits, out=logits)
    sums = logits.sum(axis=1)
    logits /= sums[:, None]
    logits[rows, labels] -= 1
    return float(np.log(sums).sum(dtype=np.float64)) - right


def _binary_residuals(logits: Float32, truth: Bools) -> float:
    # log(1 + e^z) - t z, without overflow
    losses = np.maximum(logits, 0).sum(dtype=np.float64) - logits[truth].sum(dtype=np.float64)
    small = np.exp(-np.abs(logits))
    losses += np.log1p(small).sum(dtype=np.float64)
    probabilities = np.where(logits >= 0, 1, small) / (1 + small)
    np.subtract(probabilities, truth, out=logits)
    return float(losses)
