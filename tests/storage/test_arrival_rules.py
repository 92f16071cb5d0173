"""A batch is published only by the rules of labelling that hold then."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from core.classifier_types import LabelingRule
from core.errors import Overtaken
from core.job_types import ArrivalRule, EncodedDocument
from storage.classifier_rows import set_active
from storage.classifier_rules import put_rule
from tests.storage.classified import add_version, put, train
from tests.storage.world import World, encode, new

SHOWN = {"tone": "good", "tone_confidence": 0.9}


@pytest.fixture
def world(world: World) -> World:
    """With a classifier of two versions, of which the first is active."""
    classifier, _ = put(world)
    add_version(world, classifier), train(world)
    world.classifiers.activate(classifier.id, 1)
    return world


def add_rule(world: World) -> None:
    world.classifiers.add_rule(LabelingRule(world.id, "mood", "tone"))


def remove_rule(world: World) -> None:
    world.classifiers.remove_rule(world.id, "tone")


def activate(world: World) -> None:
    world.classifiers.activate(world.classifiers.get("mood").id, 2)


def labelled(documents: list[EncodedDocument]) -> list[EncodedDocument]:
    return [replace(document, annotations=SHOWN) for document in documents]


def test_rules_name_the_version_that_is_active(world: World) -> None:
    assert world.classifiers.arrival_rules(world.id) == []
    add_rule(world)
    world.classifiers.add_rule(LabelingRule(world.id, "mood", "also"))
    activate(world)
    assert world.classifiers.arrival_rules(world.id) == [
        ArrivalRule("also", "mood", 2),
        ArrivalRule("tone", "mood", 2),
    ]


@pytest.mark.parametrize(("begin", "change"), [(False, add_rule), (True, remove_rule), (True, activate)])
def test_a_batch_annotated_by_rules_that_have_changed_is_not_published(
    world: World, begin: bool, change: Callable[[World], None]
) -> None:
    if begin:
        add_rule(world)
    sent = world.send(new("a"))
    batch = world.claim(sent.batch_ids[0])
    rules = world.classifiers.arrival_rules(world.id)
    change(world)
    before = world.seq
    with pytest.raises(Overtaken, match="annotate anew"):
        world.batches.complete(batch, encode(batch.items), [], rules)
    assert (world.seq, world.counts()) == (before, (0, 1, 0))
    rules = world.classifiers.arrival_rules(world.id)
    assert world.batches.complete(batch, labelled(encode(batch.items)), [], rules) == before + 1
    assert world.documents.get(world.id, "a").metadata == SHOWN
    assert world.progress(sent.job_id) == ("succeeded", 1, 1, 0)


def test_a_batch_published_while_a_rule_is_added_comes_before_it_or_knows_it(world: World) -> None:
    batch = world.claim(world.send(new("a")).batch_ids[0])
    classifier = world.classifiers.get("mood")
    with ThreadPoolExecutor(1) as pool:
        with world.database.write() as connection:
            put_rule(connection, LabelingRule(world.id, "mood", "tone"), classifier.id)
            publishing = pool.submit(world.batches.complete, batch, encode(batch.items), [], [])
            with pytest.raises(TimeoutError):  # it waits for who adds the rule
                publishing.result(0.3)
        assert isinstance(publishing.exception(30), Overtaken)
    assert world.counts() == (0, 1, 0)


def test_a_batch_published_while_a_version_is_activated_comes_before_it_or_knows_it(world: World) -> None:
    add_rule(world)
    batch = world.claim(world.send(new("a")).batch_ids[0])
    rules = world.classifiers.arrival_rules(world.id)
    with ThreadPoolExecutor(1) as pool:
        with world.database.write() as connection:
            set_active(connection, world.classifiers.get("mood").id, 2)
            publishing = pool.submit(world.batches.complete, batch, encode(batch.items), [], rules)
            with pytest.raises(TimeoutError):  # it waits for who activates
                publishing.result(0.3)
        assert isinstance(publishing.exception(30), Overtaken)
    assert world.counts() == (0, 1, 0)


def test_a_batch_that_was_not_annotated_is_published_whatever_the_rules(world: World) -> None:
    add_rule(world)
    world.add(new("a"))
    assert world.documents.get(world.id, "a").metadata == {}
