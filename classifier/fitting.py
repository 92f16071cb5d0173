"""Fits one head of known kind and hyper-parameters. Shapes: n examples, c labels, d dimensions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from classifier.logistic import REFIT_TOLERANCE, TOLERANCE, Linear, LogisticProblem
from classifier.neighbours import neighbour_logits
from classifier.progress import Progress
from classifier.prototypes import fit_prototypes
from core.classifier_types import Bools, Examples, HeadKind
from core.twins import twin_groups
from core.types import Float32, Int64

DEFAULT_C = 10.0
DEFAULT_NEIGHBOURS = 5


@dataclass(frozen=True, slots=True)
class Recipe:
    """What has to be known to fit a head. `c` is of logistic regression, `neighbours` of neighbours.

    `prior_share` of the logarithm of the labels' frequencies is taken off the logits (Menon et al. 2021,
    "Long-tail learning via logit adjustment", section 4.1), which helps rare labels.
    """

    kind: HeadKind
    c: float = DEFAULT_C
    neighbours: int = DEFAULT_NEIGHBOURS
    prior_share: float = 0.0

    def parameters(self) -> dict[str, Any]:
        """Those of this kind, as the head keeps them."""
        if self.kind is HeadKind.LOGISTIC:
            return {"c": self.c, "prior_share": self.prior_share}
        return {"neighbours": self.neighbours} if self.kind is HeadKind.NEIGHBOURS else {}

    @classmethod
    def of(cls, kind: HeadKind, parameters: Mapping[str, Any]) -> Recipe:
        known = ("c", "neighbours", "prior_share")
        return cls(kind, **{name: parameters[name] for name in known if name in parameters})


@dataclass(frozen=True, slots=True, eq=False)
class Trainable:
    """Unit `vectors` (n, d) float32 with `truth` (n, c); `groups` (n,) as of core.twins."""

    vectors: Float32
    truth: Bools
    groups: Int64
    is_multi: bool

    def take(self, rows: npt.NDArray[Any]) -> Trainable:
        return Trainable(self.vectors[rows], self.truth[rows], self.groups[rows], self.is_multi)

    def once(self) -> Trainable:
        """Without examples of which another before has the same text and labels: such twins weigh as one."""
        _, first, counts = np.unique(self.groups, return_index=True, return_counts=True)
        if len(first) == len(self.groups):
            return self
        kept = np.isin(self.groups, self.groups[first[counts == 1]])
        seen: set[tuple[int, bytes]] = set()
        for row in np.flatnonzero(~kept).tolist():
            key = (int(self.groups[row]), self.truth[row].tobytes())
            kept[row] = key not in seen
            seen.add(key)
        return self.take(kept)

    @classmethod
    def of(cls, examples: Examples, is_multi: bool) -> Trainable:
        return cls(examples.vectors, examples.truth, twin_groups(examples.texts), is_multi)


def fit_arrays(
    recipe: Recipe, data: Trainable, progress: Progress, start: Linear | None = None
) -> dict[str, npt.NDArray[Any]]:
    """The arrays that classifier.scoring.head_logits reads."""
    data = data.once()
    if recipe.kind is HeadKind.NEIGHBOURS:
        return {"examples": data.vectors, "truth": data.truth}
    linear = fit_linear(recipe, data, progress, start)
    return {"weights": linear.weights, "bias": linear.bias}


def fit_linear(recipe: Recipe, data: Trainable, progress: Progress, start: Linear | None = None) -> Linear:
    if recipe.kind is HeadKind.PROTOTYPES:
        return fit_prototypes(data.vectors, data.truth)
    problem = LogisticProblem(data.vectors, data.truth, data.is_multi, progress)
    linear = problem.solve(recipe.c, start, TOLERANCE if start is None else REFIT_TOLERANCE)
    return Linear(linear.weights, linear.bias - prior_shift(data.truth, recipe.prior_share))


def fit_and_predict(recipe: Recipe, train: Trainable, vectors: Float32, progress: Progress) -> Float32:
    """(m, c) logits of `vectors` (m, d)."""
    train = train.once()
    if recipe.kind is HeadKind.NEIGHBOURS:
        return neighbour_logits(vectors, train.vectors, train.truth, recipe.neighbours)
    return fit_linear(recipe, train, progress).logits(vectors)


def prior_shift(truth: Bools, share: float) -> Float32:
    """(c,) `share` of the log of each label's frequency; labels without examples count as one."""
    counts = np.maximum(truth.sum(axis=0), 1)
    return np.asarray(share * np.log(counts / max(1, len(truth))), dtype=np.float32)
