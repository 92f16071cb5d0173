"""A search in several wordings: their rankings fused by rank, each one's share told."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest

from core.document_set import DocumentSet
from core.errors import InvalidInput, Overloaded, Unavailable
from core.fusion import Fusion
from core.generation_types import GenerationTask
from core.index_types import Facet, IndexHit
from core.query_rewrites import GeneratedRewrites, QueryRewrite
from core.rewrite import RewriteService
from core.rewritten_search import RewritingSearch
from core.search_request import SearchRequest
from core.search_settings import REWRITTEN_DEPTH, Setting, found_by, settings_with
from core.types import Collection, SearchDefaults
from indexer.chunking import sentence_starts
from tests.core.test_generating import service as generation_of
from tests.core.test_search import Indexes, Rows, View, hits, service
from tests.fakes import FakeEncoder, FakeGenerator, FakeRewriter

WORDS = {
    "cats": [IndexHit(1, 1, 3.0), IndexHit(2, 2, 2.0)],
    "felines": [IndexHit(3, 3, 3.0), IndexHit(2, 2, 2.0)],
}
REWRITER = FakeRewriter({"cats": ["felines"]})


@dataclass
class TunedIndexes(Indexes):
    """Whose collections are searched with rewrites unless a request says otherwise."""

    search: SearchDefaults = field(default_factory=lambda: SearchDefaults(rewrite=True))

    def newest(self, collection: Collection) -> Collection:
        return replace(collection, search=self.search)


def searching(rewriter: FakeRewriter = REWRITER, is_default: bool = False) -> RewritingSearch:
    view = View(hits(10), WORDS)
    plain = service(view, Rows(set(), texts={1: "cats here", 3: "felines here"}))
    if is_default:
        indexes: Any = TunedIndexes(view)
        plain = replace(plain, indexes=indexes)
    return RewritingSearch(plain, rewriter)


def lexical(query: str, **options: Any) -> SearchRequest:
    return SearchRequest(query, mode="lexical", **options)


def test_hits_are_fused_by_rank_and_say_what_each_wording_adds() -> None:
    result = searching().search("news", lexical("cats", rewrite=True))
    found = {hit.passage.external_id: hit for hit in result.hits}
    assert result.hits[0].passage.external_id == "d2"
    assert set(found) == {"d1", "d2", "d3"}
    assert [hit.rank for hit in result.hits] == [1, 2, 3]
    for hit in result.hits:
        assert hit.score == pytest.approx(sum(share.score for share in hit.by_wording if share))
    assert [share and share.rank for share in found["d2"].by_wording] == [2, 2]
    assert [share and share.rank for share in found["d3"].by_wording] == [None, 1]
    assert found["d1"].lexical is not None
    assert found["d3"].lexical is None
    assert result.rewrites == (QueryRewrite("felines", GenerationTask.PARAPHRASE),)


@dataclass
class CountingView(View):
    """Counts its facets, and remembers the words that it was asked the stems of."""

    counted: list[Sequence[str]] = field(default_factory=list)
    stemmed: list[str] = field(default_factory=list)

    def facets(self, fields: Sequence[str], allowed: DocumentSet | None) -> dict[str, Facet]:
        self.counted.append(fields)
        return {}

    def stem(self, word: str) -> str:
        self.stemmed.append(word)
        return super().stem(word)


def test_only_the_page_is_highlighted_and_facets_are_counted_once() -> None:
    view = CountingView(hits(10), WORDS)
    search = RewritingSearch(service(view, Rows(set(), texts={1: "cats here", 3: "felines here"})), REWRITER)
    whole = search.search("news", lexical("cats", rewrite=True, facets=("lang",)))
    marked = {
        hit.passage.external_id: [hit.passage.text[s.start : s.end] for s in hit.highlights]
        for hit in whole.hits
    }
    assert (marked["d1"], marked["d3"]) == (["cats"], ["felines"])
    assert view.counted == [("lang",)]
    view.stemmed.clear()
    (one,) = search.search("news", lexical("cats", rewrite=True, k=1)).hits
    assert one.passage.external_id == "d2"
    assert "felines" not in view.stemmed  # it is found by the query itself, and no other is highlighted
    view.stemmed.clear()
    found = search.search("news", lexical("cats", rewrite=True, highlight=False)).hits
    assert ([hit.highlights for hit in found], view.stemmed) == ([()] * 3, [])


def test_without_rewrites_a_search_is_what_it_was() -> None:
    plain = searching().plain.search("news", lexical("cats"))
    for request in (lexical("cats"), lexical("cats", rewrite=False)):
        found = searching().search("news", request)
        assert [(hit.passage, hit.score, hit.by_wording) for hit in found.hits] == [
            (hit.passage, hit.score, ()) for hit in plain.hits
        ]
        assert found.rewrites is None


def test_a_query_without_rewrites_keeps_its_order() -> None:
    found = searching(FakeRewriter()).search("news", lexical("cats", rewrite=True))
    assert [hit.passage.external_id for hit in found.hits] == ["d1", "d2"]
    assert found.rewrites == ()
    assert [[share and share.rank for share in hit.by_wording] for hit in found.hits] == [[1], [2]]


def test_pages_continue_one_another() -> None:
    search = searching()
    whole = search.search("news", lexical("cats", rewrite=True)).hits
    pages = [search.search("news", lexical("cats", rewrite=True, k=1, offset=i)).hits[0] for i in range(3)]
    assert [(hit.passage.external_id, hit.rank) for hit in pages] == [
        (hit.passage.external_id, hit.rank) for hit in whole
    ]


def test_a_batch_mixes_both_kinds_in_order() -> None:
    requests = [lexical("felines"), lexical("cats", rewrite=True), lexical("cats")]
    found = searching().search_batch("news", requests)
    assert [result.hits[0].passage.external_id for result in found] == ["d3", "d2", "d1"]
    assert [result.rewrites is None for result in found] == [True, False, True]


def test_the_collections_default_holds_for_what_can_be_rewritten() -> None:
    search = searching(is_default=True)
    search.search("news", lexical("cats"))
    assert search.search("news", lexical("cats")).rewrites
    assert search.may_wait("news", lexical("cats"))
    assert not search.search("news", lexical("cats", rewrite=False)).rewrites
    assert not search.search("news", lexical("cats", diversity=0.5)).rewrites
    assert not search.search("news", lexical("cats", k=101)).rewrites
    plain = searching()
    assert plain.may_wait("news", lexical("cats"))  # nobody knows yet what its default is
    plain.search("news", lexical("cats"))
    assert not plain.may_wait("news", lexical("cats"))


@pytest.mark.parametrize("problem", [Overloaded("full"), Unavailable("gone")])
def test_a_default_gives_way_to_an_overload_and_says_so_but_a_request_is_refused(problem: Exception) -> None:
    search = searching(FakeRewriter(problem=problem), is_default=True)
    found = search.search("news", lexical("cats"))
    assert [hit.passage.external_id for hit in found.hits] == ["d1", "d2"]
    assert found.rewrite_problem == str(problem)
    with pytest.raises(type(problem)):
        search.search("news", lexical("cats", rewrite=True))


def test_reranking_orders_what_was_fused() -> None:
    found = searching().search("news", lexical("cats", rewrite=True, rerank=True))
    assert found.hits[0].passage.external_id == "d1"
    assert [hit.rerank is not None for hit in found.hits] == [True] * 3
    assert found.hits[0].score == found.hits[0].rerank.score  # type: ignore[union-attr]  # asserted above


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (SearchRequest(like=("d1",), rewrite=True), "rewrite needs a 'query'"),
        (SearchRequest("cats", rewrite=True, k=101), "with rewrite it must be at most 100"),
        (SearchRequest("cats", rewrite=True, diversity=0.2), "do not go together"),
    ],
)
def test_what_cannot_be_rewritten_is_refused(request_: SearchRequest, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        searching().search("news", request_)


def test_a_document_has_the_scores_of_the_search() -> None:
    search = searching()
    found = search.scores_of("news", "cats", "d2")
    assert found is not None
    assert (found.dense is not None, found.lexical is not None) == (True, True)
    assert search.scores_of("news", "cats", "d77") is None


def test_rewrites_of_a_query_are_distinct_and_remembered() -> None:
    generator = FakeGenerator({"uh well old cats": ["Old cats!", "old, cats", "cats that are old"]})
    rewriter = GeneratedRewrites(RewriteService(generation_of(generator), FakeEncoder(), sentence_starts))
    (made,) = rewriter.rewrites(["uh well old cats"])
    assert [(one.text, one.task) for one in made] == [
        ("Old cats!", GenerationTask.CLEAN_QUERY),
        ("cats that are old", GenerationTask.PARAPHRASE),
    ]
    asked = len(generator.asked)
    assert rewriter.rewrites(["uh well old cats"] * 2) == [made, made]
    assert len(generator.asked) == asked


def test_a_query_that_the_generator_cannot_read_has_no_rewrites_and_spoils_none() -> None:
    rewriting = RewriteService(generation_of(FakeGenerator()), FakeEncoder(), sentence_starts)
    good, unreadable = GeneratedRewrites(rewriting).rewrites(["old cats", "word " * 50])
    assert ([one.text for one in good], unreadable) == (["cats old"], ())


def test_what_tuning_compares_is_what_each_setting_finds() -> None:
    """Also what one wording ranks low, whose ranks add up over several."""
    rng = np.random.default_rng(0)
    wordings = ["cats", "felines", "pets", "kittens"]
    words = {
        text: [
            IndexHit(int(i), int(i), 10 - place / 100) for place, i in enumerate(rng.permutation(700)[:450])
        ]
        for text in wordings
    }
    rewriter = FakeRewriter({"cats": wordings[1:]})
    search = RewritingSearch(service(View(hits(700), words)), rewriter)
    found = search.candidates("news", wordings, REWRITTEN_DEPTH)
    for setting in settings_with(Setting("hybrid", Fusion()), with_rewrites=True):
        request = SearchRequest(
            "cats", mode=setting.mode, fusion=setting.fusion, rewrite=setting.is_rewritten, k=10
        )
        served = [hit.passage.external_id for hit in search.search("news", request).hits]
        assert found_by(found, setting, 10) == served
