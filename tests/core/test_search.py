"""The search use case over a fake index and a fake database."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest

from core.document_set import DocumentSet
from core.errors import InvalidInput, NotFound, Unavailable
from core.filters import AnyOf, Filter
from core.fusion import Component, Fusion
from core.index_types import Facet, IndexHit, PassageRow, PassageVectors
from core.rerank import BiEncoderReranker, RerankLimits, RerankService
from core.search import SearchResult, SearchService
from core.search_request import SearchLimits, SearchRequest, WeightedQuery
from core.types import Collection, CollectionSettings, Float32, Float64, Int64, SearchDefaults, Span
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

    def lexical_scores(self, text: str, document_ids: Int64) -> tuple[Float64, Int64]:
        words = {hit.document_id: hit for hit in self.words.get(text, [])}
        found = [words.get(document, IndexHit(document, -1, 0.0)) for document in document_ids.tolist()]
        return np.array([hit.score for hit in found]), np.array([hit.passage_id for hit in found])

    def select(self, filter_: Filter) -> DocumentSet:
        """Documents with an even number."""
        return DocumentSet.of(np.arange(0, 1000, 2))

    def facets(self, fields: Sequence[str], allowed: DocumentSet | None) -> dict[str, Facet]:
        raise AssertionError

    def coverage(self, text: str, document_ids: Int64) -> list[IndexHit]:
        words = [hit for hit in self.words.get(text, []) if hit.document_id in document_ids]
        return [hit._replace(score=hit.score / 10) for hit in words]

    def vectors(self, document_ids: Int64) -> PassageVectors:
        """Neighbouring pairs are the same vector."""
        vectors = np.stack([np.eye(8, dtype=np.float32)[i // 2 % 8] for i in document_ids])
        return PassageVectors(document_ids, document_ids, vectors)

    def stem(self, word: str) -> str:
        return word.lower()

    @property
    def keeps_beginnings(self) -> bool:
        return True


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

    def newest(self, collection: Collection) -> Collection:
        return collection

    def wait_for(self, collection: Collection, seq: int, timeout_s: float) -> bool:
        return self.in_time


@dataclass
class Rows:
    """Documents `gone` are deleted, those `replaced` have one other passage, of number 1,000 + id."""

    gone: set[int]
    replaced: dict[int, Float32] = field(default_factory=dict)
    stored: dict[str, Any] = field(default_factory=dict)
    texts: dict[int, str] = field(default_factory=dict)

    def embedded_passages(self, collection_id: int, external_id: str) -> Any:
        return [], self.stored.get(external_id, np.empty((0, 0)))

    def replacements(self, collection_id: int, document_ids: list[int]) -> Any:
        return {
            i: ([PassageRow(1000 + i, f"d{i}", "title", "new", Span(0, 3), {})], self.replaced[i][None])
            for i in document_ids
            if i in self.replaced
        }

    def passages(self, collection_id: int, passage_ids: list[int]) -> dict[int, PassageRow]:
        return {
            i: PassageRow(i, f"d{i}", "title", self.texts.get(i, "the text"), Span(0, 8), {})
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
        "reranking": RerankService(BiEncoderReranker(ENCODER, ENCODER.info.max_tokens), RerankLimits()),
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
        (SearchRequest("q", diversity=0.5, offset=195), "with diversity it must be at most 100"),
        (SearchRequest("q", rerank=True, k=51), "with rerank it must be at most 50"),
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


def test_a_collection_made_again_is_not_waited_for_under_its_earlier_row() -> None:
    collections, view = Collections(), View(hits(6))
    searching = service(view, collections=collections)
    searching.search("news", dense("q", k=3))
    collections.present = replace(COLLECTION, id=2, uid="v")
    waits = []

    def wait_for(collection: Collection, seq: int, timeout_s: float) -> bool:
        waits.append((collection.id, timeout_s))
        return collection.id == 2

    searching.indexes.wait_for = wait_for  # type: ignore[method-assign]
    searching.search("news", dense("q", k=3, min_seq=1))
    assert waits == [(1, 0), (2, SearchLimits().min_seq_timeout_s)]


def ids(result: SearchResult) -> list[str]:
    return [hit.passage.external_id for hit in result.hits]


def test_hybrid_is_the_default_and_shows_both_components_with_ranks() -> None:
    view = View(hits(20), {"a query": [IndexHit(7, 7, 9.0), IndexHit(3, 3, 4.0)]})
    result = service(view).search("news", SearchRequest("a query", k=2))
    assert (result.mode, ids(result)) == ("hybrid", ["d7", "d3"])
    best = result.hits[0]
    assert best.dense == Component(view.hits[7].score, 8)
    assert best.lexical == Component(0.9, 1)
    weight = Fusion().dense_weight
    assert best.score == pytest.approx(weight * view.hits[7].score + (1 - weight) * 0.9)


def test_hits_of_one_side_get_their_score_on_the_other() -> None:
    """Document 500 is not among the nearest that are fused."""
    view = View(hits(600), {"q": [IndexHit(500, 500, 9.0)] + [IndexHit(i, i, 8.0) for i in range(200, 330)]})
    result = service(view).search("news", SearchRequest("q", k=3, fusion=Fusion(dense_weight=0.2)))
    by_id = {hit.passage.external_id: hit for hit in result.hits}
    assert by_id["d500"].dense == Component(view.hits[500].score, None)
    assert by_id["d500"].lexical == Component(0.9, 1)


def test_pages_continue_each_other() -> None:
    words = [IndexHit(i, i, 9 - i / 100) for i in range(60, 160)]
    searching = service(View(hits(200), {"q": words}))
    whole = ids(searching.search("news", SearchRequest("q", k=90)))
    pages = [
        ids(searching.search("news", SearchRequest("q", k=9, offset=start))) for start in range(0, 90, 9)
    ]
    assert [name for page in pages for name in page] == whole


def test_by_words_only_documents_that_hold_them_answer() -> None:
    view = View(hits(20), {"q": [IndexHit(4, 4, 2.0)]})
    result = service(view).search("news", SearchRequest("q", mode="lexical"))
    assert (ids(result), result.hits[0].dense, view.queries) == (["d4"], None, [])


def test_a_filter_keeps_both_sides_to_its_documents() -> None:
    view = View(hits(20), {"q": [IndexHit(3, 3, 9.0), IndexHit(4, 4, 2.0)]})
    result = service(view).search("news", SearchRequest("q", k=4, filter=AnyOf("f", ("x",))))
    assert ids(result) == ["d4", "d0", "d2", "d6"]


def test_several_queries_are_added_by_their_weights() -> None:
    view = View(hits(20), {"cat": [IndexHit(1, 1, 6.0), IndexHit(2, 2, 6.0)], "dog": [IndexHit(2, 2, 4.0)]})
    both = (WeightedQuery("cat", 3.0), WeightedQuery("dog", -1.0))
    result = service(view).search("news", SearchRequest(queries=both, mode="lexical"))
    assert [(hit.passage.external_id, hit.score) for hit in result.hits] == [("d1", 4.5), ("d2", 3.5)]
    service(view).search("news", SearchRequest(queries=both, mode="dense"))
    cat, dog = ENCODER.encode_queries(["cat", "dog"])
    np.testing.assert_allclose(view.queries[-1], 0.75 * cat - 0.25 * dog, atol=1e-6)


def test_like_searches_by_the_mean_of_the_documents_and_leaves_them_out() -> None:
    view, rows = View(hits(6)), Rows(set())
    rows.stored = {"d0": np.eye(2, 64)[:1], "d1": np.eye(2, 64)[1:]}
    result = service(view, rows).search("news", SearchRequest(like=("d0", "d1"), k=3))
    assert (result.mode, ids(result)) == ("dense", ["d2", "d3", "d4"])
    np.testing.assert_allclose(view.queries[-1][:2], [2**-0.5, 2**-0.5], atol=1e-3)
    with pytest.raises(NotFound, match="'d9' is not searchable"):
        service(view, rows).search("news", SearchRequest(like=("d9",)))


def test_a_threshold_drops_hits_below_it() -> None:
    found = service(View(hits(20))).search("news", dense("q", score_threshold=0.998))
    assert ids(found) == ["d0", "d1", "d2"]


def test_diversity_puts_unlike_hits_first_on_every_page() -> None:
    searching = service(View(hits(16)))
    whole = ids(searching.search("news", dense("q", k=8, diversity=0.9)))
    assert whole == [f"d{i}" for i in range(0, 16, 2)]
    assert ids(searching.search("news", dense("q", k=4, offset=4, diversity=0.9))) == whole[4:]


def test_a_replaced_document_keeps_its_place_among_hybrid_hits() -> None:
    view = View(hits(6), {"q": [IndexHit(3, 3, 9.0)]})
    result = service(view, Rows(set(), {3: ENCODER.encode_queries(["q"])[0]})).search(
        "news", SearchRequest("q")
    )
    assert (result.hits[0].passage.external_id, result.hits[0].passage.text) == ("d3", "new")


def test_reranked_hits_are_ordered_and_scored_by_the_reranker_on_every_page() -> None:
    rows = Rows(set(), texts={30: "a cat", 40: "a cat on a mat"})
    searching = service(View(hits(60)), rows)
    result = searching.search("news", dense("cat on mat", k=3, rerank=True))
    assert ids(result) == ["d40", "d30", "d0"]
    first = result.hits[0]
    assert (first.dense, first.rerank) == (Component(hits(60)[40].score, 41), Component(first.score, 1))
    rest = searching.search("news", dense("cat on mat", k=48, offset=2, rerank=True))
    assert ids(rest)[0] == "d0"
    assert "d55" not in ids(rest)


def test_hits_that_were_not_reranked_are_not_compared_with_those_that_were() -> None:
    searching = service(View(hits(120)), Rows(set(), texts={30: "a cat"}))
    mixed = searching.search("news", dense("cat", k=50, rerank=True, diversity=0.5))
    assert all(hit.rerank is not None for hit in mixed.hits)
    by_default = Collections(replace(COLLECTION, search=SearchDefaults(rerank=True)))
    searching = service(View(hits(120)), Rows(set(), texts={30: "a cat"}), collections=by_default)
    assert sum(hit.rerank is None for hit in searching.search("news", dense("cat", k=80)).hits) == 30
    kept = searching.search("news", dense("cat", k=80, score_threshold=0.3)).hits
    assert 0 < len(kept) <= 50
    assert all(hit.rerank is not None for hit in kept)


def test_what_a_request_leaves_open_the_collection_decides() -> None:
    defaults = SearchDefaults("lexical", rerank=True)
    collections = Collections(replace(COLLECTION, search=defaults))
    view = View(hits(20), {"cat": hits(9)})
    searching = service(view, Rows(set(), texts={8: "a cat"}), collections=collections)
    result = searching.search("news", SearchRequest("cat", k=2))
    assert (result.mode, ids(result)) == ("lexical", ["d8", "d0"])
    result = searching.search("news", SearchRequest("cat", k=2, mode="dense", rerank=False))
    assert (result.mode, ids(result)) == ("dense", ["d0", "d1"])


def test_pages_of_several_queries_continue_one_another() -> None:
    rng = np.random.default_rng(0)
    order = [rng.permutation(300), rng.permutation(300)]
    words = {
        name: [IndexHit(int(i), int(i), 9 - place / 50) for place, i in enumerate(places)]
        for name, places in zip(("cat", "dog"), order, strict=True)
    }
    searching = service(View(hits(300), words))
    both = (WeightedQuery("cat"), WeightedQuery("dog", -0.5))
    for mode in ("lexical", "hybrid"):
        whole = ids(searching.search("news", SearchRequest(queries=both, k=90, mode=mode)))
        pages = [
            ids(searching.search("news", SearchRequest(queries=both, k=10, offset=start, mode=mode)))
            for start in range(0, 90, 10)
        ]
        assert [name for page in pages for name in page] == whole


def test_a_collection_made_anew_is_searched_though_the_old_one_refuses() -> None:
    class Emptied(View):
        def select(self, filter_: Filter) -> DocumentSet:
            raise InvalidInput("Field 'f' is unknown")

    collections = Collections()
    searching = service(View(hits(6)), collections=collections)
    searching.search("news", SearchRequest("q", k=3))
    collections.present = replace(COLLECTION, id=2)
    views = {1: Emptied([]), 2: View(hits(6))}
    indexes: Any = searching.indexes
    indexes.view = lambda collection: views[collection.id]
    assert len(searching.search("news", SearchRequest("q", k=3, filter=AnyOf("f", ("x",)))).hits) == 3
