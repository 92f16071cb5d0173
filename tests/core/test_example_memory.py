"""Examples in memory: what was read last stays there, within a bound, and is read once."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from core.classifier_types import LabelledText, StoredExample
from core.example_memory import ExampleMemory, KnownExamples, Space
from storage.classifiers import SqlClassifierStore
from storage.database import Database
from tests.core.classifier_world import MOODS, ClassifierWorld

Recall = Callable[[str], KnownExamples]


@pytest.fixture
def world(database: Database) -> ClassifierWorld:
    world = ClassifierWorld(database)
    for name in ("first", "second"):
        world.train(name)
    return world


def recalling(world: ClassifierWorld, memory: ExampleMemory) -> Recall:
    """Examples of a classifier by its name."""

    def recall(name: str) -> KnownExamples:
        classifier = world.store.get(name)
        return memory.recall(Space(classifier.id, world.encoder), classifier.updated_at)

    return recall


def test_examples_larger_than_the_bound_stay_until_others_are_read(world: ClassifierWorld) -> None:
    recall = recalling(world, ExampleMemory(world.store, max_bytes=1))
    known = recall("first")
    assert recall("first") is known
    other = recall("second")
    assert recall("second") is other
    assert recall("first") is not known


def test_examples_beyond_the_last_bound_are_read_each_time(world: ClassifierWorld) -> None:
    recall = recalling(world, ExampleMemory(world.store, max_bytes=1, max_alone_bytes=10))
    assert recall("first") is not recall("first")


def test_within_the_bound_examples_of_several_classifiers_stay(world: ClassifierWorld) -> None:
    recall = recalling(world, ExampleMemory(world.store, max_bytes=10_000))
    known = recall("first")
    recall("second")
    assert recall("first") is known, "used last by now"
    world.train("long", [*MOODS, LabelledText("a long story " * 700, ("sports",))])
    recall("long")
    assert recall("first") is not known, "texts count too"


def test_vectors_are_the_same_whether_they_were_just_encoded_or_read(world: ClassifierWorld) -> None:
    classifier = world.store.get("first")
    space = Space(classifier.id, world.encoder)
    encoded = world.service.training.memory.recall(space, classifier.updated_at)
    assert encoded is world.service.training.memory.recall(space, classifier.updated_at), "in memory since"
    assert (ExampleMemory(world.store).recall(space, classifier.updated_at).vectors == encoded.vectors).all()


def test_of_calls_at_the_same_time_one_reads_the_examples(
    world: ClassifierWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, reads = SqlClassifierStore.examples, []
    started, is_read_again = threading.Barrier(4), threading.Event()

    def read_slowly(store: SqlClassifierStore, classifier_id: int) -> list[StoredExample]:
        reads.append(classifier_id)
        if len(reads) > 1:
            is_read_again.set()
        is_read_again.wait(0.2)  # where the others do not wait, they come meanwhile
        return read(store, classifier_id)

    monkeypatch.setattr(SqlClassifierStore, "examples", read_slowly)
    recall = recalling(world, ExampleMemory(world.store))

    def recall_together(name: str) -> KnownExamples:
        started.wait()
        return recall(name)

    with ThreadPoolExecutor(4) as pool:
        known = list(pool.map(recall_together, ["first"] * 4))
    assert len(reads) == 1
    assert all(one is known[0] for one in known)
