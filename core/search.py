"""Use case search: encode what is asked, rank documents, read what is shown from the database."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from core.blame import blaming
from core.candidates import Candidates
from core.collections import CollectionService
from core.diversity import diversified
from core.document_set import DocumentSet
from core.errors import InvalidInput, NotFound, Unavailable
from core.explain import ExplainService, Explanation, highlights_of
from core.fusion import Component, Found, FusedHit
from core.highlighting import highlights, query_stems
from core.index_types import Facet, PassageRow
from core.lengths import truncated
from core.live_hits import LiveHit, LiveHits
from core.ports.indexes import IndexRegistry, IndexView
from core.ports.models import Encoder
from core.ports.stores import DocumentStore
from core.query_rewrites import QueryRewrite
from core.ranking import Subject, both_sides, combined, rank
from core.rerank import RerankService
from core.search_defaults import fusion_of
from core.search_request import Mode, SearchLimits, SearchRequest, check_batch, check_request
from core.types import Collection, Float32, Lane, PassageText, SearchDefaults, Span

RERANKED = 50  # hits that are reranked; those behind them stay where they are
DIVERSIFIED = 100  # hits among which the unlike ones are looked for


@dataclass(frozen=True, slots=True)
class Hit:
    """One document by its best passage; `rank` counts from 1 over all pages.

    `by_wording` is what each wording of the query adds to the score, where it was searched for in several.
    """

    passage: PassageRow
    score: float
    rank: int
    highlights: tuple[Span, ...]
    dense: Component | None = None
    lexical: Component | None = None
    rerank: Component | None = None
    explanation: Explanation | None = None
    by_wording: tuple[Component | None, ...] = ()


@dataclass(frozen=True, slots=True)
class SearchResult:
    """Hits, best first; times in milliseconds; `seq` of the log the index had applied.

    `is_truncated` says that the encoder read only the start of a text that was searched for. `rewrites` are
    wordings that were searched for beside the query, None where none were asked for; `rewrite_problem` says
    why there are none.
    """

    hits: tuple[Hit, ...]
    encode_ms: float
    search_ms: float
    fetch_ms: float
    seq: int
    mode: Mode
    is_truncated: bool = False
    facets: Mapping[str, Facet] = field(default_factory=dict)
    rewrites: tuple[QueryRewrite, ...] | None = None
    rewrite_problem: str = ""


@dataclass(frozen=True, slots=True)
class SearchService:
    """Searches collections by name.

    A collection seen before is searched without a look at its row, and looked up again when a search finds
    fewer documents than it wants, as every search does once the collection is deleted.
    """

    collections: CollectionService
    encoder: Encoder
    indexes: IndexRegistry
    documents: DocumentStore
    explain: ExplainService
    reranking: RerankService
    limits: SearchLimits
    _seen: dict[str, Collection] = field(default_factory=dict)

    def search(self, name: str, request: SearchRequest) -> SearchResult:
        return self.search_batch(name, [request])[0]

    def search_batch(self, name: str, requests: Sequence[SearchRequest]) -> list[SearchResult]:
        """Results in the order of the requests, which are encoded together.

        Raises NotFound, EncoderMismatch, InvalidInput, or Unavailable when `min_seq` is not reached in time;
        `item` of an error is the place of the request at fault.
        """
        for i, request in enumerate(requests):
            with blaming(i):
                check_request(request, self.limits)
        check_batch(requests, self.limits)
        seq = max((request.min_seq or 0 for request in requests), default=0)
        seen = self._seen.get(name)
        if seen is None or not self._has_reached(seen, seq):
            return self._search_all(self._open(name), requests, seq)
        try:
            results = self._search_all(seen, requests, seq)
        except (InvalidInput, NotFound, Unavailable):
            if (present := self._open(name)).id == seen.id:
                raise
            return self._search_all(present, requests, seq)
        is_full = all(len(r.hits) == request.k for r, request in zip(results, requests, strict=True))
        if is_full or (present := self._open(name)).id == seen.id:
            return results
        return self._search_all(present, requests, seq)

    def may_wait(self, name: str, request: SearchRequest) -> bool:
        """Whether it may have to wait long: for the index, or for a model that reads passages.

        A collection never seen must be looked up, and may ask for anything by default.
        """
        if name not in self._seen or request.min_seq or request.explain:
            return True
        return is_reranked(request, self.known_defaults(name))

    def known_defaults(self, name: str) -> SearchDefaults:
        """The collection's as this process last saw them; none of a collection that it never saw."""
        seen = self._seen.get(name)
        return SearchDefaults() if seen is None else self.indexes.newest(seen).search

    def defaults(self, name: str) -> SearchDefaults:
        """The same, looked up for a collection never seen. Raises NotFound, EncoderMismatch."""
        return self.indexes.newest(self._seen.get(name) or self._open(name)).search

    def candidates(self, name: str, texts: Sequence[str], wanted: int) -> list[Candidates]:
        """For each text what a hybrid search for `wanted` hits would fuse.

        Raises NotFound or EncoderMismatch.
        """
        collection = self._open(name)
        requests = [SearchRequest(text, mode=Mode.HYBRID) for text in texts]
        view = self.indexes.view(collection)
        return [
            self._candidates(collection, *both_sides(view, subject, wanted, None))
            for subject in self._subjects(collection, requests)
        ]

    def _candidates(self, collection: Collection, dense: Found, lexical: Found) -> Candidates:
        hits = [hit for found in (dense, lexical) for hit in (*found.ranked, *found.scored)]
        rows = self.documents.passages(collection.id, [hit.passage_id for hit in hits])
        names = {hit.document_id: rows[hit.passage_id].external_id for hit in hits if hit.passage_id in rows}
        return Candidates(dense, lexical, names)

    def _has_reached(self, seen: Collection, seq: int) -> bool:
        """Whether it has not to be waited for; one that was deleted since would be waited for in vain."""
        return seq == 0 or (seq <= seen.seq and self.indexes.wait_for(seen, seq, 0))

    def _open(self, name: str) -> Collection:
        self._seen.pop(name, None)
        collection = self._seen[name] = self.collections.open(name)
        return collection

    def _search_all(
        self, collection: Collection, requests: Sequence[SearchRequest], seq: int
    ) -> list[SearchResult]:
        with blaming(next((i for i, request in enumerate(requests) if request.min_seq == seq), 0)):
            self._wait_for_seq(collection, seq)
        started = time.perf_counter()
        subjects = self._subjects(collection, requests)
        encode_ms = (time.perf_counter() - started) * 1000 / max(len(requests), 1)
        results = []
        for i, (request, subject) in enumerate(zip(requests, subjects, strict=True)):
            with blaming(i):
                results.append(self._search_one(collection, request, subject, encode_ms))
        return results

    def _subjects(self, collection: Collection, requests: Sequence[SearchRequest]) -> list[Subject]:
        """What each request looks for; all texts that need vectors are encoded together."""
        defaults = self.indexes.newest(collection).search
        modes = [_mode(request, defaults) for request in requests]
        texts = [
            one.text
            for request, mode in zip(requests, modes, strict=True)
            if mode is not Mode.LEXICAL
            for one in request.texts
        ]
        vectors = iter(self.encoder.encode_queries(texts)) if texts else iter(())
        subjects = []
        for i, (request, mode) in enumerate(zip(requests, modes, strict=True)):
            vector = None
            if request.like:
                with blaming(i):
                    vector = self._mean_vector(collection, request.like)
            elif mode is not Mode.LEXICAL:
                own = np.stack([next(vectors) for _ in request.texts])
                vector = combined(own, [one.weight for one in request.texts])
            fusion = request.fusion or fusion_of(defaults)
            subjects.append(Subject(mode, fusion, vector, request.texts, is_reranked(request, defaults)))
        return subjects

    def _mean_vector(self, collection: Collection, external_ids: Sequence[str]) -> Float32:
        """(d,) unit mean of the documents' unit means, so that a long document counts no more."""
        means = []
        for external_id in external_ids:
            _, vectors = self.documents.embedded_passages(collection.id, external_id)
            if not len(vectors):
                raise NotFound(
                    f"Document {external_id!r} is not searchable in collection {collection.name!r}."
                )
            means.append(_unit(vectors.astype(np.float32).mean(axis=0)))
        return _unit(np.mean(means, axis=0, dtype=np.float32))

    def _search_one(
        self, collection: Collection, request: SearchRequest, subject: Subject, encode_ms: float
    ) -> SearchResult:
        started, clock = time.perf_counter(), Stopwatch()
        view = self.indexes.view(collection)
        with clock:
            allowed = None if request.filter is None else view.select(request.filter)
            facets = view.facets(request.facets, allowed) if request.facets else {}
        found = self._found(collection, request, subject, view, allowed, clock)
        if subject.is_reranked:
            found = [*self._reranked(request.words, found[:RERANKED]), *found[RERANKED:]]
        page = self._arranged(request, subject, view, found)[request.offset : request.offset + request.k]
        fetch_s = time.perf_counter() - started - clock.seconds
        hits = self._shown(request, view, page)
        return SearchResult(
            self.explained(request, hits) if request.explain else hits,
            encode_ms,
            clock.seconds * 1000,
            fetch_s * 1000,
            view.seq,
            subject.mode,
            subject.vector is not None and any(truncated(self.encoder, [t.text for t in subject.texts])),
            facets,
        )

    def _found(
        self,
        collection: Collection,
        request: SearchRequest,
        subject: Subject,
        view: IndexView,
        allowed: DocumentSet | None,
        clock: Stopwatch,
    ) -> list[LiveHit]:
        def ranker(asked: int) -> list[FusedHit]:
            with clock:
                return rank(view, subject, asked, allowed)

        is_by_vector = subject.mode is Mode.DENSE
        live = LiveHits(self.documents, collection, subject.vector, is_by_vector, frozenset(request.like))
        return live.read(ranker, depth(request, subject))

    def _reranked(self, query: str, found: Sequence[LiveHit]) -> list[LiveHit]:
        """The hits in the order of the reranker's relevance, which becomes their score."""
        passages = [PassageText(hit.row.title, hit.row.text) for hit in found]
        scores = self.reranking.rerank(query, passages, Lane.INTERACTIVE)
        order = np.argsort(-scores, kind="stable").tolist()
        relevance = self.reranking.relevance(scores).tolist()
        return [
            LiveHit(
                replace(found[i].ranked, score=relevance[i]), found[i].row, Component(relevance[i], place)
            )
            for place, i in enumerate(order, start=1)
        ]

    def _arranged(
        self, request: SearchRequest, subject: Subject, view: IndexView, found: list[LiveHit]
    ) -> list[LiveHit]:
        """Hits in the order in which they are shown, over all pages.

        Behind those that were reranked stand others, whose scores are of another kind: a threshold leaves
        them out, and diversity does not mix them in.
        """
        compared = RERANKED if subject.is_reranked else len(found)
        found, others = found[:compared], found[compared:]
        if request.score_threshold is not None:
            found, others = [hit for hit in found if hit.ranked.score >= request.score_threshold], []
        if request.diversity and found:
            vectors = _vectors_of(view, found)
            scores = np.array([hit.ranked.score for hit in found], dtype=np.float32)
            found = [found[place] for place in diversified(scores, vectors, request.diversity)]
        return [*found, *others]

    def _shown(self, request: SearchRequest, view: IndexView, page: Sequence[LiveHit]) -> tuple[Hit, ...]:
        stems = query_stems(request.words, view.stem) if request.highlight else frozenset()
        return tuple(
            Hit(
                hit.row, hit.ranked.score, rank,
                highlights(hit.row.text, stems, view.stem, view.keeps_beginnings),
                hit.ranked.dense, hit.ranked.lexical, hit.rerank,
            )
            for rank, hit in enumerate(page, start=request.offset + 1)
        )  # fmt: skip

    def highlighted(self, name: str, hits: Sequence[Hit], queries: Sequence[str]) -> tuple[Hit, ...]:
        """Each hit with the words of its query that stand in its passage. Raises NotFound."""
        view = self.indexes.view(self._seen.get(name) or self._open(name))
        stems = {query: query_stems(query, view.stem) for query in set(queries)}
        return tuple(
            replace(
                hit,
                highlights=highlights(hit.passage.text, stems[query], view.stem, view.keeps_beginnings),
            )
            for hit, query in zip(hits, queries, strict=True)
        )

    def explained(self, request: SearchRequest, hits: tuple[Hit, ...]) -> tuple[Hit, ...]:
        """The hits with explanations of their dense scores, from which highlights are then taken."""
        assert request.query is not None
        passages = [PassageText(hit.passage.title, hit.passage.text) for hit in hits]
        scores = [None if hit.dense is None else hit.dense.score for hit in hits]
        explanations = self.explain.explain_passages(request.query, passages, scores)
        return tuple(
            replace(hit, explanation=e, highlights=highlights_of(e) if request.highlight else ())
            for hit, e in zip(hits, explanations, strict=True)
        )

    def _wait_for_seq(self, collection: Collection, seq: int) -> None:
        if seq > collection.seq:
            raise InvalidInput(f"min_seq is {seq}, but the collection's newest change is {collection.seq}.")
        if seq and not self.indexes.wait_for(collection, seq, self.limits.min_seq_timeout_s):
            raise Unavailable(
                f"The index has not reached seq {seq} in {self.limits.min_seq_timeout_s} s; retry."
            )


class Stopwatch:
    """Adds up the seconds of the blocks it is around."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._started = 0.0

    def __enter__(self) -> None:
        self._started = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        self.seconds += time.perf_counter() - self._started


def depth(request: SearchRequest, subject: Subject) -> int:
    """How many hits are needed to know which stand on the page."""
    wanted = request.offset + request.k
    if subject.is_reranked:
        return max(wanted, RERANKED)
    return max(wanted, DIVERSIFIED) if request.diversity else wanted


def is_reranked(request: SearchRequest, defaults: SearchDefaults) -> bool:
    """As the request says; a collection's default holds for what can be reranked, a single query."""
    if request.rerank is not None:
        return request.rerank
    return bool(defaults.rerank) and request.query is not None


def _mode(request: SearchRequest, defaults: SearchDefaults) -> Mode:
    if request.like:
        return Mode.DENSE
    return Mode(request.mode or defaults.mode or Mode.HYBRID)


def _vectors_of(view: IndexView, hits: Sequence[LiveHit]) -> Float32:
    """(n, d) vectors of the shown passages; zeros for one that is newer than the view."""
    held = view.vectors(np.array([hit.ranked.document_id for hit in hits], dtype=np.int64))
    row_of = {passage: row for row, passage in enumerate(held.passage_ids.tolist())}
    vectors = np.zeros((len(hits), held.vectors.shape[1]), dtype=np.float32)
    for i, hit in enumerate(hits):
        if (row := row_of.get(hit.ranked.passage_id)) is not None:
            vectors[i] = held.vectors[row]
    return vectors


def _unit(vector: Float32) -> Float32:
    return np.asarray(vector / max(float(np.linalg.norm(vector)), 1e-12), dtype=np.float32)
