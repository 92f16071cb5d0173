"""Others create and delete while a restore brings classifiers back; where writers take turns they wait."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import text

import storage.backup_classifiers
import storage.backup_rules
from core.classifier_types import LabelingRule
from core.errors import Conflict
from core.job_types import JobKind
from storage.backups import SqlBackups
from storage.uploads import FsspecUploadStore
from tests.storage.classified import end, examples, put, train
from tests.storage.world import World
from tests.waiting import wait_until

pytestmark = pytest.mark.parametrize("kind", ["postgres"])
Race = Callable[[object, str, Callable[[], object]], None]


@pytest.fixture
def before_return(monkeypatch: pytest.MonkeyPatch) -> Race:
    """Lets something happen in another transaction each time a function has looked, before it returns."""

    def arrange(module: object, name: str, happen: Callable[[], object]) -> None:
        look = getattr(module, name)

        def looked(*args: Any) -> Any:
            found = look(*args)
            happen()
            return found

        monkeypatch.setattr(module, name, looked)

    return arrange


def saved(world: World, files: FsspecUploadStore) -> SqlBackups:
    """A backup that holds the classifier "mood" with a rule, which are gone again."""
    train(world)
    world.classifiers.add_rule(LabelingRule(world.id, "mood", "tone"))
    backups = SqlBackups(world.database, files, "test", world.clock)
    backups.create(world.long_jobs.open(JobKind.BACKUP, "", {}).id, "b", None, lambda done: None)
    world.classifiers.delete("mood")
    return backups


def restore(world: World, backups: SqlBackups, replace: bool = False) -> None:
    job = world.long_jobs.open(JobKind.RESTORE, "", {})
    backups.restore_classifiers(job.id, "b", ["mood"], replace, lambda done: None)


def test_a_rule_of_a_collection_that_is_just_deleted_is_left_out(
    world: World, files: FsspecUploadStore, before_return: Race
) -> None:
    backups = saved(world, files)
    before_return(storage.backup_rules, "find_collection", lambda: world.collections.delete(world.name))
    restore(world, backups)
    assert world.classifiers.get("mood").active == 1
    assert world.classifiers.rules(world.id) == []


@pytest.mark.parametrize("replace", [True, False])
def test_a_classifier_that_is_just_created_gives_way_or_is_refused(
    world: World, files: FsspecUploadStore, before_return: Race, replace: bool
) -> None:
    backups = saved(world, files)
    others = iter([lambda: end(world, put(world, given=examples(fresh="bad"))[1])])
    before_return(storage.backup_classifiers, "find_locked", lambda: next(others, lambda: None)())
    if replace:
        restore(world, backups, replace=True)
    else:
        with pytest.raises(Conflict, match="'mood' exists"):
            restore(world, backups)
    assert world.classifiers.get("mood").active == (1 if replace else None)


def test_a_rule_that_waits_for_a_classifier_being_replaced_joins_the_one_in_its_place(
    world: World, files: FsspecUploadStore, before_return: Race
) -> None:
    backups, waiting = saved(world, files), list[Future[None]]()
    train(world)
    with ThreadPoolExecutor(1) as pool:

        def meanwhile() -> None:
            rule = LabelingRule(world.id, "mood", "late")
            waiting.append(pool.submit(world.classifiers.add_rule, rule))
            wait_until_blocked(world)

        before_return(storage.backup_classifiers, "read_classifier", meanwhile)
        restore(world, backups, replace=True)
        waiting[0].result(timeout=20)
    assert {rule.field for rule in world.classifiers.rules(world.id)} == {"tone", "late"}


def wait_until_blocked(world: World) -> None:
    """Until another transaction on this database waits for a lock."""
    blocked = text("SELECT 1 FROM pg_locks WHERE NOT granted AND pid <> pg_backend_pid()")

    def is_blocked() -> bool:
        with world.database.read() as connection:
            return connection.execute(blocked).first() is not None

    wait_until(is_blocked, "somebody waits for a lock", 20.0)
