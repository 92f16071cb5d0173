"""Versions of classifiers: what makes one, which serves, which are kept and which are behind."""

from __future__ import annotations

import numpy as np
import pytest

from core.classifier_types import (
    ByFeedback,
    ByTraining,
    LabelledText,
    VersionOrigin,
)
from core.errors import ExamplesChanged, NotFound, Overtaken
from core.job_types import JobState
from storage import classifier_versions
from tests.storage.classified import add_collected, add_version, examples, put, train, trained
from tests.storage.world import DIM, ENCODER, World


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
