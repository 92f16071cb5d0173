"""What followers read."""

from __future__ import annotations

import numpy as np
import pytest

from core.errors import NotFound
from storage import pages
from tests.storage.world import World, new


def test_heads_tell_the_seq_of_every_collection(world: World) -> None:
    other = World(world.database, "other", world.clock)
    world.add(new("a"))
    assert world.log.heads() == {world.id: 1, other.id: 0}


def test_an_empty_log_is_complete_at_its_head(world: World) -> None:
    world.send(new("pending"))
    page = world.log.read(world.id, (0, 0), 10)
    assert (page.entries, page.cursor, page.applied_seq, page.is_last) == ((), (0, 0), 0, True)
    with pytest.raises(NotFound, match="the collection does not exist any more"):
        world.log.read(99, (0, 0), 10)


def test_a_cut_page_is_complete_only_up_to_the_seq_before_the_cut(world: World) -> None:
    for ids in ("ab", "c", "def"):
        world.add(*(new(id_) for id_ in ids))
    pages = []
    cursor = (0, 0)
    for _ in range(4):
        page = world.log.read(world.id, cursor, 2)
        cursor = page.cursor
        pages.append(([entry.seq for entry in page.entries], page.applied_seq, page.is_last))
    assert pages == [([1, 1], 1, False), ([2, 3], 2, False), ([3, 3], 3, True), ([], 3, True)]


def test_seqs_without_rows_are_complete_too(world: World) -> None:
    world.add(new("a"))
    world.add(new("b"))
    world.send(new("a", moved=True))  # seq 3; nothing is left at seq 1
    page = world.log.read(world.id, (0, 0), 1)
    assert ([entry.seq for entry in page.entries], page.applied_seq) == ([2], 2)


def test_removed_documents_come_as_empty_entries_even_when_sent_again(world: World) -> None:
    world.add(new("a", "one"), new("b", "two"))
    world.documents.delete(world.id, ["a", "b"])
    again = world.send(new("a", "one"))
    entries = world.read_log((1, 2**62))
    assert [(entry.seq, len(entry.passage_ids), entry.vectors.shape) for entry in entries] == [
        (2, 0, (0, 4)),
        (2, 0, (0, 4)),
    ]
    world.fail(again)
    assert [len(entry.passage_ids) for entry in world.read_log((1, 2**62))] == [0, 0]


def test_pages_over_many_documents_lose_and_repeat_nothing(world: World) -> None:
    world.add(*(new(f"{i:04}", f"text {i}") for i in range(700)))
    whole, parts = world.read_log(), world.read_log(limit=99)
    assert [entry.document_id for entry in whole] == [entry.document_id for entry in parts]
    assert len(whole) == 700
    for one, other in zip(whole, parts, strict=True):
        np.testing.assert_array_equal(one.vectors, other.vectors)


def test_a_page_ends_where_its_documents_have_many_passages(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages, "PAGE_PASSAGES", 5)
    world.add(*(new(id_) for id_ in "abcd"))  # two passages each
    world.add(new("e"))
    world.documents.delete(world.id, ["a"])
    first = world.log.read(world.id, (0, 0), 10)
    assert ([entry.seq for entry in first.entries], first.applied_seq, first.is_last) == ([1, 1], 0, False)
    monkeypatch.setattr(pages, "PAGE_PASSAGES", 1)  # less than one document has
    assert [len(world.log.read(world.id, first.cursor, 10).entries), len(world.read_log())] == [1, 5]


def test_entries_tell_title_metadata_and_the_texts_of_passages(world: World) -> None:
    world.add(new("a", "one two", "A title", year=2020))
    world.send(new("a", "one two", "A title", year=2021))  # metadata alone: applied at once
    (entry,) = world.read_log((0, 0))
    assert (entry.title, entry.texts, entry.metadata) == ("A title", ("one", " two"), {"year": 2021})
    world.documents.delete(world.id, ["a"])
    (entry,) = world.read_log((2, 2**62))
    assert (entry.title, entry.texts, entry.metadata) == ("", (), {})
