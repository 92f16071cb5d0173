"""The search for the strength of a head."""

from __future__ import annotations

import weakref

import numpy as np
import pytest

from classifier.fitting import Trainable
from classifier.folds import stratified_folds
from classifier.measures import accuracy
from classifier.progress import Progress
from classifier.scoring import choose
from classifier.selection import Selector
from core.classifier_types import Bools, HeadKind, TrainingOptions
from core.types import Float32
from tests.classifier.heads_data import clusters


def test_of_the_strengths_tried_only_the_best_keeps_its_logits(monkeypatch: pytest.MonkeyPatch) -> None:
    examples = clusters([12] * 6, spread=3.0)
    data = Trainable.of(examples, is_multi=False)
    selector = Selector(data, stratified_folds(data.truth, data.groups, 4, 0), Progress(lambda share: None))
    made: list[weakref.ref[Float32]] = []
    kept: list[int] = []
    judge = selector._score

    def judged(logits: Float32, rows: Bools) -> float:
        kept.append(sum(one() is not None for one in made))
        made.append(weakref.ref(logits))
        return judge(logits, rows)

    monkeypatch.setattr(selector, "_score", judged)
    found = selector.select(TrainingOptions(head=HeadKind.LOGISTIC))
    assert len(made) >= 3
    assert max(kept) == 1
    best = max(found.strengths.values())
    assert found.strengths[found.chosen.recipe.c] == best
    assert accuracy(data.truth, choose(found.chosen.logits, None)) == best
    assert np.isfinite(found.chosen.logits).all()
