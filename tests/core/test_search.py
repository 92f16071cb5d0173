"""The search use case over a fake index and a fake database."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import InvalidInput, NotFound, Unavailable
from core.search import SearchLimits, SearchRequest, SearchService, highlights, query_words
from core.types import Collection, CollectionSettings, Float32, IndexHit, PassageRow, Span
from tests.fakes import FakeEncoder

ENCODER = FakeEncoder()
COLLECTION = Collection(1, "u", "news", "", ENCODER.info, CollectionSettings(), 7, 0, datetime.now(UTC))


@dataclass
class Collections:
    """Counts how often the collection's row is read; None is a collection that is deleted."""

    present: Collection | None = COLLECTION
    opened: int = 0

    def open(self, name: str) -> Collection:
        self.opened += 1
        if self.present is None:
            raise NotFound(name)
        return self.present


@dataclass
class View:
    """Ranks `hits` by vectors and `words` by words, whatever is asked; passage i belongs to document i."""

    hits: list[IndexHit]
    words: dict[str, list[IndexHit]] = field(default_factory=dict)
    seq: int = 7
    asked: list[int] = field(default_factory=list)
    queries: list[Float32] = field(default_factory=list)

    def dense(self, xq: Float32, k: int, allowed: DocumentSet | None = None) -> list[list[IndexHit]]:
        self.asked.append(k)
        self.queries += list(xq)
        return [kept(self.hits, allowed)[:k] for _ in xq]

    def dense_scores(self, query: Float32, document_ids: Int64) -> list[IndexHit]:
        return [hit for hit in self.hits if hit.document_id in document_ids]

    def lexical(self, text: str, k: int, allowed: DocumentSet | None = None) -> list[IndexHit]:
        return kept(self.words.get(text, []), allowed)[:k]

    def lexical_scores(self, text: str, document_ids: Int64) -> list[IndexHit]:
        return [hit for hit in self.words.get(text, []) if hit.document_id in document_ids]

    def select(self, filter_: Filter) -> DocumentSet:
        """Documents with an even number."""
        return DocumentSet.of(np.arange(0, 1000, 2))

    def facets(self, fields: Sequence[str], allowed: DocumentSet | None) -> dict[str, Facet]:
        raise AssertionError

    def vectors(self, passage_ids: Sequence[int]) -> Float32:
        """Neighbouring pairs are the same vector."""
        return np.stack([np.eye(8, dtype=np.float32)[i // 2 % 8] for i in passage_ids])

    def stem(self, word: str) -> str:
        return word.lower()


def kept(found: list[IndexHit], allowed: DocumentSet | None) -> list[IndexHit]:
    members = None if allowed is None else set(allowed.ids().tolist())
    return [hit for hit in found if members is None or hit.document_id in members]


def dense(query: str, **options: Any) -> SearchRequest:
    return SearchRequest(query, mode="dense", **options)


@dataclass
class Indexes:
    the_view: View
    in_time: bool = True

    def view(self, collection: Collection) -> View:
        return self.the_view

    def stats(self, collection: Collection) -> Any:
        raise AssertionError

    def wait_for(self, collection: Collection, seq: int, timeout_s: float) -> bool:
        return self.in_time


@dataclass
class Rows:
    """Documents `gone` are deleted, those `replaced` have one other passage, of number 1,000 + id."""

    gone: set[int]
    replaced: dict[int, Float32] = field(default_factory=dict)

    def replacements(self, collection_id: int, document_ids: list[int]) -> Any:
        return {
            i: ([PassageRow(1000 + i, f"d{i}", "title", "new", Span(0, 3), {})], self.replaced[i][None])
            for i in document_ids
            if i in self.replaced
        }

    def passages(self, collection_id: int, passage_ids: list[int]) -> dict[int, PassageRow]:
        return {
            i: PassageRow(i, f"d{i}", "title", "the text", Span(0, 8), {})
            for i in passage_ids
            if i not in self.gone and i not in self.replaced
        }


def service(
    view: View,
    rows: Rows | None = None,
    in_time: bool = True,
    collections: Collections | None = None,
) -> SearchService:
    parts: dict[str, Any] = {
        "collections": collections or Collections(),
        "encoder": ENCODER,
        "indexes": Indexes(view, in_time),
        "documents": rows or Rows(set()),
        "explain": None,
    }
    return SearchService(**parts, limits=SearchLimits())


def hits(count: int) -> list[IndexHit]:
    return [IndexHit(i, i, 1 - i / 1000) for i in range(count)]


def test_hits_come_in_the_order_of_the_index_with_ranks_from_one() -> None:
    result = service(View(hits(20))).search("news", dense("a query", k=3))
    assert [(hit.passage.external_id, hit.rank) for hit in result.hits] == [("d0", 1), ("d1", 2), ("d2", 3)]
    assert result.seq == 7


def test_an_offset_skips_hits_and_keeps_their_ranks() -> None:
    result = service(View(hits(20))).search("news", dense("a query", k=2, offset=4))
    assert [(hit.passage.external_id, hit.rank) for hit in result.hits] == [("d4", 5), ("d5", 6)]


def test_documents_gone_from_the_database_are_replaced_by_the_next_ones() -> None:
    view = View(hits(50))
    result = service(view, Rows(set(range(12)))).search("news", dense("a query", k=10))
    assert [hit.passage.passage_id for hit in result.hits] == list(range(12, 22))
    assert view.asked[0] == 10
    assert len(view.asked) > 1


def test_a_document_replaced_since_the_view_is_shown_by_its_new_passage() -> None:
    query = ENCODER.encode_queries(["a query"])[0]
    rows = Rows(set(), {0: 0.5 * query, 3: query})
    searching = service(View(hits(6)), rows)
    result = searching.search("news", dense("a query", k=6))
    assert [hit.passage.external_id for hit in result.hits] == ["d3", "d1", "d2", "d4", "d5", "d0"]
    assert [hit.passage.text for hit in result.hits] == ["new", *["the text"] * 4, "new"]
    assert [round(hit.score, 2) for hit in result.hits][::5] == [1.0, 0.5]


def test_an_exhausted_view_returns_what_is_left() -> None:
    result = service(View(hits(5)), Rows({0, 1})).search("news", dense("a query", k=10))
    assert [hit.passage.passage_id for hit in result.hits] == [2, 3, 4]


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        (SearchRequest(" \n"), "'query' is empty"),
        (SearchRequest("q\x00"), "NUL"),
        (SearchRequest("q\ud800"), "surrogate"),
        (SearchRequest("q" * 40_000), "the limit is 32,768"),
        (dense("q", k=0), "k is 0; it must be 1 to 1000"),
        (dense("q", k=-1), "k is -1"),
        (dense("q", k=1_000_000), "k is 1000000"),
        (SearchRequest("q", offset=-1), "offset is -1"),
        (SearchRequest("q", offset=10_000), "at most 10000"),
        (SearchRequest("q", mode="fuzzy"), "mode 'fuzzy' is not known; use hybrid, dense, lexical"),
        (SearchRequest(), "found none of them"),
        (SearchRequest("q", like=("a",)), "found 'query' and 'like'"),
        (SearchRequest(like=("a",), mode="hybrid"), "mode must be dense, not hybrid"),
        (SearchRequest(like=("a",) * 101), "the limit is 100"),
        (SearchRequest(like=("a",), explain=True), "explain needs a 'query'"),
        (SearchRequest(queries=(WeightedQuery("q", 0.0),)), "queries[0].weight is 0.0"),
        (SearchRequest(queries=(WeightedQuery("q", math.nan),)), "queries[0].weight is nan"),
        (SearchRequest(queries=(WeightedQuery("q", -1.0),)), "at least one must be positive"),
        (SearchRequest(queries=(WeightedQuery("q"), WeightedQuery(" "))), "'queries[1].text' is empty"),
        (SearchRequest(queries=(WeightedQuery("q"),) * 17), "the limit is 16"),
        (SearchRequest("q", diversity=1.5), "diversity is 1.5"),
        (SearchRequest("q", diversity=0.5, offset=195), "with diversity it must be at most 200"),
        (SearchRequest("q", rerank=True, k=201), "with rerank it must be at most 200"),
        (SearchRequest("q", score_threshold=math.inf), "score_threshold is inf"),
        (SearchRequest("q", facets=("f",) * 33), "the limit is 32"),
        (SearchRequest("q", min_seq=8), "newest change is 7"),
    ],
)
def test_a_bad_request_is_refused_with_what_is_allowed(request_: SearchRequest, reason: str) -> None:
    with pytest.raises(InvalidInput) as error:
        service(View([])).search("news", request_)
    assert reason in str(error.value)


def test_an_index_that_stays_behind_min_seq_is_unavailable() -> None:
    with pytest.raises(Unavailable):
        service(View([]), in_time=False).search("news", SearchRequest("q", min_seq=7))


def test_a_collection_seen_before_is_looked_up_again_only_when_too_little_is_found() -> None:
    collections = Collections()
    rows = Rows(set())
    searching = service(View(hits(6)), rows, collections=collections)
    for k in (3, 3, 3, 9):
        searching.search("news", dense("q", k=k))
    assert collections.opened == 2
    searching.search("news", dense("q", k=3, min_seq=7))
    assert collections.opened == 2
    with pytest.raises(InvalidInput, match="min_seq"):
        searching.search("news", dense("q", k=3, min_seq=8))
    assert collections.opened == 3


def test_a_collection_deleted_or_replaced_since_it_was_seen_is_noticed() -> None:
    collections, rows, view = Collections(), Rows(set()), View(hits(6))
    searching = service(view, rows, collections=collections)
    searching.search("news", dense("q", k=3))
    rows.gone = set(range(6))
    collections.present = replace(COLLECTION, id=2)
    assert searching.search("news", dense("q", k=3)).hits == ()
    rows.gone = set()
    assert len(searching.search("news", dense("q", k=3)).hits) == 3
    rows.gone = set(range(6))
    collections.present = None
    for _ in range(2):
        with pytest.raises(NotFound):
            searching.search("news", dense("q", k=3))


