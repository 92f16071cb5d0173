"""Use case search with rewrites: the query and other wordings of it, their rankings fused by rank."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from core.blame import blaming, placed
from core.candidates import Candidates
from core.errors import Overloaded, Unavailable
from core.fusion import RRF_K, Component
from core.query_rewrites import QueryRewrite, QueryRewriter
from core.search import RERANKED, Hit, SearchResult, SearchService, is_reranked
from core.search_request import SearchRequest, check_batch, check_request
from core.search_settings import REWRITTEN_DEPTH
from core.types import Lane, PassageText, SearchDefaults

DEPTH: Final = REWRITTEN_DEPTH  # SearchLimits.max_rewritten is half of it


@dataclass(frozen=True, slots=True)
class RewritingSearch:
    """core.search.SearchService for all requests, those with rewrites too.

    A collection's default is left aside while the generator is overloaded or away, and the answer says so; a
    request that asks for rewrites gets the error.
    """

    plain: SearchService
    rewriter: QueryRewriter

    def search(self, name: str, request: SearchRequest) -> SearchResult:
        if _is_rewritten(request, self.plain.defaults(name)):
            return self.search_batch(name, [request])[0]
        return self.plain.search(name, request)

    def search_batch(self, name: str, requests: Sequence[SearchRequest]) -> list[SearchResult]:
        """Results in the order of the requests.

        Raises what SearchService.search_batch raises, and Overloaded where rewrites are asked for.
        """
        check_batch(requests, self.plain.limits)
        defaults = self.plain.defaults(name)
        rewritten = [i for i, request in enumerate(requests) if _is_rewritten(request, defaults)]
        if not rewritten:
            return self.plain.search_batch(name, requests)
        with placed(rewritten):
            found = self._search_rewritten(name, [requests[i] for i in rewritten], defaults)
        results = dict(zip(rewritten, found, strict=True))
        together = [i for i in range(len(requests)) if i not in results]
        if together:
            with placed(together):
                others = self.plain.search_batch(name, [requests[i] for i in together])
            results |= zip(together, others, strict=True)
        return [results[i] for i in range(len(requests))]

    def may_wait(self, name: str, request: SearchRequest) -> bool:
        """Whether it may have to wait long: for the index, or for a model that reads or writes passages."""
        is_rewritten = _is_rewritten(request, self.plain.known_defaults(name))
        return is_rewritten or self.plain.may_wait(name, request)

    def candidates(self, name: str, texts: Sequence[str], wanted: int) -> list[Candidates]:
        """As SearchService.candidates."""
        return self.plain.candidates(name, texts, wanted)

    def scores_of(self, name: str, query: str, external_id: str) -> Hit | None:
        """How the collection's search ranks the document for the query; None if not among the first 200."""
        request = SearchRequest(query, k=DEPTH, highlight=False, rerank=False, rewrite=False)
        (result,) = self.plain.search_batch(name, [request])
        return next((hit for hit in result.hits if hit.passage.external_id == external_id), None)

    def _search_rewritten(
        self, name: str, requests: Sequence[SearchRequest], defaults: SearchDefaults
    ) -> list[SearchResult]:
        for i, request in enumerate(requests):
            with blaming(i):
                check_request(request, self.plain.limits)
        try:
            rewrites = self.rewriter.rewrites([request.query or "" for request in requests])
        except (Overloaded, Unavailable) as error:
            if any(request.rewrite for request in requests):
                raise
            plain = self.plain.search_batch(name, requests)
            return [replace(result, rewrite_problem=str(error)) for result in plain]
        results = []
        for i, (request, wordings) in enumerate(zip(requests, rewrites, strict=True)):
            with blaming(i):
                results.append(self._search(name, request, wordings, defaults))
        return results

    def _search(
        self,
        name: str,
        request: SearchRequest,
        rewrites: tuple[QueryRewrite, ...],
        defaults: SearchDefaults,
    ) -> SearchResult:
        assert request.query is not None  # checked
        texts = [request.query, *(rewrite.text for rewrite in rewrites)]
        results = self.plain.search_batch(name, _inner(request, texts))
        hits = fused([result.hits for result in results])
        if is_reranked(request, defaults):
            # A threshold is on their relevance; those behind them have none.
            others = hits[RERANKED:] if request.score_threshold is None else []
            hits = [*self._reranked(request.query, hits[:RERANKED]), *others]
        result = self._paged(request, results, hits, rewrites)
        if not request.highlight or request.explain:
            return result
        queries = [texts[_shown_by(hit)] for hit in result.hits]
        return replace(result, hits=self.plain.highlighted(name, result.hits, queries))

    def _paged(
        self,
        request: SearchRequest,
        results: Sequence[SearchResult],
        hits: Sequence[Hit],
        rewrites: tuple[QueryRewrite, ...],
    ) -> SearchResult:
        if (least := request.score_threshold) is not None:
            hits = [hit for hit in hits if hit.score >= least]
        page = tuple(
            replace(hit, rank=rank) for rank, hit in enumerate(hits, start=1)
        )[request.offset : request.offset + request.k]  # fmt: skip
        return replace(
            results[0],
            hits=self.plain.explained(request, page) if request.explain else page,
            encode_ms=sum(result.encode_ms for result in results),
            search_ms=sum(result.search_ms for result in results),
            fetch_ms=sum(result.fetch_ms for result in results),
            seq=min(result.seq for result in results),
            rewrites=rewrites,
        )

    def _reranked(self, query: str, hits: Sequence[Hit]) -> list[Hit]:
        """In the order of the reranker's relevance, which becomes their score."""
        passages = [PassageText(hit.passage.title, hit.passage.text) for hit in hits]
        scores = self.plain.reranking.rerank(query, passages, Lane.INTERACTIVE)
        order = np.argsort(-scores, kind="stable").tolist()
        relevance = self.plain.reranking.relevance(scores).tolist()
        return [
            replace(hits[i], score=relevance[i], rerank=Component(relevance[i], place))
            for place, i in enumerate(order, start=1)
        ]


def _is_rewritten(request: SearchRequest, defaults: SearchDefaults) -> bool:
    """As the request says; a collection's default holds for what can be rewritten: one query, no diversity,
    a page within the limit."""
    if request.rewrite is not None:
        return request.rewrite
    fits = request.offset + request.k <= DEPTH // 2
    return bool(defaults.rewrite) and request.query is not None and not request.diversity and fits


def _inner(request: SearchRequest, texts: Sequence[str]) -> list[SearchRequest]:
    """The searches of the wordings: the first hits of each, in the order of its own scores.

    Facets are the same for all, so the first alone counts them; only the page is highlighted, at the end.
    """
    first = replace(
        request, k=DEPTH, offset=0, rerank=False, explain=False, rewrite=False, highlight=False,
        score_threshold=None,
    )  # fmt: skip
    return [first, *(replace(first, query=text, facets=()) for text in texts[1:])]


def _shown_by(hit: Hit) -> int:
    """Number of the first wording that found it."""
    return next(number for number, share in enumerate(hit.by_wording) if share is not None)


def fused(rankings: Sequence[Sequence[Hit]]) -> list[Hit]:
    """All hits by the sum of their reciprocal ranks (Cormack, Clarke, Buettcher 2009, k = 60).

    A hit is shown as the first wording shows it that finds it; `by_wording` holds what each wording adds.
    Scores in the indexes are those of the query itself, or none.
    """
    places = [{hit.passage.external_id: rank for rank, hit in enumerate(hits, start=1)} for hits in rankings]
    shown: dict[str, tuple[int, Hit]] = {}
    for number, hits in enumerate(rankings):
        for hit in hits:
            shown.setdefault(hit.passage.external_id, (number, hit))
    every = [_fused(id_, number, hit, places) for id_, (number, hit) in shown.items()]
    return sorted(every, key=lambda hit: -hit.score)


def _fused(id_: str, number: int, hit: Hit, places: Sequence[dict[str, int]]) -> Hit:
    shares = tuple(
        None if (rank := of_one.get(id_)) is None else Component(1 / (RRF_K + rank), rank)
        for of_one in places
    )
    score = sum(share.score for share in shares if share is not None)
    if number > 0:
        hit = replace(hit, dense=None, lexical=None)
    return replace(hit, score=score, by_wording=shares)
