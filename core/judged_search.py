"""Runs judged queries through the search itself, in a way that leaves the users' searches alone."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol

from core.candidates import Candidates
from core.collections import CollectionService
from core.errors import Conflict, Overloaded
from core.fusion import WINDOW
from core.judgement_types import JudgedQuery, JudgementCounts
from core.ports.indexes import IndexRegistry
from core.ports.models import Encoder, RankingScorer
from core.ports.stores import JudgementStore
from core.query_rewrites import QueryRewriter
from core.search import SearchResult
from core.search_request import SearchRequest
from core.search_settings import REWRITTEN_DEPTH
from core.types import Collection, EncoderInfo, Float32, Int64, Lane, PassageText

SEARCHES_A_BATCH = 16  # encoded together; between two batches everybody else has a turn
RETRY_AFTER_S = 5.0


class BatchSearch(Protocol):
    """core.rewritten_search.RewritingSearch, or one like it."""

    def search_batch(self, name: str, requests: Sequence[SearchRequest]) -> list[SearchResult]: ...

    def candidates(self, name: str, texts: Sequence[str], wanted: int) -> list[Candidates]: ...


@dataclass(frozen=True, slots=True)
class BulkEncoder:
    """An encoder whose queries wait behind those of users, in the bulk lane."""

    encoder: Encoder

    @property
    def info(self) -> EncoderInfo:
        return self.encoder.info

    def encode_queries(self, texts: Sequence[str], lane: Lane = Lane.BULK) -> Float32:
        return self.encoder.encode_queries(texts, lane)

    def encode_passages(self, passages: Sequence[PassageText], lane: Lane = Lane.BULK) -> Float32:
        return self.encoder.encode_passages(passages, lane)

    def token_spans(self, texts: Sequence[str]) -> list[Int64]:
        return self.encoder.token_spans(texts)


@dataclass(frozen=True, slots=True)
class JudgedSet:
    """The judged queries of one measurement: all that can be measured, or a sample of them."""

    collection: Collection
    counts: JudgementCounts
    queries: tuple[JudgedQuery, ...]


@dataclass(frozen=True, slots=True)
class JudgedSearch:
    """One measurement at a time in a process. `search` should encode in the bulk lane."""

    collections: CollectionService
    judgements: JudgementStore
    search: BatchSearch
    indexes: IndexRegistry
    scorer: RankingScorer
    modes: tuple[str, ...]
    rewriter: QueryRewriter
    _turn: threading.Lock = field(default_factory=threading.Lock)

    @contextmanager
    def measuring(self) -> Iterator[None]:
        """Raises Overloaded while another measurement runs."""
        if not self._turn.acquire(blocking=False):
            raise Overloaded("This server is measuring already, one at a time; retry.", RETRY_AFTER_S)
        try:
            yield
        finally:
            self._turn.release()

    def judged(self, name: str, limit: int, seed: int) -> JudgedSet:
        """Raises NotFound, EncoderMismatch, or Conflict when there is no query that can be measured."""
        collection = self.collections.open(name)
        counts = self.judgements.counts(collection.id)
        queries = tuple(self.judgements.sample(collection.id, limit, seed))
        if not queries:
            raise Conflict(
                f"Collection {name!r} has {counts.queries:,} judged queries, none with a relevant document"
                f" that is searchable now ({counts.not_found:,} judged documents are not); send some with"
                f" PUT /v1/collections/{name}/judgements, or wait until the documents are searchable."
            )
        return JudgedSet(collection, counts, queries)

    def results(self, judged: JudgedSet, mode: str, k: int, rewrite: bool | None) -> Iterator[SearchResult]:
        """What each query finds before reranking, in their order.

        None for `rewrite` leaves it to the collection.
        """
        for start in range(0, len(judged.queries), SEARCHES_A_BATCH):
            part = judged.queries[start : start + SEARCHES_A_BATCH]
            requests = [
                SearchRequest(query.text, k, mode=mode, highlight=False, rerank=False, rewrite=rewrite)
                for query in part
            ]
            yield from self.search.search_batch(judged.collection.name, requests)

    def candidates(self, judged: JudgedSet, with_rewrites: bool = False) -> Iterator[list[Candidates]]:
        """What hybrid search would fuse for each query, in their order: as it is, then for each rewrite.

        With rewrites as many as are fused of each wording, else enough for the first 25 hits.
        Raises Overloaded and Unavailable where rewrites are wanted and cannot be had.
        """
        wanted = REWRITTEN_DEPTH if with_rewrites else WINDOW // 2
        for start in range(0, len(judged.queries), SEARCHES_A_BATCH):
            part = judged.queries[start : start + SEARCHES_A_BATCH]
            wordings = self._wordings([query.text for query in part], with_rewrites)
            texts = [text for of_query in wordings for text in of_query]
            found = iter(self.search.candidates(judged.collection.name, texts, wanted))
            yield from ([next(found) for _ in of_query] for of_query in wordings)

    def _wordings(self, queries: Sequence[str], with_rewrites: bool) -> list[list[str]]:
        """Each query and its rewrites."""
        if not with_rewrites:
            return [[query] for query in queries]
        found = self.rewriter.rewrites(queries)
        return [[q, *(one.text for one in rewrites)] for q, rewrites in zip(queries, found, strict=True)]
