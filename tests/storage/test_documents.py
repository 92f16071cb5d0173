"""Reading and deleting documents, and the rows behind hits."""

from __future__ import annotations

import numpy as np
import pytest
from sqlalchemy import select

from core import document_pages
from core.errors import NotFound
from core.types import DocumentState, Span
from storage.schema import Documents
from tests.storage.world import World, new, vectors


def document_ids(world: World) -> dict[str, int]:
    query = select(Documents.external_id, Documents.id).where(Documents.collection_id == world.id)
    with world.database.read() as connection:
        return {row.external_id: row.id for row in connection.execute(query)}


def test_documents_are_listed_in_pages_by_id_and_state(world: World) -> None:
    world.add(*(new(id_) for id_ in ("b", "a", "Z", "é", "gone")))
    world.send(new("c"))
    world.documents.delete(world.id, ["gone"])

    def ids(state: DocumentState | None, limit: int, after: str | None) -> list[str]:
        return [document.external_id for document in world.documents.list(world.id, state, limit, after)]

    assert ids(None, 10, None) == ["Z", "a", "b", "c", "é"]
    assert ids(None, 2, "a") == ["b", "c"]
    assert ids(DocumentState.PENDING, 10, None) == ["c"]
    assert ids(DocumentState.SEARCHABLE, 2, "Z") == ["a", "b"]


def test_updates_that_wait_are_counted_and_listed_of_searchable_documents_alone(world: World) -> None:
    other = World(world.database, "other", world.clock)
    for one in (world, other):
        one.add(*(new(id_, "old") for id_ in ("a", "b", "c", "d")))
    other.send(new("a", "new"))
    world.fail(world.send(new("f", "new")))
    world.send(new("n", "never searchable"), new("b", "new"), new("d", "new"), new("c", "old", year=1))
    counts = world.collections.counts(world.id)
    assert (counts.total, counts.searchable, counts.pending, counts.failed) == (6, 4, 1, 1)
    assert (counts.updates_pending, other.collections.counts(other.id).updates_pending) == (2, 1)

    def ids(state: DocumentState | None, is_update_pending: bool | None) -> list[str]:
        listed = world.documents.list(world.id, state, 10, None, is_update_pending)
        return [document.external_id for document in listed]

    assert ids(None, None) == ["a", "b", "c", "d", "f", "n"]
    assert ids(None, True) == ids(DocumentState.SEARCHABLE, True) == ["b", "d"]
    assert ids(None, False) == ["a", "c", "f", "n"]
    assert ids(DocumentState.PENDING, True) == []
    world.fail(world.send(new("b", "newer")))
    world.documents.delete(world.id, ["d"])
    assert (ids(None, True), world.collections.counts(world.id).updates_pending) == ([], 0)


def test_a_page_of_documents_ends_with_the_one_that_makes_it_large(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(document_pages, "PAGE_CHARACTERS", 100)
    world.send(new("a", "x" * 40), new("b", "x" * 10, "x" * 40, key="x" * 20), new("c", "x" * 200), new("d"))
    listed, after = [], None
    while page := world.documents.list(world.id, None, 10, after):
        listed.append(([document.external_id for document in page], document_pages.is_full(page, 10)))
        after = page[-1].external_id
    assert listed == [(["a", "b"], True), (["c"], True), (["d"], False)]


def test_a_document_that_is_not_there_is_not_found(world: World) -> None:
    world.add(new("a"))
    world.documents.delete(world.id, ["a"])
    for id_ in ("a", "b"):
        with pytest.raises(NotFound, match=f"document '{id_}' does not exist"):
            world.documents.get(world.id, id_)


def test_passages_come_with_their_own_text_in_any_script(world: World) -> None:
    world.add(new("a", "añ😀bc日本", "T", lang="mix", nested={"x": [1, None, "é"]}))
    [entry] = world.read_log()
    first, second = entry.passage_ids.tolist()
    rows = world.documents.passages(world.id, [second, first, 999])
    assert set(rows) == {first, second}
    row = rows[second]
    assert (row.external_id, row.title, row.text, row.span) == ("a", "T", "bc日本", Span(3, 7))
    assert dict(row.metadata) == {"lang": "mix", "nested": {"x": [1, None, "é"]}}


def test_passages_of_other_collections_and_deleted_documents_are_left_out(world: World) -> None:
    other = World(world.database, "other", world.clock)
    world.add(new("a"))
    other.add(new("a"), new("b"))
    ids = [i for entry in other.read_log() for i in entry.passage_ids.tolist()]
    assert world.documents.passages(world.id, ids) == {}
    other.documents.delete(other.id, ["b"])
    assert {row.external_id for row in other.documents.passages(other.id, ids).values()} == {"a"}
    assert world.documents.passages(world.id, []) == {}


def test_deleting_removes_content_and_says_how_many_there_were(world: World) -> None:
    world.add(new("a"), new("b"))
    world.fail(world.send(new("f")))
    deleted, seq = world.documents.delete(world.id, ["a", "f", "a", "nope"])
    assert (deleted, seq, world.seq) == (2, 2, 2)
    assert world.counts() == (1, 0, 0)
    assert world.collections.counts(world.id).passages == 2
    assert world.documents.delete(world.id, ["a"]) == (0, 2)
    with pytest.raises(NotFound, match="the collection does not exist any more"):
        world.documents.delete(99, ["a"])


def test_deleting_ends_the_wait_of_jobs(world: World) -> None:
    world.add(new("a", "one"))
    accepted = world.send(new("a", "two"), new("b"))
    world.documents.delete(world.id, ["a", "b"])
    assert world.progress(accepted.job_id) == ("succeeded", 2, 2, 0)
    assert world.counts() == (0, 0, 0)
    assert world.batches.claim(accepted.batch_ids[0], 60) is None


def test_more_ids_than_one_statement_takes_are_deleted_together(world: World) -> None:
    ids = [f"{i:04}" for i in range(1100)]
    world.add(*(new(id_) for id_ in ids))
    seq = world.seq
    assert world.documents.delete(world.id, ids) == (1100, seq + 1)
    assert world.collections.counts(world.id).passages == 0


def test_passages_of_one_document_come_in_order_with_their_vectors(world: World) -> None:
    world.add(new("a", "first text"), new("b", "other"))
    rows, found = world.documents.embedded_passages(world.id, "a")
    assert [row.external_id for row in rows] == ["a"] * len(rows)
    assert [row.span.start for row in rows] == sorted(row.span.start for row in rows)
    followed = {int(i): v for e in world.read_log() for i, v in zip(e.passage_ids, e.vectors, strict=True)}
    for row, vector in zip(rows, found, strict=True):
        assert np.array_equal(followed[row.passage_id], vector)
    world.documents.delete(world.id, ["a"])
    assert world.documents.embedded_passages(world.id, "a")[0] == []


def test_replacements_are_the_present_passages_of_the_documents_asked_for(world: World) -> None:
    other = World(world.database, "other", world.clock)
    other.add(new("a", "elsewhere"))
    world.add(new("a", "old text"), new("b", "other"), new("gone", "text"), new("empty", ""))
    world.add(new("a", "new text", "title"))
    world.send(new("pending"))
    ids = document_ids(world)
    world.documents.delete(world.id, ["gone"])
    elsewhere = other.read_log()[0].document_id
    asked = [ids["gone"], ids["a"], ids["empty"], elsewhere, 999]
    found = world.documents.replacements(world.id, asked)
    assert found.keys() == {ids["a"]}
    rows, array = found[ids["a"]]
    assert [row.text for row in rows] == ["new ", "text"]
    np.testing.assert_array_equal(array, vectors("title", "new text"))
    expected_rows, expected = world.documents.embedded_passages(world.id, "a")
    assert rows == expected_rows
    np.testing.assert_array_equal(array, expected)
    assert world.documents.replacements(world.id, []) == {}


@pytest.mark.parametrize("impossible", ["\ud800", "a\udfff", "a\0"])
def test_ids_that_no_database_takes_do_not_exist(world: World, impossible: str) -> None:
    world.add(new("a"), new("b"))
    with pytest.raises(NotFound, match="does not exist in this collection"):
        world.documents.get(world.id, impossible)
    assert world.documents.embedded_passages(world.id, impossible)[0] == []
    assert world.documents.delete(world.id, [impossible]) == (0, 1)
    assert world.documents.delete(world.id, [impossible, "a"]) == (1, 2)


def test_documents_that_changed_since_or_await_a_new_version_are_not_deleted(world: World) -> None:
    world.add(*(new(id_) for id_ in ("same", "again", "changed", "retitled", "gone")))
    world.send(new("pending"))
    seq, ids = world.seq, document_ids(world)
    accepted = world.send(new("again", "a new text"))
    world.add(new("changed", "other text"))
    world.send(new("retitled", n=1))
    world.documents.delete(world.id, ["gone"])
    before = world.seq
    assert world.documents.delete_unchanged(world.id, [*ids.values(), 999], seq) == (1, before + 1)
    assert {d.external_id for d in world.documents.list(world.id, None, 10, None)} == {
        "again", "changed", "retitled", "pending",
    }  # fmt: skip
    world.encode(accepted)
    assert world.state("again") is DocumentState.SEARCHABLE


def test_deleting_unchanged_documents_of_another_collection_does_nothing(world: World) -> None:
    world.add(new("a"))
    other = World(world.database, "other", world.clock)
    head = other.seq
    assert other.documents.delete_unchanged(other.id, list(document_ids(world).values()), 9) == (0, head)
    assert world.documents.delete_unchanged(world.id, list(document_ids(world).values()), 9) == (1, 2)
    with pytest.raises(NotFound, match="the collection does not exist any more"):
        world.documents.delete_unchanged(99, [1], 9)
