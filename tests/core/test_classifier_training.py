"""Training: a job that ends in a new active version, or leaves the one that serves as it was."""

from __future__ import annotations

import pytest

from core import long_jobs
from core.classifier_training import CHANGED, ROUNDS, ClassifierTraining
from core.classifier_types import (
    CollectionSource,
    Examples,
    Head,
    LabelledText,
    TrainedHead,
    TrainingOptions,
    TrainRequest,
    VersionOrigin,
)
from core.errors import Conflict, EncoderMismatch, InvalidInput, NotFound, Unavailable
from core.example_checks import ClassifierLimits
from core.job_types import JobKind, JobState, Task, TaskKind
from core.types import EncoderInfo
from storage.batches import SqlBatchStore
from storage.database import Database
from tests.core.centroid_heads import CentroidHeads
from tests.core.classifier_world import MONEY, MOODS, SPORTS, ClassifierWorld
from tests.fakes import DIM, FakeEncoder

OTHER = EncoderInfo("other", "e" * 64, DIM, 256)


@pytest.fixture
def world(database: Database) -> ClassifierWorld:
    return ClassifierWorld(database)


def errors(world: ClassifierWorld, job_id: str) -> str:
    return "; ".join(error.reason for error in world.jobs.get(job_id).errors)


def test_a_training_makes_a_version_that_serves(world: ClassifierWorld) -> None:
    job = world.train()
    assert (job.kind, job.state, job.total, job.done) == (JobKind.TRAIN, JobState.SUCCEEDED, 6, 6)
    (version,) = world.service.versions("topic")
    assert (version.number, version.origin, version.examples) == (1, VersionOrigin.TRAINING, 6)
    assert (version.labels, version.encoder) == (("money", "sports"), world.encoder.info)
    assert world.service.get("topic").active == 1
    assert world.label("they won the match") == "sports"
    assert world.label("the bank wants its loan") == "money"
    assert world.meter.versions == 1
    assert world.service.report("topic")["accuracy"] == 1.0
    assert world.service.plot("topic", None, "confusion") == b"PNG of 1.0"


def test_a_training_accepted_is_found_again_after_a_restart(world: ClassifierWorld) -> None:
    job = world.service.put("topic", TrainRequest(tuple(MOODS)), "r1")
    assert world.queue.tasks == [Task(TaskKind.TRAIN, job.id)] == SqlBatchStore(world.database).unfinished()
    assert job.details["request_id"] == "r1"
    world.work()
    world.service.training.run(job.id)  # a task may be delivered twice
    assert len(world.service.versions("topic")) == 1
    world.service.training.run("gone")


def test_texts_are_encoded_once_and_kept(world: ClassifierWorld) -> None:
    world.train()
    world.train(examples=[*MOODS, LabelledText("rain and sun", ("weather",))])
    assert sorted(world.encoder.encoded) == sorted([*SPORTS, *MONEY, "rain and sun"])
    again = ClassifierWorld(world.database)
    again.service.put("topic", TrainRequest())
    again.work()
    assert again.encoder.encoded == []
    assert [version.number for version in again.service.versions("topic")] == [3, 2, 1]


def test_a_second_training_of_the_same_name_is_refused_and_names_the_first(world: ClassifierWorld) -> None:
    job = world.service.put("topic", TrainRequest(tuple(MOODS)))
    with pytest.raises(Conflict, match=job.id):
        world.service.put("topic", TrainRequest(tuple(MOODS)))
    world.service.put("other", TrainRequest(tuple(MOODS)))


@pytest.mark.parametrize("step", [0, 2])
def test_a_cancelled_training_leaves_what_serves(
    world: ClassifierWorld, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    monkeypatch.setattr(long_jobs, "ADVANCE_EVERY_S", 0.0)
    world.train()
    steps = []

    def cancel(at: int) -> None:
        steps.append(at)
        if at == step:
            world.jobs.cancel(world.service.get("topic").job_id or "")

    canceller = ClassifierWorld(world.database, CentroidHeads(cancel))
    job = canceller.train(examples=[LabelledText(one.text, (one.labels[0].upper(),)) for one in MOODS])
    assert (job.state, steps[-1]) == (JobState.CANCELLED, step)
    assert [version.number for version in canceller.service.versions("topic")] == [1]
    assert canceller.label("they won the match") == "sports"
    assert world.train().state is JobState.SUCCEEDED, "the name is free again"


def test_a_training_cancelled_between_two_looks_makes_no_version(world: ClassifierWorld) -> None:
    def cancel(step: int) -> None:
        if step == 0:
            world.jobs.cancel(world.service.get("topic").job_id or "")

    canceller = ClassifierWorld(world.database, CentroidHeads(cancel))
    assert canceller.train().state is JobState.CANCELLED
    assert canceller.service.versions("topic") == []


def test_a_failed_training_says_why_and_leaves_what_serves(world: ClassifierWorld) -> None:
    world.train()

    def fail(step: int) -> None:
        raise ValueError("the matrix is singular")

    job = ClassifierWorld(world.database, CentroidHeads(fail)).train()
    assert job.state is JobState.FAILED
    assert errors(world, job.id) == "ValueError: the matrix is singular"
    assert world.label("they won the match") == "sports"


def test_a_stopping_process_leaves_the_training_to_the_next(world: ClassifierWorld) -> None:
    job = world.service.put("topic", TrainRequest(tuple(MOODS)))
    world.is_stopping = True
    with pytest.raises(Unavailable, match="stops"):
        world.work()
    world.is_stopping = False
    world.service.training.run(job.id)
    assert world.jobs.get(job.id).state is JobState.SUCCEEDED


def test_feedback_that_comes_during_a_training_is_taken_in_at_its_end(world: ClassifierWorld) -> None:
    world.train()

    def tell(step: int) -> None:
        if step == 1:
            told = teller.service.change_examples("topic", [LabelledText("rain and sun", ("weather",))], [])
            assert told.version is None
            assert told.job is not None
            assert told.job.id == teller.service.get("topic").job_id

    teller = ClassifierWorld(world.database, CentroidHeads(tell))
    assert teller.train().state is JobState.SUCCEEDED
    newest = teller.service.versions("topic")[0]
    assert (newest.number, newest.origin, newest.examples) == (2, VersionOrigin.TRAINING, 7)
    assert teller.label("sun after rain") == "weather"
    assert teller.service.report("topic")["problems"] == [CHANGED]


def test_when_a_training_says_that_it_succeeded_its_version_has_all_that_came(
    world: ClassifierWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    def tell(step: int) -> None:
        if step == 1:
            teller.service.change_examples("topic", [LabelledText("rain and sun", ("weather",))], [])

    teller = ClassifierWorld(world.database, CentroidHeads(tell))
    monkeypatch.setattr(ClassifierTraining, "catch_up", lambda self, name: None)  # nothing follows the end
    assert teller.train().done == 7
    assert teller.service.versions("topic")[0].labels == ("money", "sports", "weather")


def test_feedback_with_several_labels_during_a_training_on_one_has_it_trained_anew(
    world: ClassifierWorld,
) -> None:
    steps = []

    def tell(step: int) -> None:
        steps.append(step)
        if len(steps) == 1:
            several = LabelledText("a match at the bank", ("money", "sports"))
            teller.service.change_examples("topic", [several], [])

    teller = ClassifierWorld(world.database, CentroidHeads(tell))
    assert teller.train().state is JobState.SUCCEEDED
    (version,) = teller.service.versions("topic")
    assert (version.is_multi, version.examples, steps) == (True, 7, [0, 1, 2, 3] * 2)


def test_a_training_ends_though_feedback_never_does(world: ClassifierWorld) -> None:
    class Busy(CentroidHeads):
        """Examples come whenever a head is fitted, for long."""

        came = 0

        def refit(self, head: Head, examples: Examples, options: TrainingOptions) -> TrainedHead:
            self.tell(0)
            return super().refit(head, examples, options)

        def tell(self, step: int) -> None:
            if step == 0 and self.came < 2 * ROUNDS:
                self.came += 1
                more = LabelledText(f"rain number {self.came}", ("weather",))
                teller.store.change_examples(teller.service.get("topic").id, [more], [])

    heads = Busy()
    heads.during = heads.tell
    teller = ClassifierWorld(world.database, heads)
    assert teller.train().state is JobState.SUCCEEDED
    assert teller.service.versions("topic")[0].examples == 6 + 2 * ROUNDS, "the rest followed"


RAIN = LabelledText("rain and sun", ("weather",))


def test_feedback_of_a_training_that_is_cancelled_is_learned_next(world: ClassifierWorld) -> None:
    world.train()

    def tell(step: int) -> None:
        if step == 1:
            told = teller.service.change_examples("topic", [RAIN], [])
            assert told.job is not None
            teller.jobs.cancel(told.job.id)

    teller = ClassifierWorld(world.database, CentroidHeads(tell))
    job = teller.service.put("topic", TrainRequest())
    teller.work()
    assert teller.jobs.get(job.id).state is JobState.CANCELLED
    newest = teller.service.versions("topic")[0]
    assert (newest.number, newest.origin, newest.examples) == (2, VersionOrigin.FEEDBACK, 7)
    assert teller.label("sun after rain") == "weather"


def test_feedback_that_a_killed_process_left_is_learned_at_the_next_sweep(world: ClassifierWorld) -> None:
    world.train()
    job = world.service.put("topic", TrainRequest())
    assert world.service.change_examples("topic", [RAIN], []).job is not None
    world.jobs.cancel(job.id)  # and the process died before its next step
    other = ClassifierWorld(world.database)
    other.service.training.catch_up_all()
    assert other.label("sun after rain") == "weather"
    other.service.training.catch_up_all()
    assert len(other.service.versions("topic")) == 2


def test_what_was_rolled_back_is_not_brought_back_by_a_sweep(world: ClassifierWorld) -> None:
    world.train()
    world.service.change_examples("topic", [RAIN])
    world.service.activate("topic", 1)
    world.service.training.catch_up_all()
    assert world.service.get("topic").active == 1
    assert len(world.service.versions("topic")) == 2


def test_examples_of_a_training_that_came_to_nothing_are_not_learned_by_a_sweep(
    world: ClassifierWorld,
) -> None:
    world.train()
    job = world.service.put("topic", TrainRequest((*MOODS, RAIN)))
    world.jobs.cancel(job.id)
    world.work()
    world.service.training.catch_up_all()
    assert [version.number for version in world.service.versions("topic")] == [1]


def test_a_classifier_is_looked_at_once_after_each_change(
    world: ClassifierWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.train()
    job = world.service.put("topic", TrainRequest())
    world.jobs.cancel(job.id)
    world.work()
    assert [one.name for one in world.store.behind()] == ["topic"], "the database alone cannot tell"
    monkeypatch.setattr(world.store, "examples", pytest.fail)
    world.service.training.catch_up_all()
    assert len(world.service.versions("topic")) == 1


def test_a_sweep_that_cannot_learn_says_why_and_goes_on(
    world: ClassifierWorld, caplog: pytest.LogCaptureFixture
) -> None:
    world.train("topic"), world.train("other")
    for name in ("topic", "other"):
        job = world.service.put(name, TrainRequest())
        world.service.change_examples(name, [RAIN], [])
        world.jobs.cancel(job.id)
    world.store.change_examples(world.service.get("topic").id, [LabelledText("x", ("a", "b"))], [])

    class Choosy(CentroidHeads):
        def refit(self, head: Head, examples: Examples, options: TrainingOptions) -> TrainedHead:
            if (examples.truth.sum(axis=1) != 1).any():
                raise InvalidInput("Some examples have several labels.")
            return super().refit(head, examples, options)

    sweeper = ClassifierWorld(world.database, Choosy())
    sweeper.service.training.catch_up_all()
    assert "feedback not taken in; the version before serves" in caplog.text
    assert (sweeper.service.get("topic").active, sweeper.service.get("other").active) == (1, 2)


def labelled_news(world: ClassifierWorld) -> CollectionSource:
    news = world.collection()
    world.add(news, {text: text for text in SPORTS}, {"topic": "games"})
    world.add(news, {text: text for text in MONEY}, {"topic": "economy", "lang": "en"})
    return CollectionSource("news", "topic")


def texts(world: ClassifierWorld) -> dict[str, str]:
    return {example.text: example.labels[0] for example in world.service.examples("topic")}


@pytest.mark.parametrize("field", ["lang", "never"])
def test_a_training_from_a_collection_that_fails_leaves_the_examples(
    world: ClassifierWorld, field: str
) -> None:
    labelled_news(world)
    world.train(examples=[*MOODS, LabelledText("rain and sun", ("weather",))])
    before = texts(world)
    job = world.service.put("topic", TrainRequest(source=CollectionSource("news", field)))
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
    assert "a label in metadata field 'topic' has 513 bytes; the limit is 512" in errors(world, job.id)


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
    assert "2 documents repeat" in repeated


def test_a_collection_without_labels_fails_the_training_saying_so(world: ClassifierWorld) -> None:
    world.add(world.collection(), {"a": "some text"})
    job = world.service.put("topic", TrainRequest(source=CollectionSource("news", "topic")))
    world.work()
    assert "has a label in metadata field 'topic'" in errors(world, job.id)
    with pytest.raises(NotFound):
        world.service.put("topic", TrainRequest(source=CollectionSource("gone", "topic")))


def test_labels_that_a_classifier_wrote_are_not_trained_on_which_is_told(world: ClassifierWorld) -> None:
    news = world.collection()
    world.add(news, {"a": SPORTS[0], "b": MONEY[0]})
    world.train()
    world.service.label_collection("news", "topic", "kind")
    world.work()
    job = world.service.put("other", TrainRequest(source=CollectionSource("news", "kind")))
    world.work()
    assert "field 'kind' was written by a classifier" in errors(world, job.id)


def test_labels_that_no_example_has_are_told(world: ClassifierWorld) -> None:
    descriptions = {"sports": "games", "weather": ""}
    world.service.put("topic", TrainRequest(tuple(MOODS), descriptions))
    world.work()
    assert world.service.report("topic")["problems"] == [
        "1 labels have no example and are never given: 'weather'."
    ]


def test_a_version_of_another_encoder_is_refused_saying_what_to_do(world: ClassifierWorld) -> None:
    world.train()
    other = ClassifierWorld(world.database, encoder=FakeEncoder(info=OTHER))
    with pytest.raises(EncoderMismatch, match=r"fake.*runs other.*train the classifier again, or start"):
        other.label("they won the match")
    other.train()
    assert other.label("they won the match") == "sports"
    assert len(other.encoder.encoded) == 7, "all are encoded anew, and the text"


def test_stored_vectors_of_another_encoder_are_not_taken_for_our_own(world: ClassifierWorld) -> None:
    world.train()
    ClassifierWorld(world.database, encoder=FakeEncoder(info=OTHER)).train()
    fresh = ClassifierWorld(world.database)
    fresh.service.activate("topic", 1)
    assert fresh.service.classify("topic", ["they won the match"], True).predictions[0].evidence
    assert len(fresh.encoder.encoded) == 7


def some(count: int, labels: int = 2) -> list[LabelledText]:
    return [LabelledText(f"text {i}", (f"label {i % labels}",)) for i in range(count)]


@pytest.mark.parametrize(
    ("examples", "options", "told"),
    [
        ([], TrainingOptions(), "There are no examples; a classifier needs examples of at least two labels"),
        (
            some(1),
            TrainingOptions(),
            "There is one example; a classifier needs examples of at least two labels",
        ),
        (some(5, labels=1), TrainingOptions(), "All 5 examples have the same label"),
        (some(11), TrainingOptions(), "11 examples were sent; a classifier takes at most 10"),
        (some(9, labels=6), TrainingOptions(), "6 different labels; a classifier takes at most 5"),
        ([*some(2), LabelledText(" \n", ("a",))], TrainingOptions(), r"examples\[2\].text is empty"),
        ([*some(2), LabelledText("x" * 101, ("a",))], TrainingOptions(), "has 101 bytes; the limit is 100"),
        ([*some(2), LabelledText("a\0b", ("a",))], TrainingOptions(), "NUL character"),
        ([*some(2), LabelledText("x", (" ",))], TrainingOptions(), r"a label of examples\[2\] is empty"),
        ([*some(2), LabelledText("x", ())], TrainingOptions(), r"examples\[2\] has no label"),
        (
            [*some(2), LabelledText("x", ("a", "b"))],
            TrainingOptions(multi_label=False),
            r"examples\[2\] has 2 labels, but multi_label is false",
        ),
        ([*some(2), LabelledText("text 0", ("label 1",))], TrainingOptions(), "with different labels"),
    ],
)
def test_what_cannot_be_trained_on_is_refused_at_once(
    database: Database, examples: list[LabelledText], options: TrainingOptions, told: str
) -> None:
    world = ClassifierWorld(
        database, limits=ClassifierLimits(max_examples=10, max_labels=5, max_text_bytes=100)
    )
    with pytest.raises(InvalidInput, match=told):
        world.service.put("topic", TrainRequest(tuple(examples), options=options))
    with pytest.raises(NotFound):
        world.service.get("topic")


def test_a_training_on_nothing_is_refused_at_once(world: ClassifierWorld) -> None:
    with pytest.raises(InvalidInput, match="no stored examples"):
        world.service.put("topic", TrainRequest())
    with pytest.raises(InvalidInput, match="train on one of them"):
        world.service.put("topic", TrainRequest(tuple(MOODS), source=CollectionSource("news", "topic")))
    with pytest.raises(InvalidInput, match="Classifier name"):
        world.service.put("no name", TrainRequest(tuple(MOODS)))


def test_examples_may_have_several_labels_or_none(world: ClassifierWorld) -> None:
    examples = [
        LabelledText("red wine", ("red", "wine")),
        LabelledText("red car", ("red",)),
        LabelledText("white wine", ("wine",)),
        LabelledText("grey stone", ()),
    ]
    world.train(examples=examples, multi_label=True)
    (prediction,) = world.service.classify("topic", ["red wine"]).predictions
    assert prediction.labels == ("red", "wine")
    assert world.service.classify("topic", ["grey stone"]).predictions[0].labels == ()
