"""Chooses the head by stratified cross-validation. Shapes: n examples, c labels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from classifier.fitting import Recipe, Trainable, fit_and_predict, prior_shift
from classifier.logistic import Linear, LogisticProblem
from classifier.measures import accuracy, macro_f1
from classifier.neighbours import neighbour_logits
from classifier.progress import Progress
from classifier.scoring import choose, sigmoid
from classifier.thresholds import held_out_choices
from core.classifier_types import MAX_NEIGHBOUR_EXAMPLES, Bools, HeadKind, TrainingOptions
from core.types import Float32, Int64

STRENGTHS = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0)  # C; the search starts at START
START = STRENGTHS.index(10.0)
NEIGHBOURS = (3, 10)
MANY_CELLS = 400_000  # n c: the strength is then chosen on the first two folds
HUGE_CELLS = 4_000_000  # on the first fold
MARGIN = 0.01  # of macro-F1, by which another head must be better than logistic regression
PRIOR_SHARES = (0.5, 1.0)
LOPSIDED = 3  # times as many examples of one label as of another
WORTH = 0.005  # macro-F1 that an adjustment to the labels' frequencies must bring


@dataclass(frozen=True, slots=True, eq=False)
class Candidate:
    """A head that cross-validation tried: `logits` (n, c) of each example by a head that had not seen it.

    `is_chosen` (n, c): the labels given, of several by thresholds that had not seen the example either.
    """

    recipe: Recipe
    logits: Float32
    is_chosen: Bools
    score: float
    macro_f1: float

    def as_json(self) -> dict[str, Any]:
        return {
            "kind": self.recipe.kind.value,
            **self.recipe.parameters(),
            "score": round(self.score, 4),
            "macro_f1": round(self.macro_f1, 4),
        }


@dataclass(frozen=True, slots=True, eq=False)
class Selection:
    """`folds` (n,) is where each example was held out; `tried` is in the order of trying."""

    chosen: Candidate
    tried: tuple[Candidate, ...]
    strengths: dict[float, float]  # C -> score, on the folds that chose it
    folds: Int64


class Selector:
    """Cross-validates heads on `data` with the given `folds` (n,)."""

    def __init__(self, data: Trainable, folds: Int64, progress: Progress) -> None:
        self._data, self._folds, self._progress = data, folds, progress
        self._strengths: dict[float, float] = {}

    def select(self, options: TrainingOptions) -> Selection:
        """The best head, of `options.head`'s kind when given; ties go to logistic regression."""
        few = len(self._data.vectors) <= MAX_NEIGHBOUR_EXAMPLES
        kinds = (HeadKind.LOGISTIC, HeadKind.PROTOTYPES, *([HeadKind.NEIGHBOURS] if few else []))
        tried = []
        for place, kind in enumerate((options.head,) if options.head else kinds):
            tried.append(self._best_of(kind))
            self._progress.at(0.6 + 0.03 * place)
        return Selection(self._winner(tried), tuple(tried), self._strengths, self._folds)

    def _best_of(self, kind: HeadKind) -> Candidate:
        if kind is HeadKind.LOGISTIC:
            return self._adjusted(self._logistic())
        if kind is HeadKind.NEIGHBOURS:
            return max((self._neighbours(k) for k in NEIGHBOURS), key=lambda one: one.score)
        recipe = Recipe(kind)
        logits = self._held_out(lambda t, rows: fit_and_predict(recipe, t, rows, self._progress))
        return self._candidate(recipe, logits)

    def _neighbours(self, k: int) -> Candidate:
        logits = self._held_out(lambda t, rows: neighbour_logits(rows, t.vectors, t.truth, k))
        return self._candidate(Recipe(HeadKind.NEIGHBOURS, neighbours=k), logits)

    def _held_out(self, predict: Callable[[Trainable, Float32], Float32]) -> Float32:
        logits = np.empty(self._data.truth.shape, np.float32)
        for fold in np.unique(self._folds):
            self._progress.tick()
            is_held = self._folds == fold
            logits[is_held] = predict(self._data.take(~is_held).once(), self._data.vectors[is_held])
        return logits

    def _logistic(self) -> Candidate:
        """The strength by search upwards or downwards from START, warm-started, then all folds with it."""
        numbers = np.unique(self._folds)
        cells = self._data.truth.size
        searched = numbers[: 1 if cells > HUGE_CELLS else 2 if cells > MANY_CELLS else len(numbers)]
        problems = {int(fold): self._problem(self._folds != fold) for fold in searched}
        is_searched = np.isin(self._folds, searched)
        last: dict[int, Linear] = {}
        best: dict[float, Float32] = {}  # of one C: with many labels the logits of each take much memory
        best_score = -1.0

        def score(c: float) -> float:
            nonlocal best_score
            logits = np.empty(self._data.truth.shape, np.float32)
            for fold, problem in problems.items():
                last[fold] = problem.solve(c, last.get(fold))
                is_held = self._folds == fold
                logits[is_held] = last[fold].logits(self._data.vectors[is_held])
            found = self._score(logits, is_searched)
            if found > best_score:
                best.clear()
                best[c], best_score = logits, found
            return found

        c = climb(score, self._strengths)
        logits = best[c]
        for done, fold in enumerate(numbers[len(searched) :]):
            self._progress.at(0.3 + 0.3 * done / len(numbers))
            is_held = self._folds == fold
            logits[is_held] = self._problem(~is_held).solve(c).logits(self._data.vectors[is_held])
        return self._candidate(Recipe(HeadKind.LOGISTIC, c=c), logits)

    def _problem(self, rows: Bools) -> LogisticProblem:
        train = self._data.take(rows).once()
        return LogisticProblem(train.vectors, train.truth, train.is_multi, self._progress)

    def _adjusted(self, plain: Candidate) -> Candidate:
        """With the share of the labels' frequencies taken off that macro-F1 wants, if it is worth it."""
        truth = self._data.once().truth
        counts = truth.sum(axis=0)
        if self._data.is_multi or counts.max() < LOPSIDED * max(1, counts.min()):
            return plain
        tried = [
            self._candidate(
                replace(plain.recipe, prior_share=share), plain.logits - prior_shift(truth, share)
            )
            for share in PRIOR_SHARES
        ]
        best = max(tried, key=lambda one: one.macro_f1)
        return best if best.macro_f1 >= plain.macro_f1 + WORTH else plain

    def _candidate(self, recipe: Recipe, logits: Float32) -> Candidate:
        chosen = self._chosen(logits, self._data.truth, self._folds)
        f1 = macro_f1(self._data.truth, chosen)
        score = f1 if self._data.is_multi else accuracy(self._data.truth, chosen)
        return Candidate(recipe, logits, chosen, score, f1)

    def _score(self, logits: Float32, rows: Bools) -> float:
        truth = self._data.truth[rows]
        chosen = self._chosen(logits[rows], truth, self._folds[rows])
        return macro_f1(truth, chosen) if self._data.is_multi else accuracy(truth, chosen)

    def _chosen(self, logits: Float32, truth: Bools, folds: Int64) -> Bools:
        if not self._data.is_multi:
            return choose(logits, None)
        return held_out_choices(sigmoid(logits), truth, folds, self._progress.tick)

    def _winner(self, tried: list[Candidate]) -> Candidate:
        best = max(tried, key=lambda one: one.score)
        first = tried[0]
        return best if best.score - first.score > self._noise(first, best) else first

    def _noise(self, one: Candidate, other: Candidate) -> float:
        """The standard error of the difference of two accuracies on the same examples; else MARGIN."""
        if self._data.is_multi:
            return MARGIN
        rows, labels = np.arange(len(one.logits)), self._data.truth.argmax(axis=1)
        right = [c.logits[rows].argmax(axis=1) == labels for c in (one, other)]
        differences = right[1].astype(np.float64) - right[0]
        return float(differences.std() / np.sqrt(len(differences)))


def climb(score: Callable[[float], float], scores: dict[float, float]) -> float:
    """The C of STRENGTHS at the top of the hill that START stands on; of equal ones the nearer to START.

    It is the first with the greatest of all scores.
    """
    scores[STRENGTHS[START]] = best = score(STRENGTHS[START])
    at = START
    for step in (1, -1):
        while 0 <= at + step < len(STRENGTHS):
            c = STRENGTHS[at + step]
            scores[c] = score(c)
            if scores[c] <= best:
                break
            at, best = at + step, scores[c]
        if at != START:
            break
    return STRENGTHS[at]
