"""Classifiers come back from a backup as they were, with the rules of collections that are there."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from core.classifier_types import (
    ByTraining,
    Classifier,
    Head,
    HeadKind,
    LabelingRule,
    LabelledText,
    TrainedHead,
    TrainingOptions,
)
from core.errors import Conflict
from core.job_types import JobKind
from storage.backup_file import VERSION, VERSION_WITH_CLASSIFIERS, Archive
from storage.backups import SUFFIX, SqlBackups
from storage.database import Database
from storage.long_jobs import SqlLongJobs
from storage.uploads import BACKUPS, FsspecUploadStore, local_uploads
from tests.storage.world import DIM, ENCODER, World, new, opened

TEXTS = {f"text {i}": "good" if i % 2 else "bad" for i in range(7)}


def fill(world: World, name: str = "mood") -> Classifier:
    """A classifier of two versions, the first of which serves; half of its examples are encoded."""
    given = [LabelledText(text, (label,)) for text, label in TEXTS.items()]
    made, job_id = world.classifiers.put(
        name, ENCODER, TrainingOptions(seed=3), {"good": "liked"}, None, given, {}
    )
    found = world.classifiers.examples(made.id)
    rng = np.random.default_rng(5)
    world.classifiers.save_vectors(
        made.id, {one.id: rng.standard_normal(DIM).astype(np.float32) for one in found[::2]}
    )
    for number in range(2):
        if number:
            _, job_id = world.classifiers.put(name, ENCODER, made.options, made.descriptions, None, None, {})
        arrays = {"weights": rng.standard_normal((2, DIM)).astype(np.float32)}
        head = Head(HeadKind.LOGISTIC, ("bad", "good"), False, arrays, {"temperature": 0.1 + 0.2})
        trained = TrainedHead(head, {"accuracy": 0.5}, {"accuracy": 0.5, "plot": [number]})
        adapters = {"layer/0": rng.standard_normal((2, 2)).astype(np.float16)} if number else None
        world.classifiers.add_version(made.id, ByTraining(job_id), trained, ENCODER, "d" * 64, 7, adapters)
    world.classifiers.activate(made.id, 1)
    return world.classifiers.get(name)


def contents(world: World, name: str = "mood") -> Mapping[str, Any]:
    """All of a classifier that does not depend on where it is."""
    store, classifier = world.classifiers, world.classifiers.get(name)
    vectors = store.vectors(classifier.id)
    versions = store.versions(classifier.id)
    heads = {one.number: store.head(classifier.id, one.number) for one in versions}
    return {
        "options": (classifier.options, classifier.descriptions, classifier.source, classifier.encoder),
        "active": classifier.active,
        "created_at": classifier.created_at,
        "examples": [
            (one.text, one.labels, one.updated_at, vectors[one.id].tobytes() if one.is_encoded else None)
            for one in store.examples(classifier.id)
        ],
        "versions": versions,
        "heads": {
            number: {key: array.tobytes() for key, array in {**head.arrays, **(adapters or {})}.items()}
            for number, (head, adapters) in heads.items()
        },
        "parameters": {number: head.parameters for number, (head, _) in heads.items()},
        "reports": {number: store.report(classifier.id, number) for number in heads},
    }


def backup(world: World, files: FsspecUploadStore, only: list[str] | None = None) -> SqlBackups:
    store = SqlBackups(world.database, files, "test", world.clock)
    job = SqlLongJobs(world.database, world.clock).open(JobKind.BACKUP, "", {})
    store.create(job.id, "b", only, lambda done: None)
    return store


def restore(database: Database, files: FsspecUploadStore, replace: bool = False) -> str:
    job = SqlLongJobs(database).open(JobKind.RESTORE, "", {})
    SqlBackups(database, files, "test").restore_classifiers(job.id, "b", ["mood"], replace, lambda done: None)
    return job.id


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_a_classifier_comes_back_as_it_was_on_either_database(
    database: Database, migrated_sqlite: Path, files: FsspecUploadStore, tmp_path: Path
) -> None:
    world = World(database)
    fill(world)
    world.classifiers.add_rule(LabelingRule(world.id, "mood", "tone"))
    elsewhere = World(database, "elsewhere")
    world.classifiers.add_rule(LabelingRule(elsewhere.id, "mood", "tone"))
    saved = contents(world)
    store = backup(world, files)
    (held,) = store.get("b").classifiers
    assert (held.name, held.examples, held.versions) == ("mood", 7, 2)
    store.verify("b", lambda done: None)
    with opened(f"sqlite:///{shutil.copy(migrated_sqlite, tmp_path / 'other.db')}") as other:
        there = World(other)
        fill(there, "another")
        job_id = restore(other, files)
        assert contents(there) == saved
        assert there.classifiers.get("mood").job_id is None
        assert there.classifiers.rules(there.id) == [LabelingRule(there.id, "mood", "tone")]
        assert there.jobs.get(job_id).details["restored_classifiers"] == ["mood"]
        back = backup(there, files := local_uploads(tmp_path / "second", BACKUPS))
    assert {one.name for one in back.get("b").classifiers} == {"another", "mood"}
    world.classifiers.delete("mood")
    restore(database, files)
    assert contents(world) == saved


def test_one_that_exists_is_refused_or_gives_way_and_its_rules_stay(
    world: World, files: FsspecUploadStore
) -> None:
    fill(world)
    saved = contents(world)
    backup(world, files)
    world.classifiers.change_examples(world.classifiers.get("mood").id, [], ["text 1"])
    world.classifiers.add_rule(LabelingRule(world.id, "mood", "tone"))
    with pytest.raises(Conflict, match="'mood' exists"):
        restore(world.database, files)
    assert contents(world) != saved
    restore(world.database, files, replace=True)
    assert contents(world) == saved
    assert [one.name for one in world.classifiers.list()] == ["mood"]
    assert world.classifiers.rules(world.id) == [LabelingRule(world.id, "mood", "tone")]


def test_one_in_training_does_not_give_way(world: World, files: FsspecUploadStore) -> None:
    made = fill(world)
    backup(world, files)
    world.classifiers.put("mood", ENCODER, made.options, {}, None, None, {})
    before = contents(world)
    with pytest.raises(Conflict, match="in training"):
        restore(world.database, files, replace=True)
    assert contents(world) == before


@pytest.mark.parametrize("replace", [True, False])
def test_what_another_attempt_at_the_job_restored_is_left_as_it_is(
    world: World, files: FsspecUploadStore, replace: bool
) -> None:
    fill(world)
    store = backup(world, files)
    world.classifiers.delete("mood")
    job = world.long_jobs.open(JobKind.RESTORE, "", {})
    store.restore_classifiers(job.id, "b", ["mood"], replace, lambda done: None)
    restored = world.classifiers.get("mood")
    store.restore_classifiers(job.id, "b", ["mood"], replace, lambda done: None)
    assert world.classifiers.get("mood").id == restored.id
    assert world.jobs.get(job.id).details["restored_classifiers"] == ["mood"]


def test_a_cancelled_restore_changes_nothing(world: World, files: FsspecUploadStore) -> None:
    fill(world)
    store = backup(world, files)
    world.classifiers.delete("mood")
    job = world.long_jobs.open(JobKind.RESTORE, "", {})
    world.jobs.cancel(job.id)
    with pytest.raises(Conflict):
        store.restore_classifiers(job.id, "b", ["mood"], False, lambda done: None)
    assert world.classifiers.list() == []


def test_older_readers_are_told_by_the_version_that_there_are_classifiers(
    world: World, files: FsspecUploadStore
) -> None:
    world.add(new("a", "text"))
    fill(world)
    for only, version in (([world.name], VERSION), (None, VERSION_WITH_CLASSIFIERS)):
        store = backup(world, files, only)
        with files.open("b" + SUFFIX) as file:
            assert Archive(file).manifest["version"] == version
        assert len(store.get("b").classifiers) == (only is None)
        store.delete("b")
