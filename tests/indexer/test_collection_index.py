"""Random programs of changes, and compactions against brute force; searches beside changes."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from core.errors import EncoderMismatch
from core.index_types import LogEntry, LogPage
from core.types import Collection
from indexer.collection_index import CollectionIndex
from indexer.main_index import Build, BuildCancelled
from tests.indexer.fakes import D, FakeDatabase, assert_same_hits, brute_force, unit_rows


def catch_up(index: CollectionIndex, database: FakeDatabase, collection_id: int, limit: int = 1000) -> None:
    while True:
        page = database.read(collection_id, index.cursor, limit)
        index.apply(page)
        if page.is_last:
            return


class RandomProgram(RuleBasedStateMachine):
    """What is applied equals what the database holds, whatever happened in between."""

    def __init__(self) -> None:
        super().__init__()
        self.database = FakeDatabase()
        self.id = self.database.add_collection("news").id
        self.index = CollectionIndex(D, "auto")
        self.rng = np.random.default_rng(0)

    @property
    def collection(self) -> Collection:
        return self.database.collections[self.id]

    @rule(documents=st.lists(st.tuples(st.integers(1, 30), st.integers(0, 4)), min_size=1, max_size=12))
    def change(self, documents: list[tuple[int, int]]) -> None:
        self.database.put(self.id, {id_: unit_rows(self.rng, n) for id_, n in documents})

    @rule(document=st.integers(1, 30))
    def change_metadata(self, document: int) -> None:
        if document in self.database.documents[self.id]:
            self.database.touch(self.id, document)

    @rule(limit=st.integers(1, 5))
    def apply_one_page(self, limit: int) -> None:
        page = self.database.read(self.id, self.index.cursor, limit)
        self.index.apply(page)
        self.index.apply(page)

    @rule(anew=st.booleans())
    def compact(self, anew: bool) -> None:
        if anew:
            self.index = CollectionIndex(D, "auto", self.index.capture())
        assert self.index.compact()

    @rule(documents=st.lists(st.integers(1, 30), min_size=1, max_size=6))
    def change_while_compacting(self, documents: list[int]) -> None:
        def change() -> bool:
            self.database.put(self.id, {id_: unit_rows(self.rng, id_ % 3) for id_ in documents})
            catch_up(self.index, self.database, self.id)
            return False

        self.index.compact(Build("auto", is_cancelled=change))

    @rule(k=st.integers(1, 40))
    def search(self, k: int) -> None:
        catch_up(self.index, self.database, self.id, limit=3)
        queries = unit_rows(self.rng, 3).astype(np.float32)
        rows = self.database.rows(self.id)
        for query, hits in zip(queries, self.index.view.search(queries, k), strict=True):
            assert_same_hits(hits, brute_force(rows, query, k))
        assert self.index.applied_seq == self.collection.seq
        assert self.index.stats().passages == len(rows[0])

    @invariant()
    def counts_add_up(self) -> None:
        stats, state = self.index.stats(), self.index.capture()
        assert stats.passages + stats.deleted == len(state.alive)
        assert stats.passages == self.index.view.passages


TestRandomProgram = RandomProgram.TestCase
TestRandomProgram.settings = settings(
    max_examples=25, stateful_step_count=25, deadline=None, derandomize=True
)


def test_a_change_of_metadata_moves_nothing() -> None:
    database, index = FakeDatabase(), CollectionIndex(D, "auto")
    id_ = database.add_collection("news").id
    database.put(id_, {1: unit_rows(np.random.default_rng(0), 3)})
    catch_up(index, database, id_)
    for compact in (False, True):
        if compact:
            index.compact()
        database.touch(id_, 1)
        catch_up(index, database, id_)
        stats = index.stats()
        assert (stats.passages, stats.deleted, stats.applied_seq) == (3, 0, database.collections[id_].seq)


def test_reused_passage_ids_with_other_vectors_are_replaced() -> None:
    index, rng = CollectionIndex(D, "auto"), np.random.default_rng(0)
    ids = np.array([1, 2])
    old, new = unit_rows(rng, 2), unit_rows(rng, 2)
    index.apply(LogPage((LogEntry(5, 1, ids, old),), (1, 5), 1, True))
    index.apply(LogPage((LogEntry(5, 2, ids, new),), (2, 5), 2, True))
    (hit,) = index.view.search(new[:1].astype(np.float32), 3)[0]
    assert hit.score == pytest.approx(1.0, abs=1e-3)


def test_vectors_of_another_encoder_are_refused_before_any_change() -> None:
    index, rng = CollectionIndex(D, "auto"), np.random.default_rng(0)
    good = LogEntry(1, 1, np.array([1]), unit_rows(rng, 1))
    bad = LogEntry(2, 1, np.array([2]), unit_rows(rng, 1, d=D + 1))
    with pytest.raises(EncoderMismatch, match="Document 2"):
        index.apply(LogPage((good, bad), (1, 2), 1, True))
    assert index.stats().passages == 0
    assert index.cursor == (0, 0)


def test_a_vector_that_is_not_finite_keeps_its_document_findable(caplog: pytest.LogCaptureFixture) -> None:
    index = CollectionIndex(D, "auto")
    vectors = np.full((1, D), np.nan, dtype=np.float16)
    index.apply(LogPage((LogEntry(1, 1, np.array([1]), vectors),), (1, 1), 1, True))
    assert index.view.search(np.eye(1, D, dtype=np.float32), 3)[0][0].document_id == 1
    assert "vector_not_finite" in caplog.text


def test_old_views_stay_as_they_were() -> None:
    database, index, rng = FakeDatabase(), CollectionIndex(D, "auto"), np.random.default_rng(0)
    id_ = database.add_collection("news").id
    query = unit_rows(rng, 1).astype(np.float32)
    kept = []
    for step in range(12):
        database.put(id_, {step: unit_rows(rng, 40), step // 2: unit_rows(rng, step % 3)})
        catch_up(index, database, id_)
        kept.append((index.view, index.view.search(query, 20)))
        if step % 4 == 3:
            index.compact()
    for view, hits in kept:
        assert view.search(query, 20) == hits


def test_a_compaction_given_up_leaves_all_as_it_was() -> None:
    database, index = FakeDatabase(), CollectionIndex(D, "auto")
    id_ = database.add_collection("news").id
    database.put(id_, {1: unit_rows(np.random.default_rng(0), 3)})
    catch_up(index, database, id_)
    view = index.view
    with pytest.raises(BuildCancelled):
        index.compact(Build("auto", is_cancelled=lambda: True))
    assert index.view is view
    assert index.compact()
    assert (index.stats().delta, index.stats().recall_at_10) == (0, 1.0)


def test_many_dead_rows_are_left_behind_by_a_compaction() -> None:
    database, index, rng = FakeDatabase(), CollectionIndex(D, "auto"), np.random.default_rng(0)
    id_ = database.add_collection("news").id
    database.put(id_, {i: unit_rows(rng, 2) for i in range(100)})
    catch_up(index, database, id_)
    index.compact()
    database.put(id_, {i: unit_rows(rng, 0) for i in range(5)})
    catch_up(index, database, id_)
    index.compact()
    assert index.stats().deleted == 10  # few: main was extended
    database.put(id_, {i: unit_rows(rng, 0) for i in range(50)})
    catch_up(index, database, id_)
    index.compact()
    assert (index.stats().deleted, index.stats().passages) == (0, 100)


@pytest.mark.parametrize("setting", ["auto", "HNSW8"])
def test_searches_beside_changes_see_only_states_that_existed(setting: str) -> None:
    """Vectors of document i in its version v are known; a hit must be a version alive during the search."""
    index, rng = CollectionIndex(D, setting), np.random.default_rng(0)
    born: dict[int, int] = {}  # passage id -> seq of its page
    died: dict[int, int] = {}
    errors: list[str] = []
    is_over = threading.Event()

    def search(seed: int) -> None:
        rng = np.random.default_rng(seed)
        while not is_over.is_set():
            before = index.applied_seq
            hits = index.view.search(unit_rows(rng, 2).astype(np.float32), 10)
            after = index.applied_seq + 1  # a page may be visible before its seq is read here
            errors.extend(
                f"passage {hit.passage_id} between {before} and {after}"
                for hit in hits[0] + hits[1]
                if born[hit.passage_id] > after or died.get(hit.passage_id, after + 1) <= before
            )
            if any(len({hit.document_id for hit in one}) != len(one) for one in hits):
                errors.append("a document twice")

    def compact() -> None:
        while not is_over.is_set():
            index.compact()

    def guarded(work: object, *args: int) -> None:
        try:
            work(*args)  # type: ignore[operator]
        except Exception as error:
            errors.append(repr(error))

    threads = [threading.Thread(target=guarded, args=(search, seed)) for seed in range(3)]
    threads.append(threading.Thread(target=guarded, args=(compact,)))
    for thread in threads:
        thread.start()
    alive: dict[int, list[int]] = {}
    passage = 0
    for seq in range(1, 301):
        entries = []
        for document in sorted(rng.choice(60, 5, replace=False).tolist()):
            vectors = unit_rows(rng, int(rng.integers(0, 4)))
            ids = np.arange(passage, passage + len(vectors), dtype=np.int64)
            passage += len(vectors)
            born.update(dict.fromkeys(ids.tolist(), seq))
            died.update(dict.fromkeys(alive.get(document, []), seq))
            alive[document] = ids.tolist()
            entries.append(LogEntry(document, seq, ids, vectors))
        index.apply(LogPage(tuple(entries), (seq, entries[-1].document_id), seq, True))
    is_over.set()
    for thread in threads:
        thread.join(60)
    assert not errors, errors[:5]
    assert index.stats().passages == sum(map(len, alive.values()))
