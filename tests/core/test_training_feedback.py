"""Examples that come while a classifier is trained are learned: by that training, next, or at a sweep."""

from __future__ import annotations

import pytest

from core.classifier_training import CHANGED, ROUNDS, ClassifierTraining
from core.classifier_types import (
    Examples,
    Head,
    LabelledText,
    TrainedHead,
    TrainingOptions,
    TrainRequest,
    VersionOrigin,
)
from core.errors import InvalidInput
from core.job_types import JobState
from storage.database import Database
from tests.core.centroid_heads import CentroidHeads
from tests.core.classifier_world import MOODS, ClassifierWorld


@pytest.fixture
def world(database: Database) -> ClassifierWorld:
    return ClassifierWorld(database)


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


@pytest.mark.parametrize(("before", "during", "after"), [(2, 1, 1), (1, None, 3), (1, 2, 3), (2, None, 3)])
def test_a_version_that_is_activated_during_a_training_stands(
    world: ClassifierWorld, before: int, during: int | None, after: int
) -> None:
    world.train()
    world.service.change_examples("topic", [RAIN])
    world.service.activate("topic", before)

    def tell(step: int) -> None:
        if step == 1 and during is not None:
            teller.service.activate("topic", during)

    teller = ClassifierWorld(world.database, CentroidHeads(tell))
    assert teller.train().state is JobState.SUCCEEDED
    assert [version.number for version in teller.service.versions("topic")] == [3, 2, 1]
    assert teller.service.get("topic").active == after
    assert teller.service.classify("topic", ["rain"]).version == after


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
