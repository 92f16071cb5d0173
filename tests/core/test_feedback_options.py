"""Feedback keeps to the options that hold when it is stored, and to what a kind of head can take."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from core import classifier_feedback
from core.classifier_types import (
    ExampleChanges,
    Examples,
    Head,
    HeadKind,
    LabelledText,
    TrainedHead,
    TrainingOptions,
    TrainRequest,
)
from core.errors import InvalidInput
from core.ports.classifiers import Going
from storage.database import Database
from tests.core.centroid_heads import CentroidHeads
from tests.core.classifier_world import MOODS, ClassifierWorld

RAIN = LabelledText("rain all day", ("money",))


class Neighbours(CentroidHeads):
    """Heads that say that they are of neighbours, and count how often they are fitted again."""

    refits = 0

    def train(self, examples: Examples, options: TrainingOptions, going: Going) -> TrainedHead:
        trained = super().train(examples, options, going)
        return replace(trained, head=replace(trained.head, kind=HeadKind.NEIGHBOURS))

    def refit(self, head: Head, examples: Examples, options: TrainingOptions) -> TrainedHead:
        self.refits += 1
        return super().refit(head, examples, options)


def test_examples_of_several_labels_are_refused_by_the_options_of_the_moment_they_are_stored(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    world, other = ClassifierWorld(database), ClassifierWorld(database)
    world.train(multi_label=True)
    write, meanwhile = world.store.change_examples, [TrainRequest(options=TrainingOptions(multi_label=False))]

    def write_later(*args: Any) -> ExampleChanges:
        if meanwhile:
            other.service.put("topic", meanwhile.pop())
        return write(*args)

    monkeypatch.setattr(world.store, "change_examples", write_later)
    with pytest.raises(InvalidInput, match="multi_label is false"):
        world.service.change_examples("topic", [LabelledText("a match at the bank", ("sports", "money"))])
    assert len(world.service.examples("topic")) == len(MOODS)


@pytest.mark.parametrize(("asked_for", "is_trained"), [(None, True), (HeadKind.NEIGHBOURS, False)])
def test_a_head_of_neighbours_that_outgrows_what_it_may_have_is_trained_anew_unless_asked_for(
    database: Database, monkeypatch: pytest.MonkeyPatch, asked_for: HeadKind | None, is_trained: bool
) -> None:
    heads = Neighbours()
    world = ClassifierWorld(database, heads)
    world.train(head=asked_for)
    monkeypatch.setattr(classifier_feedback, "MAX_NEIGHBOUR_EXAMPLES", len(MOODS))
    told = world.service.change_examples("topic", [RAIN])
    assert (told.job is not None, heads.refits) == (is_trained, 0 if is_trained else 1)


def test_a_head_of_neighbours_that_may_have_more_is_fitted_at_once(database: Database) -> None:
    heads = Neighbours()
    world = ClassifierWorld(database, heads)
    world.train()
    told = world.service.change_examples("topic", [RAIN])
    assert told.version is not None
    assert heads.refits == 1
