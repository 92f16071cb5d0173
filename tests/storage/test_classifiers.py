"""Classifiers in the database: examples, versions, one training at a time."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from threading import Barrier
from typing import Any

import numpy as np
import pytest

from core.classifier_types import (
    ByFeedback,
    ByTraining,
    Classifier,
    CollectedExamples,
    CollectionSource,
    EncodedExamples,
    Head,
    HeadKind,
    LabelingRule,
    LabelledText,
    TrainedHead,
    TrainingOptions,
    VersionOrigin,
)
from core.errors import Conflict, ExamplesChanged, NotFound, Overtaken
from core.job_types import JobKind, JobState, Task, TaskKind
from core.types import EncoderInfo, Float32, RejectedItem
from storage import classifier_versions
from storage.arrays import pack, unpack
from tests.storage.world import DIM, ENCODER, World, new, opened

NEWS = CollectionSource("news", "topic")
OPTIONS = TrainingOptions(head=HeadKind.LOGISTIC, multi_label=False, abstain_below=0.4, seed=7)


def examples(**labels: str) -> list[LabelledText]:
    return [LabelledText(text, (label,)) for text, label in labels.items()]


def put(
    world: World,
    name: str = "mood",
    given: Sequence[LabelledText] | None = (),
    encoder: EncoderInfo = ENCODER,
    source: CollectionSource | None = None,
) -> tuple[Classifier, str]:
    return world.classifiers.put(
        name, encoder, OPTIONS, {"good": "liked"}, source, given, {"request_id": "r"}
    )


def end(world: World, job_id: str) -> None:
    world.long_jobs.begin(job_id)
    world.long_jobs.succeed(job_id, 1)


def trained(seed: int = 0, parameters: Mapping[str, Any] | None = None) -> TrainedHead:
    rng = np.random.default_rng(seed)
    arrays = {"weights": rng.standard_normal((2, DIM)).astype(np.float32), "counts": np.array([3, 4])}
    head = Head(HeadKind.LOGISTIC, ("good", "bad"), False, arrays, parameters or {"temperature": 0.1 + 0.2})
    report = {"accuracy": np.float32(0.5), "macro_f1": float("nan"), "confusion": np.eye(2, dtype=int)}
    return TrainedHead(head, {"accuracy": 0.5, "macro_f1": float("nan")}, report)


def train(world: World, seed: int = 0) -> int:
    """Number of the version that a training of its own makes from the stored examples."""
    return add_version(world, put(world, given=None)[0], seed)


def add_version(world: World, classifier: Classifier, seed: int = 0) -> int:
    return world.classifiers.add_version(
        classifier.id, ByTraining(classifier.job_id or ""), trained(seed), ENCODER, "d" * 64, 2
    ).number


def add_collected(
    world: World, classifier: Classifier, job_id: str, found: Sequence[LabelledText], vectors: Float32
) -> None:
    """A version of examples out of a collection."""
    collected = CollectedExamples(NEWS, EncodedExamples(tuple(found), vectors))
    by = ByTraining(job_id, None, collected)
    world.classifiers.add_version(classifier.id, by, trained(), ENCODER, "d" * 64, len(found))


def test_putting_a_classifier_stores_it_and_queues_its_training(world: World) -> None:
    made, job_id = put(world, given=examples(a="good", b="bad"))
    assert (made.name, made.options, made.descriptions) == ("mood", OPTIONS, {"good": "liked"})
    assert (made.encoder, made.source, made.active, made.examples) == (ENCODER, None, None, 2)
    assert made.job_id == job_id
    assert world.classifiers.get("mood") == made
    job = world.jobs.get(job_id)
    assert (job.kind, job.state, job.collection) == (JobKind.TRAIN, JobState.QUEUED, "")
    assert job.details == {"request_id": "r", "classifier": "mood", "examples_sent": True}
    assert world.batches.unfinished() == [Task(TaskKind.TRAIN, job_id)]


def test_where_a_training_gets_its_examples_is_noted_with_the_job_alone(world: World) -> None:
    made, job_id = put(world, given=None, source=NEWS)
    job = world.jobs.get(job_id)
    assert (job.collection, job.details["from_collection"]) == ("news", asdict(NEWS))
    assert (made.source, made.examples) == (None, 0)


def test_classifiers_are_listed_by_name_and_unknown_ones_named(world: World) -> None:
    put(world, "mood"), put(world, "Topic")
    assert [one.name for one in world.classifiers.list()] == ["Topic", "mood"]
    for name in ("gone", "bad\0name", "\ud800"):
        with pytest.raises(NotFound, match="train it first"):
            world.classifiers.get(name)
        with pytest.raises(NotFound):
            world.classifiers.delete(name)


def test_a_second_training_is_refused_until_the_first_is_over(world: World) -> None:
    _, job_id = put(world)
    with pytest.raises(Conflict, match=job_id):
        put(world)
    with pytest.raises(Conflict, match=job_id):
        world.classifiers.delete("mood")
    assert world.jobs.cancel(job_id).state is JobState.CANCELLED
    again, other = put(world)
    assert again.job_id == other != job_id
    world.long_jobs.begin(other)
    world.long_jobs.fail(other, "too few examples")
    assert world.jobs.get(other).errors == (RejectedItem(None, "too few examples"),)
    put(world)


def test_of_trainings_asked_for_at_once_exactly_one_begins(world: World, database_url: str) -> None:
    """Some for a name that is new, some for one that exists; two connections, as two processes have."""
    _, first = put(world, "old")
    end(world, first)
    with opened(database_url) as database:
        others = [world, World(database)] * 4
        together = Barrier(len(others))

        def race(mine: World, name: str) -> str:
            together.wait()
            try:
                return "won " + put(mine, name, examples(a="good"))[1]
            except Conflict as error:
                return str(error)

        for name in ("old", "new"):
            with ThreadPoolExecutor(len(others)) as pool:
                told = list(pool.map(lambda mine, name=name: race(mine, name), others))
            (won,) = [one.removeprefix("won ") for one in told if one.startswith("won ")]
            assert world.classifiers.get(name).job_id == won
            assert all(won in one for one in told)
    assert len(world.batches.unfinished()) == 2


def test_examples_are_replaced_and_those_that_stay_keep_id_and_vector(world: World) -> None:
    made, job_id = put(world, given=examples(a="good", b="bad", c="bad"))
    a, b, c = world.classifiers.examples(made.id)
    assert [one.text for one in (a, b, c)] == ["a", "b", "c"]
    world.classifiers.save_vectors(made.id, {a.id: np.ones(DIM, np.float32), c.id: np.zeros(DIM, np.float32)})
    end(world, job_id)
    put(world, given=[*examples(d="good", c="good", a="good"), LabelledText("c", ("worse",))])
    found = world.classifiers.examples(made.id)
    assert [(one.id, one.text, one.labels, one.is_encoded) for one in found[:2]] == [
        (a.id, "a", ("good",), True),
        (c.id, "c", ("worse",), True),
    ]
    assert [(one.text, one.is_encoded) for one in found[2:]] == [("d", False)]
    vectors = world.classifiers.vectors(made.id)
    assert {id_: vector.tolist() for id_, vector in vectors.items()} == {a.id: [1.0] * DIM, c.id: [0.0] * DIM}
    assert vectors[a.id].dtype == np.float32


def test_none_keeps_the_examples_and_another_encoder_drops_their_vectors(world: World) -> None:
    made, job_id = put(world, given=examples(a="good"))
    (a,) = world.classifiers.examples(made.id)
    world.classifiers.save_vectors(made.id, {a.id: np.ones(DIM, np.float32), 99: np.ones(DIM, np.float32)})
    end(world, job_id)
    _, job_id = put(world, given=None)
    assert list(world.classifiers.vectors(made.id)) == [a.id]
    end(world, job_id)
    changed, _ = put(world, given=None, encoder=EncoderInfo("tiny", "e" * 64, DIM, 64))
    assert (changed.examples, changed.encoder.fingerprint) == (1, "e" * 64)
    assert world.classifiers.vectors(made.id) == {}


def test_feedback_adds_corrects_and_removes(world: World) -> None:
    made, _ = put(world, given=examples(a="good", b="bad", c="bad"))
    world.clock.advance(5)
    changed = [*examples(a="bad", b="bad", d="new"), LabelledText("b", ("bad",))]
    changes = world.classifiers.change_examples(made.id, changed, ["c", "gone", "a"])
    told = (changes.added, changes.corrected, changes.unchanged, changes.removed)
    assert told == (1, 1, 1, 1)
    found = {one.text: one.labels for one in world.classifiers.examples(made.id)}
    assert found == {"a": ("bad",), "b": ("bad",), "d": ("new",)}
    assert world.classifiers.get("mood").updated_at == world.clock.now
    with pytest.raises(NotFound):
        world.classifiers.change_examples(99, changed, [])


def test_examples_come_in_pages(world: World) -> None:
    made, _ = put(world, given=[LabelledText(f"text {i}", ("x", "y")) for i in range(1_203)])
    put(world, "other", examples(z="good"))
    pages, after = [], 0
    while page := world.classifiers.examples(made.id, 500, after):
        pages.append(len(page))
        after = page[-1].id
    assert pages == [500, 500, 203]
    assert world.classifiers.get("mood").examples == 1_203


def test_examples_of_a_collection_come_encoded(world: World) -> None:
    made, job_id = put(world, given=examples(a="good"))
    vectors = np.arange(2 * DIM, dtype=np.float32).reshape(2, DIM)
    add_collected(world, made, job_id, examples(b="x", c="y"), vectors)
    found = world.classifiers.examples(made.id)
    assert [(one.text, one.is_encoded) for one in found] == [("b", True), ("c", True)]
    stored = world.classifiers.vectors(made.id)
    np.testing.assert_array_equal(np.stack([stored[one.id] for one in found]), vectors)
    assert world.classifiers.get("mood").source == NEWS
    again, _ = put(world, given=None)
    assert (again.examples, again.source) == (2, NEWS), "trained again on the same"


def test_a_version_is_not_added_to_examples_that_changed_since_they_were_read(world: World) -> None:
    made, job_id = put(world, given=examples(a="good", b="bad"))
    world.clock.advance(1)
    world.classifiers.change_examples(made.id, examples(c="bad"), [])
    by = ByTraining(job_id, made.updated_at)
    with pytest.raises(ExamplesChanged):
        world.classifiers.add_version(made.id, by, trained(), ENCODER, "d" * 64, 2)
    assert (world.jobs.get(job_id).state, world.classifiers.versions(made.id)) == (JobState.QUEUED, [])
    by = ByTraining(job_id, world.clock.now)
    assert world.classifiers.add_version(made.id, by, trained(), ENCODER, "d" * 64, 3).number == 1


def test_a_training_that_is_over_changes_nothing_more(world: World) -> None:
    made, old = put(world, given=examples(a="good", b="bad"))
    vectors = np.ones((1, DIM), np.float32)
    world.jobs.cancel(old)
    for given in (None, examples(x="good", y="bad")):  # cancelled alone, then made anew as well
        if given is not None:
            put(world, given=given)
        with pytest.raises(Overtaken, match=old):
            add_collected(world, made, old, examples(z="other"), vectors)
        with pytest.raises(Overtaken, match=old):
            add_version(world, made)
    assert [one.text for one in world.classifiers.examples(made.id)] == ["x", "y"]
    assert world.classifiers.versions(made.id) == []


def test_a_head_fitted_from_a_version_that_no_longer_serves_is_not_added(world: World) -> None:
    made, _ = put(world)
    add_version(world, made), train(world)
    world.classifiers.activate(made.id, 1)
    with pytest.raises(Overtaken, match=r"version 1 .* serves now, not 2"):
        world.classifiers.add_version(made.id, ByFeedback(2), trained(), ENCODER, "d" * 64, 2)
    assert [one.number for one in world.classifiers.versions(made.id)] == [2, 1]
    assert world.classifiers.get("mood").active == 1


def test_a_training_ends_with_its_version_and_cannot_be_cancelled_after_it(world: World) -> None:
    made, job_id = put(world, given=examples(a="good", b="bad"))
    world.long_jobs.begin(job_id)
    add_version(world, made)
    for job in (world.jobs.get(job_id), world.jobs.cancel(job_id)):
        assert (job.state, job.done, job.total, job.failed) == (JobState.SUCCEEDED, 2, 2, 0)
    with pytest.raises(Overtaken, match=job_id):  # the same task, delivered twice
        add_version(world, made)
    assert [one.number for one in world.classifiers.versions(made.id)] == [1]


def behind(world: World) -> list[str]:
    return [one.name for one in world.classifiers.behind()]


def test_a_classifier_is_behind_that_changed_since_the_version_that_serves_read_it(world: World) -> None:
    made, job_id = put(world, given=examples(a="good", b="bad"))
    assert behind(world) == [], "nothing serves"
    by = ByTraining(job_id, made.updated_at)
    world.clock.advance(1)
    world.classifiers.add_version(made.id, by, trained(), ENCODER, "d" * 64, 2)
    assert behind(world) == []
    as_of = world.clock.now
    world.clock.advance(1)
    world.classifiers.change_examples(made.id, examples(c="bad"), [])
    assert behind(world) == ["mood"]
    changed = world.clock.now
    world.clock.advance(1)
    world.classifiers.add_version(made.id, ByFeedback(1, as_of), trained(), ENCODER, "d" * 64, 2)
    assert behind(world) == ["mood"], "it read the examples before the change"
    world.classifiers.add_version(made.id, ByFeedback(2, changed), trained(), ENCODER, "e" * 64, 3)
    assert behind(world) == []


@pytest.mark.parametrize(("given", "expected"), [(None, ["mood"]), (examples(x="good", y="bad"), [])])
def test_what_a_training_was_sent_that_came_to_nothing_is_not_to_be_caught_up_with(
    world: World, given: list[LabelledText] | None, expected: list[str]
) -> None:
    made, job_id = put(world, given=examples(a="good", b="bad"))
    world.classifiers.add_version(
        made.id, ByTraining(job_id, made.updated_at), trained(), ENCODER, "d" * 64, 2
    )
    world.clock.advance(1)
    _, again = put(world, given=given)
    assert behind(world) == [], "it is in training"
    world.jobs.cancel(again)
    assert behind(world) == expected


def test_a_classifier_that_was_rolled_back_is_not_behind(world: World) -> None:
    made, _ = put(world)
    add_version(world, made), train(world)
    world.clock.advance(1)
    world.classifiers.activate(made.id, 1)
    assert behind(world) == []


def test_a_version_becomes_the_active_one_and_comes_back_bit_by_bit(world: World) -> None:
    made, _ = put(world)
    adapters = {"layer/0": np.arange(6, dtype=np.float16).reshape(2, 3)}
    first = add_version(world, made, seed=1)
    version = world.classifiers.add_version(
        made.id, ByFeedback(first), trained(), ENCODER, "d" * 64, 2, adapters
    )
    assert (version.number, version.origin, version.is_tuned) == (2, VersionOrigin.FEEDBACK, True)
    assert version.metrics == {"accuracy": 0.5}
    assert world.classifiers.get("mood").active == 2
    assert world.classifiers.versions(made.id)[0] == version
    assert world.classifiers.version(made.id, 2) == version
    head, tuned = world.classifiers.head(made.id, 2)
    expected = trained().head
    assert (head.kind, head.labels, head.is_multi) == (expected.kind, expected.labels, expected.is_multi)
    assert head.parameters == expected.parameters
    for name, array in expected.arrays.items():
        assert (head.arrays[name].dtype, head.arrays[name].tobytes()) == (array.dtype, array.tobytes())
    assert tuned is not None
    np.testing.assert_array_equal(tuned["layer/0"], adapters["layer/0"])
    report = world.classifiers.report(made.id, 2)
    assert report == {"accuracy": 0.5, "macro_f1": None, "confusion": [[1, 0], [0, 1]]}


def test_versions_are_numbered_on_and_rolled_back_to(world: World) -> None:
    made, _ = put(world)
    assert [add_version(world, made), train(world, 1), train(world, 2)] == [1, 2, 3]
    assert world.classifiers.activate(made.id, 1).number == 1
    assert world.classifiers.get("mood").active == 1
    assert train(world) == 4
    assert [one.number for one in world.classifiers.versions(made.id)] == [4, 3, 2, 1]
    for read in (world.classifiers.version, world.classifiers.head, world.classifiers.report):
        with pytest.raises(NotFound, match="version 9"):
            read(made.id, 9)
    with pytest.raises(NotFound, match="version 9"):
        world.classifiers.activate(made.id, 9)
    assert world.classifiers.get("mood").active == 4


def test_of_the_versions_that_feedback_made_the_newest_are_kept(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(classifier_versions, "KEPT_FEEDBACK_VERSIONS", 2)
    made, _ = put(world)
    add_version(world, made)
    for seed in range(4):
        world.classifiers.add_version(
            made.id, ByFeedback(seed + 1), trained(seed), ENCODER, f"{seed}" * 64, 2
        )
    train(world)
    assert [one.number for one in world.classifiers.versions(made.id)] == [6, 5, 4, 1]
    assert world.classifiers.get("mood").active == 6


def test_what_json_does_not_have_is_refused_in_parameters(world: World) -> None:
    made, job_id = put(world)
    head = trained(parameters={"threshold": float("inf")})
    with pytest.raises(ValueError, match="inf"):
        world.classifiers.add_version(made.id, ByTraining(job_id), head, ENCODER, "d" * 64, 2)
    assert world.classifiers.versions(made.id) == []


def test_deleting_takes_examples_versions_and_rules_along(world: World) -> None:
    made, job_id = put(world, given=examples(a="good"))
    add_version(world, made)
    world.classifiers.add_rule(LabelingRule(world.id, "mood", "tone"))
    world.classifiers.delete("mood")
    assert world.classifiers.list() == []
    assert (world.classifiers.examples(made.id), world.classifiers.versions(made.id)) == ([], [])
    assert world.classifiers.rules(world.id) == []
    assert world.jobs.get(job_id).state is JobState.SUCCEEDED
    with pytest.raises(NotFound):
        add_version(world, made)
    again, _ = put(world)
    assert again.id != made.id


def test_a_purged_training_leaves_the_classifier(world: World) -> None:
    _, job_id = put(world)
    end(world, job_id)
    world.clock.advance(3600)
    world.retention.purge(world.clock.now)
    assert world.classifiers.get("mood").job_id is None
    put(world)


def test_rules_are_kept_by_collection_and_field(world: World) -> None:
    put(world, "mood"), put(world, "topic")
    other = World(world.database, "other")
    for rule in (
        LabelingRule(world.id, "mood", "tone"),
        LabelingRule(world.id, "mood", "about"),
        LabelingRule(world.id, "topic", "about"),
        LabelingRule(other.id, "mood", "tone"),
    ):
        world.classifiers.add_rule(rule)
    assert world.classifiers.rules(world.id) == [
        LabelingRule(world.id, "topic", "about"),
        LabelingRule(world.id, "mood", "tone"),
    ]
    world.classifiers.remove_rule(world.id, "about")
    assert [rule.field for rule in world.classifiers.rules(world.id)] == ["tone"]
    for field in ("about", "\0"):
        with pytest.raises(NotFound, match="no rule"):
            world.classifiers.remove_rule(world.id, field)
    with pytest.raises(NotFound, match="'gone'"):
        world.classifiers.add_rule(LabelingRule(world.id, "gone", "tone"))
    with pytest.raises(NotFound, match="the collection does not exist any more"):
        world.classifiers.add_rule(LabelingRule(99, "mood", "tone"))
    world.collections.delete("other")
    assert world.classifiers.rules(other.id) == []


def test_arrays_of_objects_are_refused() -> None:
    with pytest.raises(ValueError, match=r"[Oo]bject"):
        pack({"file": np.array([{}], dtype=object)})
    with pytest.raises(ValueError, match="pickle"):
        unpack(_pickled())


def _pickled() -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, evil=np.array([{}], dtype=object))
    return buffer.getvalue()


def test_a_labelling_nobody_works_on_is_found_again(world: World) -> None:
    world.add(new("a"))
    job = world.long_jobs.open(JobKind.LABEL, "news", {"classifier": "mood"})
    task = Task(TaskKind.LABEL, job.id)
    assert world.batches.unfinished() == [task]
    world.long_jobs.begin(job.id)
    assert world.batches.unfinished() == [task]
    world.long_jobs.succeed(job.id, 1)
    assert world.batches.unfinished() == []
