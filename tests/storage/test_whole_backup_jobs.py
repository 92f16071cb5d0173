"""Jobs of whole backups: collections come back with the classifiers and rules that belong to them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest

from core.backup_types import Going, Move, Restored, RestoreRequest
from core.classifier_types import LabelingRule, LabelledText, TrainingOptions
from core.errors import Conflict, InvalidInput
from core.job_types import JobState
from core.long_jobs import MAX_ATTEMPTS
from storage.backups import SqlBackups
from storage.classifiers import SqlClassifierStore
from storage.database import Database
from storage.long_jobs import SqlLongJobs
from tests.storage.backup_desk import Desk, Dying
from tests.storage.world import ENCODER, World, new


@pytest.fixture
def kind() -> str:
    return "sqlite"


def test_a_whole_backup_brings_classifiers_back_and_one_collection_alone_does_not(desk: Desk) -> None:
    world = desk.world
    train(world)
    desk.service().run(desk.service().create("b", None).id)
    with pytest.raises(Conflict, match="'news' exists"):
        desk.service().restore("b", RestoreRequest())
    world.collections.delete("news")
    with pytest.raises(Conflict, match="Classifier 'mood' exists"):
        desk.service().restore("b", RestoreRequest())
    world.classifiers.delete("mood")
    for request, expected in ((RestoreRequest("news"), []), (RestoreRequest(replace=True), ["mood"])):
        job = desk.service().restore("b", request)
        desk.service().run(job.id)
        assert desk.state(job.id) is JobState.SUCCEEDED
        assert [one.name for one in world.classifiers.list()] == expected
    desk.service().run(job.id)  # a task may be delivered twice
    assert [example.text for example in world.classifiers.examples(world.classifiers.get("mood").id)] == [
        "up",
        "down",
    ]


class TrainedMeanwhile(SqlBackups):
    """A training of classifier `mood` begins just before the classifiers are restored."""

    def restore_classifiers(
        self, job_id: str, name: str, classifiers: Sequence[str], replace: bool, going: Going
    ) -> None:
        train_again(self._database)
        super().restore_classifiers(job_id, name, classifiers, replace, going)


class DyingOnceClassifiersAreThere(SqlBackups):
    """Restores classifiers, then the process ends."""

    def restore_classifiers(
        self, job_id: str, name: str, classifiers: Sequence[str], replace: bool, going: Going
    ) -> None:
        super().restore_classifiers(job_id, name, classifiers, replace, going)
        raise KeyboardInterrupt


class FailingAtTheSecond(SqlBackups):
    """Restores one collection; the second is found damaged when a part of it was read."""

    def restore(self, job_id: str, name: str, moves: Sequence[Move], going: Going) -> Iterator[Restored]:
        yield next(iter(super().restore(job_id, name, moves[:1], going)))
        SqlLongJobs(self._database).advance(job_id, 2, 3)
        raise InvalidInput("The second is damaged.")


def train(world: World) -> None:
    """A classifier `mood` whose training is over."""
    given = [LabelledText("up", ("good",)), LabelledText("down", ("bad",))]
    _, job_id = world.classifiers.put("mood", ENCODER, TrainingOptions(), {}, None, given, {})
    world.long_jobs.begin(job_id)
    world.long_jobs.succeed(job_id, 2)


def train_again(database: Database) -> None:
    SqlClassifierStore(database).put("mood", ENCODER, TrainingOptions(), {}, None, None, {})


@pytest.fixture
def whole(desk: Desk) -> Desk:
    """With a backup `b` of two collections and a classifier, which labels both; then a rule was added."""
    other = World(desk.world.database, "other")
    other.add(new("o"))
    train(desk.world)
    for world in (desk.world, other):
        world.classifiers.add_rule(LabelingRule(world.id, "mood", "tone"))
    desk.service().run(desk.service().create("b", None).id)
    desk.world.classifiers.add_rule(LabelingRule(desk.world.id, "mood", "later"))
    return desk


def test_a_classifier_in_training_is_refused_at_the_request(whole: Desk) -> None:
    train_again(whole.world.database)
    with pytest.raises(Conflict, match="'mood' is in training"):
        whole.service().restore("b", RestoreRequest(replace=True))
    whole.service().restore("b", RestoreRequest("news", replace=True))


@pytest.mark.parametrize("store", [SqlBackups, TrainedMeanwhile])
def test_a_classifier_that_cannot_give_way_fails_the_job_before_any_collection_does(
    whole: Desk, store: type[SqlBackups]
) -> None:
    job = whole.service().restore("b", RestoreRequest(replace=True))
    if store is SqlBackups:
        train_again(whole.world.database)
    before = whole.world.collections.list()
    whole.service(store).run(job.id)
    failed = whole.world.jobs.get(job.id)
    assert (failed.state, failed.total, failed.done, failed.failed) == (JobState.FAILED, 3, 0, 3)
    (error,) = failed.errors
    assert "'mood' is in training" in error.reason
    assert error.reason.endswith("Nothing was changed.")
    assert whole.world.collections.list() == before
    assert [rule.field for rule in whole.world.classifiers.rules(whole.world.id)] == ["later", "tone"]


def test_a_restore_that_fails_half_way_counts_and_names_what_is_there_again(whole: Desk) -> None:
    other = whole.world.collections.get("other")
    whole.world.classifiers.remove_rule(other.id, "tone")
    job = whole.service().restore("b", RestoreRequest(replace=True))
    whole.service(FailingAtTheSecond).run(job.id)
    failed = whole.world.jobs.get(job.id)
    assert (failed.state, failed.total, failed.done, failed.failed) == (JobState.FAILED, 3, 2, 1)
    assert [error.reason for error in failed.errors] == [
        "The second is damaged. Restored before: collections news; classifiers mood. Not restored, and as"
        " before: collections other."
    ]
    assert whole.world.collections.get("other") == other
    assert whole.world.classifiers.rules(other.id) == []


def test_a_classifier_that_is_there_again_makes_attempts_uncounted(whole: Desk) -> None:
    job = whole.service().restore("b", RestoreRequest(replace=True))
    for _ in range(MAX_ATTEMPTS - 1):
        whole.world.long_jobs.begin(job.id)
    with pytest.raises(KeyboardInterrupt):
        whole.service(DyingOnceClassifiersAreThere).run(job.id)
    details = whole.world.jobs.get(job.id).details
    assert details["restored_classifiers"] == ["mood"]
    assert "attempts" not in details


def test_a_collection_is_shown_together_with_its_rules(whole: Desk) -> None:
    job = whole.service().restore("b", RestoreRequest(replace=True))
    with pytest.raises(KeyboardInterrupt):
        whole.service(Dying).run(job.id)
    news = whole.world.collections.get("news")
    assert news.id != whole.world.id
    assert whole.world.classifiers.rules(news.id) == [LabelingRule(news.id, "mood", "tone")]
    whole.service().run(job.id)
    assert whole.state(job.id) is JobState.SUCCEEDED
    assert whole.world.classifiers.rules(news.id) == [LabelingRule(news.id, "mood", "tone")]
