"""Vectors, words and attributes stay in step: random programs answer as a fresh build does."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tantivy
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from core.filters import AnyOf, Bound, Exists, Not, Range
from core.index_types import IndexHit
from core.ports.stores import holds_nothing
from core.types import Collection
from indexer import collection_index
from indexer.collection_index import CollectionIndex
from indexer.lexical import LexicalIndex
from indexer.lexical_store import LexicalStore
from indexer.search_index import SearchIndex, SearchView
from indexer.snapshot import SnapshotStore
from tests.indexer.fakes import (
    WORDS,
    FakeDatabase,
    assert_same_hits,
    brute_force,
    compact_all,
    search_index,
    unit_rows,
)

FILTERS = (
    AnyOf("kind", ("alpha", "beta")),
    Range("number", Bound(5, True), Bound(20, False)),
    Not(AnyOf("number", (), (7,))),
)


def catch_up(index: SearchIndex, database: FakeDatabase, collection_id: int, limit: int = 1000) -> None:
    while True:
        page = database.read(collection_id, index.cursor, limit, index.held_passages)
        index.apply(page)
        if page.is_last:
            return


def documents(hits: list[IndexHit]) -> list[int]:
    return [hit.document_id for hit in hits]


class RandomProgram(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.place = Path(self.folder.name)
        self.snapshots = SnapshotStore(self.place / "snapshots")
        self.database = FakeDatabase()
        self.id = self.database.add_collection("news").id
        self.index = search_index(self.place)
        self.rng = np.random.default_rng(0)

    @property
    def collection(self) -> Collection:
        return self.database.collections[self.id]

    @rule(documents=st.lists(st.tuples(st.integers(1, 30), st.integers(0, 3)), min_size=1, max_size=12))
    def change(self, documents: list[tuple[int, int]]) -> None:
        self.database.put(self.id, {id_: unit_rows(self.rng, n) for id_, n in documents})

    @rule(document=st.integers(1, 30))
    def change_metadata(self, document: int) -> None:
        if document in self.database.documents[self.id]:
            self.database.touch(self.id, document)

    @rule(limit=st.integers(1, 5), is_told=st.booleans())
    def apply_one_page(self, limit: int, is_told: bool) -> None:
        held = self.index.held_passages if is_told else holds_nothing
        page = self.database.read(self.id, self.index.cursor, limit, held)
        self.index.apply(page)
        self.index.apply(page)

    @rule()
    def compact(self) -> None:
        compact_all(self.index)

    @rule()
    def restart(self) -> None:
        assert self.snapshots.save(self.collection, self.index)
        self.index.close()
        state = self.snapshots.load(self.collection)
        assert state is not None
        self.index = search_index(self.place, state=state)

    @rule(k=st.integers(1, 12), word=st.sampled_from(WORDS))
    def search(self, k: int, word: str) -> None:
        catch_up(self.index, self.database, self.id, limit=3)
        fresh = search_index(self.place)
        catch_up(fresh, self.database, self.id)
        self.compare(self.index.view, fresh.view, k, word)
        fresh.close()

    def compare(self, found: SearchView, fresh: SearchView, k: int, word: str) -> None:
        assert found.seq == fresh.seq == self.collection.seq
        query = unit_rows(self.rng, 1).astype(np.float32)
        rows = self.database.rows(self.id)
        assert_same_hits(found.dense(query, k)[0], brute_force(rows, query[0], k))
        every = 1000
        assert sorted(documents(found.lexical(word, every))) == sorted(documents(fresh.lexical(word, every)))
        if not len(rows[0]):
            return
        for filter_ in FILTERS:
            allowed, expected = found.select(filter_), fresh.select(filter_)
            assert allowed.ids().tolist() == expected.ids().tolist()
            kept = documents(found.dense(query, every, allowed)[0])
            assert sorted(kept) == expected.ids().tolist()
            kept = documents(found.lexical("common", every, allowed))
            assert sorted(kept) == expected.ids().tolist()
        assert found.facets(["kind"]) == fresh.facets(["kind"])

    def teardown(self) -> None:
        self.index.close()
        self.folder.cleanup()


TestRandomProgram = RandomProgram.TestCase
TestRandomProgram.settings = settings(
    max_examples=10, stateful_step_count=20, deadline=None, derandomize=True
)


def test_a_search_of_an_older_view_goes_on_after_changes_compaction_and_close(tmp_path: Path) -> None:
    database, rng = FakeDatabase(), np.random.default_rng(0)
    id_ = database.add_collection("news").id
    index = search_index(tmp_path)
    database.put(id_, {i: unit_rows(rng, 2) for i in range(1, 40)})
    catch_up(index, database, id_)
    view, query = index.view, unit_rows(rng, 1).astype(np.float32)
    before = view.dense(query, 50), view.lexical("alpha", 50), view.select(FILTERS[0]).ids().tolist()
    database.put(id_, {i: unit_rows(rng, i % 2) for i in range(1, 40)})
    catch_up(index, database, id_)
    compact_all(index)
    index.close()
    after = view.dense(query, 50), view.lexical("alpha", 50), view.select(FILTERS[0]).ids().tolist()
    assert after == before


@pytest.fixture
def builders(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of what was called to make a main index or to measure it, or the words anew."""
    called: list[str] = []
    places = [(collection_index, name) for name in ("build_main", "extend_main", "with_measured_recall")]
    for place, name in (*places, (LexicalIndex, "_rebuilt")):
        monkeypatch.setattr(place, name, noted(getattr(place, name), name, called))
    return called


def noted(work: Callable[..., Any], name: str, called: list[str]) -> Callable[..., Any]:
    def call(*given: Any) -> Any:
        called.append(name)
        return work(*given)

    return call


def put(index: SearchIndex, database: FakeDatabase, changed: range, passages: int = 1) -> None:
    rng = np.random.default_rng(0)
    database.put(1, {i: unit_rows(rng, passages) for i in changed})
    catch_up(index, database, 1, limit=10_000)


@pytest.mark.parametrize("removed", [range(90), range(500)])
def test_at_rest_words_are_compacted_without_vectors_that_are_not_due(
    tmp_path: Path, builders: list[str], monkeypatch: pytest.MonkeyPatch, removed: range
) -> None:
    database, index = FakeDatabase(), search_index(tmp_path)
    database.add_collection("news")
    put(index, database, range(3000))
    assert index.compact()
    put(index, database, removed, passages=0)
    builders.clear()
    assert not index.is_compaction_due()
    monkeypatch.setattr("indexer.search_index.REST_AFTER_S", 0.0)
    index.rest()
    assert index.is_compaction_due()
    assert index.compact()
    assert builders == ["_rebuilt"]
    assert len(index.view.document_ids()) == len(index.view.lexical("common", 5000)) == 3000 - len(removed)
    assert not index.is_compaction_due()
    index.close()


def test_while_writing_vectors_are_compacted_without_words_that_are_not_due(
    tmp_path: Path, builders: list[str]
) -> None:
    database, index = FakeDatabase(), search_index(tmp_path)
    database.add_collection("news")
    put(index, database, range(3000))
    assert index.compact()
    assert builders == ["build_main", "with_measured_recall"]
    index.close()


def test_nothing_is_compacted_that_is_not_due(tmp_path: Path, builders: list[str]) -> None:
    database, index = FakeDatabase(), search_index(tmp_path)
    database.add_collection("news")
    put(index, database, range(50))
    assert not index.compact()
    assert builders == []
    index.close()


@pytest.mark.parametrize("is_compacted", [False, True])
def test_a_change_of_metadata_alone_leaves_vectors_and_words_as_they_are(
    tmp_path: Path, is_compacted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    database, rng = FakeDatabase(), np.random.default_rng(0)
    id_ = database.add_collection("news").id
    index = search_index(tmp_path)
    database.put(id_, {i: unit_rows(rng, 2) for i in range(1, 40)})
    catch_up(index, database, id_)
    if is_compacted:
        compact_all(index)
    query, before, stats = unit_rows(rng, 1).astype(np.float32), index.view, index.stats()
    for document in range(1, 30):
        database.touch(id_, document)
    with monkeypatch.context() as patch:
        patch.setattr(LexicalStore, "add", refuse)
        patch.setattr(LexicalStore, "delete", refuse)
        catch_up(index, database, id_)
    after = index.view
    assert after.words is before.words
    assert after.dense(query, 50) == before.dense(query, 50)
    assert after.lexical("alpha", 50) == before.lexical("alpha", 50)
    assert (index.stats().delta, index.stats().deleted) == (stats.delta, stats.deleted)
    assert len(after.select(Exists("touched")).ids()) == 29
    index.close()


def test_the_working_folder_is_removed_at_the_end(tmp_path: Path) -> None:
    index = search_index(tmp_path)
    index.close()
    assert list(tmp_path.iterdir()) == []


def test_an_index_that_took_a_page_by_halves_shows_and_saves_nothing_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database, rng = FakeDatabase(), np.random.default_rng(0)
    id_ = database.add_collection("news").id
    index = search_index(tmp_path)
    database.put(id_, {1: unit_rows(rng, 1)})
    catch_up(index, database, id_)
    view = index.view
    database.put(id_, {2: unit_rows(rng, 1)})
    with monkeypatch.context() as patch:
        patch.setattr(LexicalIndex, "apply", refuse)
        with pytest.raises(OSError, match="full"):
            index.apply(database.read(id_, index.cursor, 10))
    with monkeypatch.context() as patch:
        patch.setattr(CollectionIndex, "is_compaction_due", lambda *_: True)
        assert not index.compact()
    index.rest()
    assert index.view is view
    with pytest.raises(RuntimeError, match="by halves"):
        index.capture(tmp_path / "words")
    assert SnapshotStore(tmp_path / "snapshots").save(database.collections[id_], index) is None
    index.close()


def refuse(*_: object) -> None:
    raise OSError("the disk is full")


def test_words_applied_during_a_compaction_that_fails_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database, rng = FakeDatabase(), np.random.default_rng(0)
    id_ = database.add_collection("news").id
    database.put(id_, {i: unit_rows(rng, 1) for i in range(1, 9)})
    index = LexicalIndex(tmp_path / "words", "en")
    index.apply(database.read(id_, (0, 0), 100).entries)
    rebuilt = LexicalIndex._rebuilt

    def meanwhile(self: LexicalIndex, captured: tantivy.Searcher) -> LexicalStore:
        database.put(id_, {20: unit_rows(rng, 1)})
        self.apply(database.read(id_, (1, 2**62), 100).entries)
        store = rebuilt(self, captured)
        monkeypatch.setattr(store, "add", refuse)
        return store

    monkeypatch.setattr(LexicalIndex, "_rebuilt", meanwhile)
    with pytest.raises(OSError, match="full"):
        index.compact()
    assert documents(index.publish().search("number20", 5)) == [20]
    assert len(index.publish().search("common", 50)) == 9
