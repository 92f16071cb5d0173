"""Classification: logistic regression on embeddings, of all or few examples, and label names alone."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score

from core.label_types import Label
from core.types import Float32, Int64
from evaluation.datasets import ClassificationSet, Example
from evaluation.results import Measure, Result
from evaluation.systems import Progress, System

SHOTS = (8, 16)
SEEDS = 5
# Inverse strengths of L2: the library's 1 is the usual few-shot protocol; all data want a weaker one.
C_FEW = 1.0
C_FULL = 30.0
MAX_ITERATIONS = 1000
HELD_OUT = 10  # without a dev file, one training example in ten tunes the thresholds

Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class _Part:
    """`vectors` is (n, d); `truth` is (n, c), True at the labels of an example."""

    vectors: Float32
    truth: Bools

    def take(self, rows: Int64) -> _Part:
        return _Part(self.vectors[rows], self.truth[rows])


@dataclass(frozen=True, slots=True)
class _Task:
    """What is the same for every training set."""

    dev: _Part
    test: _Part
    is_multi: bool

    def predict(self, train: _Part, c: float) -> Bools:
        """(n, c) predictions of the test part."""
        return _predict_many(self, train, c) if self.is_multi else _predict_one(self, train, c)


def evaluate_classification(data: ClassificationSet, system: System, progress: Progress) -> Result:
    """Accuracy and macro-F1 with full training data, 8 and 16 examples a class (5 seeds), and zero-shot.

    With several labels an example: one classifier a label, thresholds that maximise F1 on dev, and accuracy
    means that all labels of an example are right. Zero-shot then predicts the best label alone.
    """
    train, dev, test = _encode(data, system, progress)
    if data.is_multi and not len(dev.truth):
        is_held = np.arange(len(train.truth)) % HELD_OUT == 0
        dev, train = train.take(np.flatnonzero(is_held)), train.take(np.flatnonzero(~is_held))
    task = _Task(dev, test, data.is_multi)
    measures = list(_measures("full", [task.predict(train, C_FULL)], test.truth))
    for done, shots in enumerate(SHOTS, start=1):
        progress("classifiers fitted", done, 1 + len(SHOTS))
        few = [train.take(few_of_each(train.truth, shots, seed)) for seed in range(SEEDS)]
        predictions = [task.predict(part, C_FEW) for part in few]
        measures += _measures(f"{shots} a class", predictions, test.truth)
    measures += _measures("zero-shot", [_predict_zero_shot(data, system)], test.truth)
    return Result(data.name, "classification", tuple(measures))


def few_of_each(truth: Bools, shots: int, seed: int) -> Int64:
    """Rows of `shots` random examples of each class (all, where there are fewer), each row once.

    The choice depends on data and seed only, so every system is given the same examples.
    """
    rng = np.random.default_rng(seed)
    chosen = [rng.permutation(np.flatnonzero(truth[:, column]))[:shots] for column in range(truth.shape[1])]
    return np.unique(np.concatenate(chosen))


def best_thresholds(probabilities: npt.NDArray[np.float64], truth: Bools) -> npt.NDArray[np.float64]:
    """(c,) thresholds, each the one of highest F1 on its column of (n, c); 0.5 where nothing is true."""
    return np.array([_best_threshold(p, t) for p, t in zip(probabilities.T, truth.T, strict=True)])


def _best_threshold(probabilities: npt.NDArray[np.float64], truth: Bools) -> float:
    if not truth.any():
        return 0.5
    order = np.argsort(-probabilities, kind="stable")
    hits = np.cumsum(truth[order])
    f1 = 2 * hits / (np.arange(1, len(order) + 1) + truth.sum())  # 2 TP / (predicted + true)
    ordered = np.append(probabilities[order], 0.0)
    is_last_of_equals = ordered[:-1] > ordered[1:]
    best = int(np.argmax(np.where(is_last_of_equals, f1, -1.0)))
    return float(ordered[best] + ordered[best + 1]) / 2  # midway to the next, which is left out


def _encode(data: ClassificationSet, system: System, progress: Progress) -> tuple[_Part, _Part, _Part]:
    dev = data.dev if data.is_multi else ()  # only thresholds need it
    parts = (data.train, dev, data.test)
    texts = list(dict.fromkeys(example.text for part in parts for example in part))
    rows = {text: row for row, text in enumerate(texts)}
    vectors = system.embed(texts, progress)
    train, dev_part, test = (
        _Part(vectors[np.array([rows[e.text] for e in part], np.int64)], _truth(part, data.labels))
        for part in parts
    )
    return train, dev_part, test


def _truth(examples: Sequence[Example], labels: Sequence[str]) -> Bools:
    columns = {label: column for column, label in enumerate(labels)}
    truth = np.zeros((len(examples), len(labels)), np.bool_)
    for row, example in enumerate(examples):
        truth[row, [columns[label] for label in example.labels]] = True
    return truth


def _predict_one(task: _Task, train: _Part, c: float) -> Bools:
    model = _fit(train.vectors, train.truth.argmax(axis=1), c)
    return _one_hot(np.asarray(model.predict(task.test.vectors)), train.truth.shape[1])


def _predict_many(task: _Task, train: _Part, c: float) -> Bools:
    parts = (task.dev, task.test)
    columns = [_probabilities(train, column, parts, c) for column in range(train.truth.shape[1])]
    on_dev, on_test = (np.stack(side, axis=1) for side in zip(*columns, strict=True))
    return np.asarray(on_test >= best_thresholds(on_dev, task.dev.truth))


def _probabilities(
    train: _Part, column: int, parts: Sequence[_Part], c: float
) -> list[npt.NDArray[np.float64]]:
    """(n,) probabilities of one label, for each part."""
    truth = train.truth[:, column]
    if truth.all() or not truth.any():  # nothing to tell apart
        return [np.full(len(part.truth), float(truth[0])) for part in parts]
    model = _fit(train.vectors, truth, c)
    return [np.asarray(model.predict_proba(part.vectors)[:, 1]) for part in parts]


def _predict_zero_shot(data: ClassificationSet, system: System) -> Bools:
    columns = {label: column for column, label in enumerate(data.labels)}
    results = system.scorer.classify([e.text for e in data.test], [Label(name) for name in data.labels])
    return _one_hot(np.array([columns[result.label] for result in results]), len(columns))


def _fit(vectors: Float32, classes: npt.NDArray[Any], c: float) -> LogisticRegression:
    """Two classes are fitted by Newton steps, exactly: of rare labels the other solver stops too early."""
    solver = "newton-cholesky" if classes.dtype == np.bool_ else "lbfgs"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return LogisticRegression(C=c, max_iter=MAX_ITERATIONS, solver=solver).fit(vectors, classes)


def _one_hot(classes: npt.NDArray[np.int64], count: int) -> Bools:
    return np.asarray(classes[:, None] == np.arange(count))


def _measures(name: str, predictions: Sequence[Bools], truth: Bools) -> tuple[Measure, Measure]:
    """Accuracy and macro-F1, means over runs; each example's share is in how many runs it was right."""
    right = np.stack([(predicted == truth).all(axis=1) for predicted in predictions])  # (runs, n)
    f1 = np.array([f1_score(truth, p, average="macro", zero_division=0) for p in predictions])
    stds = (float(right.mean(axis=1).std()), float(f1.std())) if len(predictions) > 1 else (None, None)
    items = {str(i): float(share) for i, share in enumerate(right.mean(axis=0))}
    return (
        Measure(f"accuracy, {name}", float(right.mean()), stds[0], items),
        Measure(f"macro-F1, {name}", float(f1.mean()), stds[1]),
    )
