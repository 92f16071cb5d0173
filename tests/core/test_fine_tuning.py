"""Tuning of the encoder: kept where it helps on texts that it did not see, told of in the report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest

from core import long_jobs
from core.classifier_types import LabelledText, Labelling
from core.errors import Conflict, Unavailable
from core.example_memory import ExampleMemory, KnownExamples, Space
from core.job_types import JobState
from core.ports.classifiers import Arrays, Going
from core.types import Float32, Lane, PassageText
from storage.database import Database
from tests.core.classifier_world import ClassifierWorld
from tests.fakes import FAKE_INFO, FakeEncoder, word_vector

FRUIT = ("apple", "pear", "plum", "cherry", "grape", "lemon", "fig", "peach", "melon")
WHEELS = ("car", "bus", "train", "tram", "bike", "truck", "van", "taxi", "coach")
EXAMPLES = [LabelledText(f"a {word}", ("fruit",)) for word in FRUIT] + [
    LabelledText(f"a {word}", ("wheels",)) for word in WHEELS
]


class ConceptEncoder(FakeEncoder):
    """Knows what the words mean, so that labels of unseen ones can be told."""

    def encode_passages(self, passages: Sequence[PassageText], lane: Lane = Lane.BULK) -> Float32:
        def concept(text: str) -> str:
            words = set(text.split())
            return "fruit" if words & set(FRUIT) else "wheels" if words & set(WHEELS) else text

        return np.stack([word_vector(concept(passage.text)) for passage in passages])


@dataclass
class SmallTuner:
    """Gives `gain` as adapters; with it the encoder knows concepts, without it is as it was.

    After `good` times it raises `error`.
    """

    gain: float
    error: Exception | None = None
    good: int = 0
    tuned: list[int] = field(default_factory=list)

    def tune(self, texts: Sequence[str], truth: Any, seed: int, going: Going) -> Arrays:
        if self.error is not None and len(self.tuned) == self.good:
            raise self.error
        assert truth.shape == (len(texts), 2)
        self.tuned.append(len(texts))
        going(0.5)
        return {"gain": np.array([self.gain], np.float32)}

    def encoder(self, adapters: Arrays) -> FakeEncoder:
        gain = float(adapters["gain"][0])
        info = replace(FAKE_INFO, fingerprint=f"{gain}".rjust(64, "a"))
        return ConceptEncoder(info=info) if gain else FakeEncoder(info=info)


def world_of(database: Database, tuner: SmallTuner | None) -> ClassifierWorld:
    world = ClassifierWorld(database, tuner=tuner)
    assert world.train(examples=EXAMPLES, fine_tune=True).state is JobState.SUCCEEDED
    return world


def test_tuning_that_helps_unseen_texts_is_kept_and_serves(database: Database) -> None:
    tuner = SmallTuner(1.0)
    world = world_of(database, tuner)
    told = world.service.report("topic")["tuning"]
    assert told["kept"]
    assert told["score_after"] == 1.0 > told["score_before"] + told["standard_error"]
    assert tuner.tuned == [12, 12, 12, 18], "on two of three folds each, then on all"
    (version,) = world.service.versions("topic")
    assert version.is_tuned
    assert version.encoder == FAKE_INFO, "adapters belong to the encoder of the service"
    assert world.label("one plum and one fig") == "fruit"


def test_tuning_that_does_not_help_is_dropped(database: Database) -> None:
    world = world_of(database, SmallTuner(0.0))
    told = world.service.report("topic")["tuning"]
    assert not told["kept"]
    assert told["score_after"] == told["score_before"]
    assert not world.service.versions("topic")[0].is_tuned


def test_twins_of_what_is_left_out_are_not_tuned_on(database: Database) -> None:
    class Telling(SmallTuner):
        def tune(self, texts: Sequence[str], truth: Any, seed: int, going: Going) -> Arrays:
            of_each = Counter(text.casefold() for text in texts)
            assert set(of_each.values()) == {2}, "both or none of each pair"
            return super().tune(texts, truth, seed, going)

    tuner = Telling(1.0)
    world = ClassifierWorld(database, tuner=tuner)
    twins = [LabelledText(example.text.upper(), example.labels) for example in EXAMPLES]
    assert world.train(examples=EXAMPLES + twins, fine_tune=True).state is JobState.SUCCEEDED
    assert tuner.tuned[:3] == [24, 24, 24]


@pytest.mark.parametrize(
    ("tuner", "reason"),
    [
        (SmallTuner(1.0, Unavailable("torch is not installed")), "torch is not installed"),
        (SmallTuner(1.0, Unavailable("Tuning the encoder failed: x"), good=1), "Tuning the encoder failed"),
        (SmallTuner(1.0, Unavailable("ended by signal 9"), good=3), "ended by signal 9"),
        (None, "cannot tune"),
    ],
)
def test_without_tuning_the_plain_head_is_trained_and_the_report_says_so(
    database: Database, tuner: SmallTuner | None, reason: str
) -> None:
    told = world_of(database, tuner).service.report("topic")["tuning"]
    assert not told["kept"]
    assert reason in told["reason"]


@pytest.mark.parametrize("good", [0, 3])
def test_a_training_cancelled_while_tuning_makes_no_version(
    database: Database, monkeypatch: pytest.MonkeyPatch, good: int
) -> None:
    monkeypatch.setattr(long_jobs, "ADVANCE_EVERY_S", 0.0)

    class CancellingTuner(SmallTuner):
        def tune(self, texts: Sequence[str], truth: Any, seed: int, going: Going) -> Arrays:
            if len(self.tuned) == good:
                world.jobs.cancel(world.service.get("topic").job_id or "")
            return super().tune(texts, truth, seed, going)

    world = ClassifierWorld(database, tuner=CancellingTuner(1.0))
    assert world.train(examples=EXAMPLES, fine_tune=True).state is JobState.CANCELLED
    assert world.service.versions("topic") == []


def test_too_few_examples_are_not_tuned_on(database: Database) -> None:
    tuner = SmallTuner(1.0)
    world = ClassifierWorld(database, tuner=tuner)
    world.train(examples=EXAMPLES[7:11], fine_tune=True)
    assert "too few" in world.service.report("topic")["tuning"]["reason"]
    assert tuner.tuned == []


def test_feedback_during_a_training_that_tunes_is_fitted_with_its_adapters(database: Database) -> None:
    class Telling(SmallTuner):
        """An example of a new label comes while the encoder is tuned on all."""

        def tune(self, texts: Sequence[str], truth: Any, seed: int, going: Going) -> Arrays:
            if len(self.tuned) == 3:
                world.service.change_examples("topic", [LabelledText("a storm", ("weather",))])
            return super().tune(texts, truth, seed, going)

    tuner = Telling(1.0)
    world = ClassifierWorld(database, tuner=tuner)
    assert world.train(examples=EXAMPLES, fine_tune=True).done == 19
    assert tuner.tuned == [12, 12, 12, 18], "it is not tuned again"
    (version,) = world.service.versions("topic")
    assert (version.is_tuned, version.labels) == (True, ("fruit", "weather", "wheels"))
    assert world.label("one plum and one fig") == "fruit"
    assert world.label("a storm") == "weather"
    assert world.service.report("topic")["tuning"]["kept"]


def test_feedback_on_a_tuned_version_keeps_its_adapters(database: Database) -> None:
    tuner = SmallTuner(1.0)
    world = world_of(database, tuner)
    told = world.service.change_examples("topic", [LabelledText("rain and sun", ("weather",))])
    assert told.version is not None
    assert told.version.is_tuned
    assert len(tuner.tuned) == 4
    assert world.label("rain") == "weather"
    assert world.label("one plum") == "fruit"
    evidence = world.service.classify("topic", ["a fig"], evidence=True).predictions[0].evidence
    assert evidence is not None
    assert evidence.neighbours[0].labels == ("fruit",)
    assert world.service.compare("topic", 1, 2)["predictions"]["differing"] == 1


def test_examples_that_come_and_go_while_versions_are_compared_are_left_out(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = world_of(database, SmallTuner(1.0))
    world.train(examples=[*EXAMPLES, LabelledText("one plum", ("wheels",))])
    load = ExampleMemory.load

    def load_and_change(memory: ExampleMemory, space: Space) -> KnownExamples:
        known = load(memory, space)
        added = [LabelledText("a tomato", ("fruit",))]
        world.store.change_examples(space.classifier_id, added, [EXAMPLES[0].text])
        return known

    monkeypatch.setattr(ExampleMemory, "load", load_and_change)
    told = world.service.compare("topic", 1, 2)["predictions"]
    assert told["examples"] == 18
    # Of the others some are ties, which fall by the last bit.
    assert told["shown"][-1] == {"text": "one plum", "first": ["fruit"], "second": ["wheels"]}


def test_a_tuned_version_cannot_label_stored_vectors(database: Database) -> None:
    world = world_of(database, SmallTuner(1.0))
    news = world.collection()
    world.add(news, {"a": "a plum"})
    with pytest.raises(Conflict, match="activate a version without fine_tune"):
        world.service.label_collection("news", Labelling("topic", "topic"))
    with pytest.raises(Conflict, match="activate a version without fine_tune"):
        world.service.suggest("topic", "news", 1)
    with pytest.raises(Conflict, match="which this process cannot"):
        ClassifierWorld(database).label("one plum")
