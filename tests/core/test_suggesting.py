"""Suggestions go on until every document is an example."""

from __future__ import annotations

from core.classifier_types import LabelledText
from core.suggesting import MORE, SPARE
from storage.database import Database
from tests.core.classifier_world import MOODS, ClassifierWorld

FRESH = "the team won the match again"


def test_examples_that_are_still_the_most_uncertain_hide_no_other_document(database: Database) -> None:
    world = ClassifierWorld(database)
    unclear = [f"zebra {i}" for i in range(SPARE * (1 + MORE) + 1)]
    labels = ("sports", "money")
    world.train(examples=[*MOODS, *(LabelledText(one, (labels[i % 2],)) for i, one in enumerate(unclear))])
    news = world.collection()
    world.add(news, {one: one for one in (*unclear, FRESH)})
    assert [one.id for one in world.service.suggest("topic", "news", 1)] == [FRESH]
    assert [one.id for one in world.service.suggest("topic", "news", 3)] == [FRESH]
    world.service.change_examples("topic", [LabelledText(FRESH, ("sports",))])
    assert world.service.suggest("topic", "news", 1) == []
