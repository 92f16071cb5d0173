"""What feedback answers: one training for several callers, what is no change, what is not followed."""

from __future__ import annotations

from typing import Any

import pytest

from core.classifier_feedback import AT_ONCE
from core.classifier_types import Feedback, LabelledText
from storage.classifiers import SqlClassifierStore
from storage.database import Database
from tests.core.classifier_world import MOODS, ClassifierWorld

RAIN = LabelledText("rain and sun", ("weather",))


@pytest.fixture
def world(database: Database) -> ClassifierWorld:
    world = ClassifierWorld(database)
    world.train()
    return world


def test_of_many_examples_by_several_callers_one_training_takes_all_in(
    world: ClassifierWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    storms, floods = (
        [LabelledText(f"{word} number {i}", ("weather",)) for i in range(AT_ONCE + 1)]
        for word in ("storm", "flood")
    )
    other = ClassifierWorld(world.database)
    put, meanwhile = SqlClassifierStore.put, [lambda: other.service.change_examples("topic", floods)]
    first: list[Feedback] = []

    def put_later(*args: Any) -> Any:
        if meanwhile:
            first.append(meanwhile.pop()())
        return put(*args)

    monkeypatch.setattr(SqlClassifierStore, "put", put_later)
    told = world.service.change_examples("topic", storms)
    assert told.job is not None
    assert first[0].job is not None
    assert told.job.id == first[0].job.id
    other.work()
    assert world.service.versions("topic")[0].examples == 6 + len(storms) + len(floods)


def test_labels_in_another_order_or_twice_are_the_same(database: Database) -> None:
    world = ClassifierWorld(database)
    both = LabelledText("a match at the market", ("sports", "money"))
    world.train(examples=[*MOODS, both])
    told = world.service.change_examples("topic", [LabelledText(both.text, ("money", "sports", "money"))])
    assert (told.changes.corrected, told.changes.unchanged) == (0, 1)
    assert told.version is not None
    assert told.version.number == 1
    world.service.change_examples("topic", [LabelledText("again and again", ("money", "money"))])
    assert world.service.examples("topic")[-1].labels == ("money",)


def test_an_example_that_the_new_version_does_not_follow_is_told(world: ClassifierWorld) -> None:
    followed, lone = (
        LabelledText("they scored", ("sports",)),
        LabelledText("shares of the bank fell on the market", ("sports",)),
    )
    told = world.service.change_examples("topic", [followed, lone])
    assert world.label(lone.text) == "money"
    assert told.changes.problems == (
        "1 of the 2 examples sent get another label from version 2, for example 'shares of the bank fell on"
        " the market': 'money', not 'sports'. Examples like it weigh more; correct or remove those, or send"
        " more of the new kind.",
    )


def test_evidence_after_feedback_reads_no_example_again(
    world: ClassifierWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.service.change_examples("topic", [RAIN])
    monkeypatch.setattr(world.store, "examples", lambda *args: pytest.fail("they are in memory"))
    (found,) = world.service.classify("topic", ["rain"], evidence=True).predictions
    assert found.evidence is not None
    assert found.evidence.neighbours[0].text == RAIN.text
