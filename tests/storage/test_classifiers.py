"""Classifiers in the database: examples, rules, one training at a time."""

from __future__ import annotations

import io
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from threading import Barrier

import numpy as np
import pytest

from core.classifier_types import (
    Classifier,
    LabelingRule,
    LabelledText,
)
from core.errors import Conflict, InvalidInput, NotFound
from core.job_types import JobKind, JobState, Task, TaskKind
from core.ports.classifiers import LabelCounts
from core.types import EncoderInfo, RejectedItem
from storage.arrays import pack, unpack
from tests.storage.classified import (
    NEWS,
    OPTIONS,
    add_collected,
    add_version,
    end,
    examples,
    put,
)
from tests.storage.world import DIM, ENCODER, World, new, opened


def test_putting_a_classifier_stores_it_and_queues_its_training(world: World) -> None:
    made, job_id = put(world, given=examples(a="good", b="bad"))
    assert (made.name, made.options, made.descriptions) == ("mood", OPTIONS, {"good": "liked"})
    assert (made.encoder, made.source, made.active, made.examples) == (ENCODER, None, None, 2)
    assert made.job_id == job_id
    assert world.classifiers.get("mood") == made
    job = world.jobs.get(job_id)
    assert (job.kind, job.state, job.collection) == (JobKind.TRAIN, JobState.QUEUED, "")
    assert job.details == {
        "request_id": "r",
        "classifier": "mood",
        "examples_sent": True,
        "active": None,
    }
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


def test_a_change_is_checked_by_the_labels_before_and_after_it(world: World) -> None:
    several = [LabelledText("d", ("bad", "new")), LabelledText("e", ("new", "bad")), LabelledText("f", ())]
    made, _ = put(world, given=[*examples(a="good", b="bad", c="bad"), *several])
    put(world, "other", examples(z="other"))
    seen: list[LabelCounts] = []

    def keep(before: LabelCounts, after: LabelCounts, now: Classifier) -> None:
        assert now.name == "mood"
        seen.extend((before, after))

    changed = [*examples(a="bad", b="bad", g='ünd "new"'), LabelledText("f", ('ünd "new"',))]
    world.classifiers.change_examples(made.id, changed, ["c", "e", "gone"], keep)
    good, bad, both = frozenset({"good"}), frozenset({"bad"}), frozenset({"bad", "new"})
    before, after = seen
    assert before == {good: 1, bad: 2, both: 2, frozenset(): 1}
    assert after == {bad: 2, both: 1, frozenset({'ünd "new"'}): 2}
    world.classifiers.change_examples(made.id, [], ["gone"], keep)
    assert seen[2:] == [after, after], "as they were foreseen"


def test_a_change_that_is_refused_leaves_all_as_it_was(world: World) -> None:
    put(world, given=examples(a="good", b="bad"))
    made = world.classifiers.get("mood")
    stored = world.classifiers.examples(made.id)
    world.clock.advance(5)

    def refuse(before: LabelCounts, after: LabelCounts, now: Classifier) -> None:
        raise InvalidInput("not this one")

    with pytest.raises(InvalidInput, match="not this one"):
        world.classifiers.change_examples(made.id, examples(a="bad", c="new"), ["b"], refuse)
    assert world.classifiers.get("mood") == made
    assert world.classifiers.examples(made.id) == stored


def test_of_changes_made_at_once_each_is_checked_after_the_one_before(
    world: World, database_url: str
) -> None:
    """Two connections, as two processes have; each removes one of the last two examples."""
    made, _ = put(world)

    def leave_one(before: LabelCounts, after: LabelCounts, now: Classifier) -> None:
        if not after:
            raise InvalidInput("none would be left")

    with opened(database_url) as database, ThreadPoolExecutor(2) as pool:
        together = Barrier(2)

        def remove(mine: World, text: str) -> bool:
            together.wait()
            try:
                mine.classifiers.change_examples(made.id, [], [text], leave_one)
            except InvalidInput:
                return False
            return True

        for _ in range(10):
            world.classifiers.change_examples(made.id, examples(a="good", b="bad"), [])
            assert sorted(pool.map(remove, (world, World(database)), "ab")) == [False, True]
            assert len(world.classifiers.examples(made.id)) == 1


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
