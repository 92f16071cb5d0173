"""Feedback and versions: a change serves when the call returns, and what was can be had back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import pytest
from sqlalchemy import update

from core.classifier_feedback import AT_ONCE
from core.classifier_types import (
    ExampleChanges,
    Examples,
    Head,
    LabelledText,
    TrainedHead,
    TrainingOptions,
    TrainRequest,
    VersionOrigin,
)
from core.errors import Conflict, EncoderMismatch, InvalidInput, NotFound
from core.example_checks import ClassifierLimits
from core.job_types import JobState
from core.types import EncoderInfo
from storage.database import Database
from storage.schema import Classifiers
from tests.core.centroid_heads import CentroidHeads
from tests.core.classifier_world import MONEY, MOODS, SPORTS, ClassifierWorld
from tests.fakes import DIM, FakeEncoder

Change = tuple[list[LabelledText], Sequence[str]]

RAIN = LabelledText("rain and sun", ("weather",))
SNOW, HAIL, FOG = (LabelledText(text, ("weather",)) for text in ("snow", "hail", "fog"))
NEW, NEWER = LabelledText("a new film", ("film",)), LabelledText("a newer song", ("song",))


@pytest.fixture
def world(database: Database) -> ClassifierWorld:
    world = ClassifierWorld(database)
    world.train()
    world.encoder.encoded.clear()
    return world


def test_an_added_example_serves_at_once_and_costs_one_encoding(world: ClassifierWorld) -> None:
    told = world.service.change_examples("topic", [RAIN])
    assert (told.changes.added, told.changes.corrected, told.changes.removed) == (1, 0, 0)
    assert told.version is not None
    assert (told.version.number, told.version.origin, told.version.examples) == (2, VersionOrigin.FEEDBACK, 7)
    assert world.encoder.encoded == ["rain and sun"]
    assert world.label("sun after rain") == "weather"
    assert world.meter.refits == 1


def test_another_process_encodes_the_new_text_alone(world: ClassifierWorld) -> None:
    other = ClassifierWorld(world.database)
    other.service.change_examples("topic", [RAIN])
    assert other.encoder.encoded == ["rain and sun"]


def test_a_corrected_example_is_learned_without_encoding(world: ClassifierWorld) -> None:
    told = world.service.change_examples("topic", [LabelledText(SPORTS[0], ("money",))])
    assert (told.changes.added, told.changes.corrected) == (0, 1)
    assert world.encoder.encoded == []
    stored = {example.text: example.labels for example in world.service.examples("topic")}
    assert stored[SPORTS[0]] == ("money",)


def test_what_changes_nothing_makes_no_version(world: ClassifierWorld) -> None:
    told = world.service.change_examples("topic", MOODS, ["never there"])
    assert (told.changes.unchanged, told.changes.removed) == (6, 0)
    assert told.version is not None
    assert told.version.number == 1
    assert len(world.service.versions("topic")) == 1


def test_what_changes_nothing_after_a_rollback_makes_no_version(world: ClassifierWorld) -> None:
    world.service.change_examples("topic", [RAIN])
    world.service.activate("topic", 1)
    told = world.service.change_examples("topic", [RAIN, *MOODS], ["never there"])
    assert told.version is not None
    assert told.version.number == 1
    assert len(world.service.versions("topic")) == 2


def test_what_was_stored_but_not_fitted_is_taken_in_when_sent_again(world: ClassifierWorld) -> None:
    world.store.change_examples(world.service.get("topic").id, [RAIN], [])  # and the process died
    told = world.service.change_examples("topic", [RAIN])
    assert (told.changes.unchanged, told.version and told.version.number) == (1, 2)
    assert world.label("sun after rain") == "weather"


@dataclass
class HeadsMeanwhile(CentroidHeads):
    """While a head is fitted again, something happens, once."""

    happens: list[Callable[[], object]] = field(default_factory=list)

    def refit(self, head: Head, examples: Examples, options: TrainingOptions) -> TrainedHead:
        if self.happens:
            self.happens.pop()()
        return super().refit(head, examples, options)


def test_a_rollback_while_the_head_is_fitted_again_stands(database: Database) -> None:
    heads = HeadsMeanwhile()
    world = ClassifierWorld(database, heads=heads)
    world.train()
    world.service.change_examples("topic", [RAIN])
    heads.happens.append(lambda: world.service.activate("topic", 1))
    told = world.service.change_examples("topic", [LabelledText("snow", ("weather",))])
    assert told.version is not None
    assert (told.changes.added, told.version.number) == (1, 1)
    assert world.service.get("topic").active == 1
    assert [version.number for version in world.service.versions("topic")] == [2, 1]
    again = world.service.change_examples("topic", [LabelledText("hail", ("weather",))])
    assert again.version is not None
    assert (again.version.number, again.version.examples) == (3, 9)


def test_what_was_fitted_while_a_training_ended_is_fitted_to_its_head(database: Database) -> None:
    heads = HeadsMeanwhile()
    world = ClassifierWorld(database, heads=heads)
    world.train()

    def train_elsewhere() -> None:
        ClassifierWorld(database).train(examples=[*MOODS, RAIN])

    heads.happens.append(train_elsewhere)
    told = world.service.change_examples("topic", [RAIN])
    assert told.version is None or told.version.origin is VersionOrigin.TRAINING
    assert [version.origin for version in world.service.versions("topic")] == [VersionOrigin.TRAINING] * 2
    assert world.label("sun after rain") == "weather"


def test_a_label_that_differs_by_case_from_another_is_told(world: ClassifierWorld) -> None:
    told = world.service.change_examples("topic", [LabelledText("they lost", (" Sports",))])
    assert told.changes.problems == (
        "The labels ' Sports', 'sports' differ only by case, spaces, hyphens or Unicode spelling; they are"
        " kept apart. If they mean the same, give them one name.",
    )
    assert not world.service.change_examples(
        "topic", [LabelledText(f"{SPORTS[0]} again", ("sports",))]
    ).changes.problems


@pytest.mark.parametrize(
    ("changed", "removed", "told"),
    [
        ([], [], "Nothing was sent"),
        ([], [*SPORTS, "x"], r"have the same label \('money'\)"),
        ([RAIN], [RAIN.text], "both added and removed"),
        ([LabelledText("x", ("a", "b"))], [], "no label|has 2 labels"),
        ([RAIN, LabelledText(RAIN.text, ("sports",))], [], "with different labels"),
        ([LabelledText(f"{i}", ("money",)) for i in range(3)], [], "would have 9 examples; the limit is 8"),
    ],
)
def test_what_cannot_be_taken_in_is_refused_and_not_stored(
    world: ClassifierWorld, changed: list[LabelledText], removed: list[str], told: str
) -> None:
    narrow = ClassifierWorld(world.database, limits=ClassifierLimits(max_examples=8))
    with pytest.raises(InvalidInput, match=told):
        narrow.service.change_examples("topic", changed, removed)
    assert {example.text for example in world.service.examples("topic")} == {*SPORTS, *MONEY}
    assert len(world.service.versions("topic")) == 1


@pytest.mark.parametrize(
    ("first", "second", "limits", "told"),
    [
        (([], SPORTS), ([], MONEY), ClassifierLimits(), r"All 2 examples have the same label \('weather'\)"),
        (
            ([HAIL], []),
            ([FOG], []),
            ClassifierLimits(max_examples=9),
            "would have 10 examples; the limit is 9",
        ),
        (([NEW], []), ([NEWER], []), ClassifierLimits(max_labels=4), "have 5 different labels"),
    ],
)
def test_of_two_changes_that_are_fine_alone_but_not_together_the_second_is_refused(
    world: ClassifierWorld,
    monkeypatch: pytest.MonkeyPatch,
    first: Change,
    second: Change,
    limits: ClassifierLimits,
    told: str,
) -> None:
    world.train(examples=[*MOODS, RAIN, SNOW])
    slow, quick = (ClassifierWorld(world.database, limits=limits) for _ in range(2))
    write, meanwhile = slow.store.change_examples, [lambda: quick.service.change_examples("topic", *first)]

    def write_later(*args: Any) -> ExampleChanges:
        if meanwhile:
            meanwhile.pop()()
        return write(*args)

    monkeypatch.setattr(slow.store, "change_examples", write_later)
    with pytest.raises(InvalidInput, match=told):
        slow.service.change_examples("topic", *second)
    stored = {example.text for example in world.service.examples("topic")}
    kept = {*SPORTS, *MONEY, RAIN.text, SNOW.text} - {*first[1]}
    assert stored == kept | {example.text for example in first[0]}
    assert world.service.versions("topic")[0].examples == len(stored)


def test_a_training_that_is_not_over_takes_the_change_in(world: ClassifierWorld) -> None:
    job = world.service.put("topic", TrainRequest())
    told = world.service.change_examples("topic", [RAIN])
    assert told.version is None
    assert told.job is not None
    assert told.job.id == job.id
    world.work()
    assert world.label("sun after rain") == "weather"


def test_examples_after_a_training_that_failed_start_another(database: Database) -> None:
    world = ClassifierWorld(database)
    job = world.service.put("topic", TrainRequest(tuple(MOODS)))
    world.jobs.cancel(job.id)
    told = world.service.change_examples("topic", [RAIN])
    assert told.job is not None
    assert told.job.state is JobState.QUEUED
    world.work()
    assert world.label("sun after rain") == "weather"


def test_many_examples_are_a_training_for_which_nobody_waits(world: ClassifierWorld) -> None:
    many = [LabelledText(f"storm number {i}", ("weather",)) for i in range(AT_ONCE + 1)]
    told = world.service.change_examples("topic", many)
    assert (told.version, told.changes.added) == (None, AT_ONCE + 1)
    assert told.job is not None
    assert world.encoder.encoded == []
    world.work()
    assert world.service.versions("topic")[0].examples == 6 + len(many)
    assert world.label("a storm") == "weather"


def test_changes_that_come_together_all_serve_in_the_end(world: ClassifierWorld) -> None:
    texts = [f"storm number {i}" for i in range(8)]
    with ThreadPoolExecutor(4) as pool:
        list(
            pool.map(
                lambda text: world.service.change_examples("topic", [LabelledText(text, ("weather",))]), texts
            )
        )
    newest = world.service.versions("topic")[0]
    assert newest.examples == 6 + len(texts)
    assert world.service.get("topic").active == newest.number
    assert world.label("a storm") == "weather"


def test_after_rolling_back_predictions_are_what_they_were(world: ClassifierWorld) -> None:
    texts = ["they won the match", "the bank", "sun after rain", "nothing of it"]
    before = world.service.classify("topic", texts).predictions
    world.service.change_examples("topic", [RAIN, LabelledText(SPORTS[0], ("money",))])
    assert world.service.classify("topic", texts).predictions != before
    assert world.service.activate("topic", 1).number == 1
    assert world.service.classify("topic", texts).predictions == before
    assert world.service.classify("topic", texts, number=2).predictions != before
    with pytest.raises(NotFound):
        world.service.activate("topic", 3)


def test_another_process_serves_the_new_version_after_half_a_second(
    world: ClassifierWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("core.active_heads.ASK_EVERY_S", 3600.0)  # no time passes
    other = ClassifierWorld(world.database)
    assert other.service.classify("topic", ["sun"]).version == 1
    world.service.change_examples("topic", [RAIN])
    assert other.service.classify("topic", ["sun"]).version == 1
    monkeypatch.setattr("core.active_heads.ASK_EVERY_S", 0.0)  # as if the time had passed
    assert other.service.classify("topic", ["sun"]).version == 2


def test_versions_are_compared(world: ClassifierWorld) -> None:
    world.service.change_examples("topic", [RAIN])
    compared = world.service.compare("topic", 1, 2)
    assert compared["differences"] == {"accuracy": 0.0}
    assert (compared["labels_only_in_first"], compared["labels_only_in_second"]) == ([], ["weather"])
    assert (compared["predictions"]["examples"], compared["predictions"]["differing"]) == (7, 1)
    (shown,) = compared["predictions"]["shown"]
    assert (shown["text"], shown["second"]) == ("rain and sun", ["weather"])


def test_a_deleted_classifier_is_gone_at_once(world: ClassifierWorld) -> None:
    world.label("they won")
    world.service.delete("topic")
    with pytest.raises(NotFound):
        world.label("they won")
    assert world.service.list() == []
    world.train()
    assert world.label("they won") == "sports"


def test_feedback_with_another_encoder_is_refused_and_not_stored(world: ClassifierWorld) -> None:
    other = ClassifierWorld(
        world.database, encoder=FakeEncoder(info=EncoderInfo("other", "e" * 64, DIM, 256))
    )
    with pytest.raises(EncoderMismatch, match="train the classifier again"):
        other.service.change_examples("topic", [RAIN])
    assert world.service.get("topic").examples == 6


def test_a_classifier_without_a_version_says_where_its_training_is(database: Database) -> None:
    world = ClassifierWorld(database)
    job = world.service.put("topic", TrainRequest(tuple(MOODS)))
    for ask in (lambda: world.label("they won"), lambda: world.service.report("topic")):
        with pytest.raises(Conflict, match=job.id):
            ask()


def test_a_classifier_without_a_version_or_a_training_says_how_to_train_it(world: ClassifierWorld) -> None:
    with world.database.write() as connection:  # as a restored one is
        connection.execute(update(Classifiers).values(active=None, job_id=None))
    world.service.serving.active.forget("topic")
    for ask in (lambda: world.label("they won"), lambda: world.service.report("topic")):
        with pytest.raises(
            Conflict, match=r"no trained version.*its 6 stored examples.*PUT /v1/class"
        ) as told:
            ask()
        assert "None" not in str(told.value)
    for text in [*SPORTS, *MONEY]:
        world.store.change_examples(world.service.get("topic").id, [], [text])
    with pytest.raises(Conflict, match="train it on examples that you send"):
        world.service.report("topic")


def test_examples_left_by_a_cancelled_training_on_several_labels_are_trained_on(
    world: ClassifierWorld,
) -> None:
    several = (*MOODS, LabelledText("a match at the market", (MOODS[0].labels[0], MOODS[-1].labels[0])))
    job = world.service.put("topic", TrainRequest(several, options=TrainingOptions(multi_label=True)))
    world.jobs.cancel(job.id)
    world.queue.tasks.clear()
    feedback = world.service.change_examples("topic", [LabelledText("they won again", MOODS[0].labels)])
    assert feedback.job is not None
    world.work()
    assert world.jobs.get(feedback.job.id).state is JobState.SUCCEEDED
    assert world.service.versions("topic")[0].is_multi
