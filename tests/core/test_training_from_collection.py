"""Trainings on the documents of a collection, whose examples take the place of the stored ones."""

from __future__ import annotations

from contextlib import AbstractContextManager

import pytest
from sqlalchemy import Connection

from core.classifier_types import (
    CollectionSource,
    LabelledText,
    Labelling,
    TrainingOptions,
    TrainRequest,
)
from core.errors import InvalidInput, NotFound, Unavailable
from core.job_types import JobState
from storage.database import Database
from tests.core.centroid_heads import CentroidHeads
from tests.core.classifier_world import MONEY, MOODS, SPORTS, ClassifierWorld


@pytest.fixture
def world(database: Database) -> ClassifierWorld:
    return ClassifierWorld(database)


def labelled_news(world: ClassifierWorld) -> CollectionSource:
    news = world.collection()
    world.add(news, {text: text for text in SPORTS}, {"topic": "games"})
    world.add(news, {text: text for text in MONEY}, {"topic": "economy", "lang": "en"})
    return CollectionSource("news", "topic")


def texts(world: ClassifierWorld) -> dict[str, str]:
    return {example.text: example.labels[0] for example in world.service.examples("topic")}


def test_a_training_from_a_collection_that_fails_leaves_the_examples(world: ClassifierWorld) -> None:
    labelled_news(world)
    world.train(examples=[*MOODS, LabelledText("rain and sun", ("weather",))])
    before = texts(world)
    job = world.service.put("topic", TrainRequest(source=CollectionSource("news", "lang")))
    world.work()
    assert world.jobs.get(job.id).state is JobState.FAILED
    assert (texts(world), world.service.get("topic").source) == (before, None)
    told = world.service.change_examples("topic", [LabelledText("a storm", ("weather",))])
    assert told.version is not None
    assert (told.version.examples, told.version.labels) == (8, ("money", "sports", "weather"))


def test_a_training_from_a_collection_that_is_cancelled_leaves_the_examples(world: ClassifierWorld) -> None:
    source = labelled_news(world)
    world.train()
    before = texts(world)

    def cancel(step: int) -> None:
        world.jobs.cancel(world.service.get("topic").job_id or "")

    canceller = ClassifierWorld(world.database, CentroidHeads(cancel))
    canceller.service.put("topic", TrainRequest(source=source))
    canceller.work()
    assert (texts(world), world.service.get("topic").source) == (before, None)
    assert world.label("they won the match") == "sports"


def test_a_training_from_a_collection_that_ended_with_its_process_begins_again(
    world: ClassifierWorld,
) -> None:
    source = labelled_news(world)
    world.train()
    before = texts(world)

    def stop(step: int) -> None:
        world.is_stopping = stopping.is_stopping = True

    stopping = ClassifierWorld(world.database, CentroidHeads(stop))
    job = stopping.service.put("topic", TrainRequest(source=source))
    with pytest.raises(Unavailable):
        stopping.work()
    assert texts(world) == before
    world.is_stopping = False
    world.service.training.run(job.id)
    assert set(texts(world).values()) == {"games", "economy"}
    assert world.service.get("topic").source == source


def test_feedback_during_a_training_from_a_collection_counts_on_top_of_it(world: ClassifierWorld) -> None:
    source = labelled_news(world)
    world.train()

    def tell(step: int) -> None:
        if step == 1:
            changed = [LabelledText("rain and sun", ("weather",)), LabelledText(MONEY[0], ("weather",))]
            assert teller.service.change_examples("topic", changed, []).job is not None

    teller = ClassifierWorld(world.database, CentroidHeads(tell))
    job = teller.service.put("topic", TrainRequest(source=source))
    teller.work()
    assert teller.jobs.get(job.id).done == 7
    expected = dict.fromkeys(SPORTS, "games") | dict.fromkeys(MONEY, "economy")
    assert texts(teller) == expected | {"rain and sun": "weather", MONEY[0]: "weather"}
    assert teller.service.versions("topic")[0].labels == ("economy", "games", "weather")
    assert teller.label("sun after rain") == "weather"


def test_what_is_removed_during_a_training_from_a_collection_does_not_come_back(
    world: ClassifierWorld,
) -> None:
    source = labelled_news(world)
    world.train()

    def tell(step: int) -> None:
        if step == 1:
            teller.service.change_examples("topic", [], [SPORTS[0]])
            teller.service.change_examples("topic", [], [MONEY[0], "never heard of"])
            teller.service.change_examples("topic", [LabelledText(MONEY[0], ("economy",))])

    teller = ClassifierWorld(world.database, CentroidHeads(tell))
    job = teller.service.put("topic", TrainRequest(source=source))
    teller.work()
    assert teller.jobs.get(job.id).state == "succeeded"
    assert texts(teller) == dict.fromkeys(SPORTS[1:], "games") | dict.fromkeys(MONEY, "economy")
    world.service.put("topic", TrainRequest(source=source))  # asked anew, after it was removed
    world.work()
    assert set(texts(world)) == {*SPORTS, *MONEY}


def test_feedback_that_waited_while_a_training_from_a_collection_was_accepted_counts_on_top_of_it(
    world: ClassifierWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = labelled_news(world)
    world.train()
    write, meanwhile = world.database.write, [lambda: world.service.put("topic", TrainRequest(source=source))]

    def write_later() -> AbstractContextManager[Connection]:
        if meanwhile:
            meanwhile.pop()()
        return write()

    monkeypatch.setattr(world.database, "write", write_later)
    assert world.service.change_examples("topic", [LabelledText("rain and sun", ("weather",))]).job
    world.work()
    assert texts(world)["rain and sun"] == "weather"
    assert world.label("sun after rain") == "weather"


def test_the_labels_of_a_collection_are_learned_without_encoding(world: ClassifierWorld) -> None:
    news = world.collection()
    world.add(news, {text: text for text in SPORTS}, {"topic": "sports"})
    world.add(news, {text: text for text in MONEY}, {"topic": "money"})
    world.add(news, {"unlabelled": "rain and sun", "again": MONEY[0]}, {})
    world.encoder.encoded.clear()
    world.service.put("topic", TrainRequest(source=CollectionSource("news", "topic")))
    world.work()
    assert world.service.get("topic").examples == 6
    assert world.encoder.encoded == []
    assert world.label("they won the match") == "sports"


def test_an_empty_value_is_no_label(world: ClassifierWorld) -> None:
    news = world.collection()
    world.add(news, {text: text for text in SPORTS}, {"topic": "sports"})
    world.add(news, {text: text for text in MONEY}, {"topic": ["money", " "]})
    world.add(news, {"unlabelled": "rain and sun"}, {"topic": ""})
    world.service.put("topic", TrainRequest(source=CollectionSource("news", "topic")))
    world.work()
    assert world.service.versions("topic")[0].labels == ("money", "sports")


def test_a_value_too_long_for_a_label_fails_the_training_saying_so(world: ClassifierWorld) -> None:
    news = world.collection()
    world.add(news, {text: text for text in SPORTS}, {"topic": "sports"})
    world.add(news, {text: text for text in MONEY}, {"topic": "m" * 513})
    job = world.service.put("topic", TrainRequest(source=CollectionSource("news", "topic")))
    world.work()
    assert "a label in metadata field 'topic' has 513 bytes; the limit is 512" in world.errors(job.id)


def test_documents_with_one_text_and_several_labels_are_left_out_and_told(world: ClassifierWorld) -> None:
    news = world.collection()
    world.add(news, {text: text for text in SPORTS}, {"topic": "sports"})
    world.add(news, {text: text for text in MONEY}, {"topic": "money"})
    world.add(news, {"odd": MONEY[0]}, {"topic": "sports"})
    world.add(news, {"same": MONEY[1]}, {"topic": "money"})
    world.service.put("topic", TrainRequest(source=CollectionSource("news", "topic")))
    world.work()
    assert world.service.get("topic").examples == 5
    left_out, repeated = world.service.report("topic")["problems"]
    assert "1 texts stand in several documents with different labels" in left_out
    assert "1 documents repeat" in repeated


def test_a_collection_without_labels_is_refused_and_nothing_stored(world: ClassifierWorld) -> None:
    world.add(world.collection(), {"a": "some text"})
    with pytest.raises(InvalidInput, match="has a label in metadata field 'topic'"):
        world.service.put("topic", TrainRequest(source=CollectionSource("news", "topic")))
    assert world.service.list() == []
    with pytest.raises(NotFound):
        world.service.put("topic", TrainRequest(source=CollectionSource("gone", "topic")))


def test_labels_that_a_classifier_wrote_are_not_trained_on_which_is_told(world: ClassifierWorld) -> None:
    news = world.collection()
    world.add(news, {"a": SPORTS[0], "b": MONEY[0]})
    world.train()
    world.service.label_collection("news", Labelling("topic", "kind"))
    world.work()
    with pytest.raises(InvalidInput, match="field 'kind' was written by a classifier"):
        world.service.put("other", TrainRequest(source=CollectionSource("news", "kind")))


def test_documents_of_an_empty_list_are_examples_without_a_label_where_several_are_asked_for(
    world: ClassifierWorld,
) -> None:
    news = world.collection()
    world.add(news, {text: text for text in SPORTS}, {"topic": ["sports"]})
    world.add(news, {text: text for text in MONEY}, {"topic": []})
    source = CollectionSource("news", "topic")
    several = TrainRequest(source=source, options=TrainingOptions(multi_label=True))
    job = world.service.put("topic", several)
    world.work()
    assert world.jobs.get(job.id).state is JobState.SUCCEEDED
    stored = {example.text: example.labels for example in world.service.examples("topic")}
    assert stored == {**dict.fromkeys(SPORTS, ("sports",)), **dict.fromkeys(MONEY, ())}
    one = world.service.put("topic", TrainRequest(source=source))
    world.work()
    assert "All 3 examples have the same label" in world.errors(one.id)


def test_documents_of_an_empty_list_that_are_left_out_are_told(world: ClassifierWorld) -> None:
    source = labelled_news(world)
    world.add(world.collections.get("news"), {"x": "nothing in particular"}, {"topic": []})
    world.service.put("topic", TrainRequest(source=source))
    world.work()
    problems = world.service.report("topic")["problems"]
    assert any("1 documents have an empty list in 'topic'; they were left out" in one for one in problems)


def test_where_all_documents_contradict_one_another_the_training_says_so(world: ClassifierWorld) -> None:
    news = world.collection()
    world.add(news, {"a": "same text"}, {"topic": "x"})
    world.add(news, {"b": "same text"}, {"topic": "y"})
    job = world.service.put("topic", TrainRequest(source=CollectionSource("news", "topic")))
    world.work()
    assert "1 texts stand in several documents with different labels" in world.errors(job.id)
