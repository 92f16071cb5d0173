"""Training: a job that ends in a new active version, or leaves the one that serves as it was."""

from __future__ import annotations

import pytest

from core import long_jobs
from core.classifier_types import (
    CollectionSource,
    LabelledText,
    TrainingOptions,
    TrainRequest,
    VersionOrigin,
)
from core.errors import Conflict, EncoderMismatch, InvalidInput, NotFound, Unavailable
from core.example_checks import ClassifierLimits
from core.job_types import JobKind, JobState, Task, TaskKind
from core.long_jobs import MAX_TRIES
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

    failing = ClassifierWorld(world.database, CentroidHeads(fail))
    job = failing.service.put("topic", TrainRequest(tuple(MOODS)))
    for _ in range(MAX_TRIES - 1):  # it may have been the moment, not the training
        with pytest.raises(ValueError, match="singular"):
            failing.service.training.run(job.id)
        assert world.jobs.get(job.id).state is JobState.RUNNING
    failing.service.training.run(job.id)
    assert world.jobs.get(job.id).state is JobState.FAILED
    assert world.errors(job.id) == "given up after 3 attempts: ValueError: the matrix is singular"
    assert world.label("they won the match") == "sports"


def test_a_stopping_process_leaves_the_training_to_the_next(world: ClassifierWorld) -> None:
    job = world.service.put("topic", TrainRequest(tuple(MOODS)))
    world.is_stopping = True
    with pytest.raises(Unavailable, match="stops"):
        world.work()
    world.is_stopping = False
    world.service.training.run(job.id)
    assert world.jobs.get(job.id).state is JobState.SUCCEEDED


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
