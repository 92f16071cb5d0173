"""Delete by filter over a real attribute index that follows a real log."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import cast

import pytest

from core import deletion
from core.deletion import DeletionService
from core.document_set import DocumentSet
from core.errors import CollectionGone, InvalidInput, Unavailable
from core.filters import Filter, parse_filter
from core.ports.indexes import IndexRegistry
from core.types import Collection
from indexer.attributes import AttributeIndex
from tests.fakes import RecordingNotifier
from tests.storage.world import World, new


@dataclass
class Attributes:
    """Registry and view in one. `awaited` is what was waited for; `meanwhile` happens after a selection."""

    world: World
    in_time: bool = True
    meanwhile: list[str] = field(default_factory=list)
    awaited: list[int] = field(default_factory=list)
    seq: int = 0

    def wait_for(self, collection: Collection, seq: int, timeout_s: float) -> bool:
        self.awaited.append(seq)
        return self.in_time

    def view(self, collection: Collection) -> Attributes:
        self.seq = self.world.seq
        return self

    def select(self, filter_: Filter) -> DocumentSet:
        index = AttributeIndex({})
        index.apply(self.world.read_log())
        found = index.publish().select(filter_)
        for external_id in self.meanwhile:
            self.world.send(new(external_id, year=2000))
        return found


def service(attributes: Attributes) -> DeletionService:
    indexes = cast(IndexRegistry, attributes)
    return DeletionService(attributes.world.documents, indexes, RecordingNotifier())


def delete(world: World, attributes: Attributes, body: object) -> tuple[int, int]:
    collection = world.collections.get(world.name)
    return service(attributes).delete_matching(collection, parse_filter(body))


def left(world: World) -> list[str]:
    return [document.external_id for document in world.documents.list(world.id, None, 100, None)]


def test_what_matches_is_deleted_a_chunk_at_a_time(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deletion, "CHUNK", 2)
    world.add(*(new(f"d{i}", year=2000 + i) for i in range(8)))
    world.send(new("pending", year=2000))
    seq, attributes = world.seq, Attributes(world)
    assert delete(world, attributes, {"field": "year", "lt": 2005}) == (5, seq + 3)
    assert attributes.awaited == [seq]
    assert left(world) == ["d5", "d6", "d7", "pending"]
    assert [entry.document_id for entry in world.read_log() if not len(entry.passage_ids)]
    assert delete(world, attributes, {"field": "year", "lt": 2005}) == (0, seq + 3)


def test_followers_are_told_of_every_transaction(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deletion, "CHUNK", 1)
    world.add(new("a", n=1), new("b", n=1))
    notifier = RecordingNotifier()
    indexes = cast(IndexRegistry, Attributes(world))
    DeletionService(world.documents, indexes, notifier).delete_matching(
        world.collections.get(world.name), parse_filter({"field": "n", "eq": 1})
    )
    assert notifier.published == [(world.id, 2), (world.id, 3)]


def test_a_document_that_was_sent_again_meanwhile_is_left(world: World) -> None:
    world.add(new("a", year=1), new("b", year=1))
    assert delete(world, Attributes(world, meanwhile=["a"]), {"field": "year", "eq": 1})[0] == 1
    assert left(world) == ["a"]


def test_an_index_that_lags_behind_deletes_nothing(world: World) -> None:
    world.add(new("a", year=1))
    with pytest.raises(Unavailable, match=r"has not reached seq 1 in 5\.0 s.*Retry"):
        delete(world, Attributes(world, in_time=False), {"field": "year", "eq": 1})
    assert left(world) == ["a"]


def test_a_collection_that_is_deleted_while_its_index_is_waited_for_is_gone(world: World) -> None:
    collection = world.collections.get(world.name)
    world.collections.delete(world.name)
    with pytest.raises(CollectionGone, match=world.name):
        service(Attributes(world, in_time=False)).delete_matching(
            collection, parse_filter({"field": "y", "eq": 1})
        )


def test_a_filter_that_does_not_fit_deletes_nothing(world: World) -> None:
    world.add(new("a", year=1))
    with pytest.raises(InvalidInput, match="'yaer' is unknown"):
        delete(world, Attributes(world), {"not": {"field": "yaer", "eq": 1}})
    assert left(world) == ["a"]
