"""A collection with judged queries and a search whose rankings are known, for measuring and tuning."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import numpy as np

from core.candidates import Candidates
from core.fusion import Found, Fusion, fuse
from core.index_types import IndexHit, IndexStats, PassageRow
from core.judged_search import JudgedSearch
from core.judgement_types import JudgedPage, JudgedQuery, JudgementCounts
from core.search import Hit, SearchResult
from core.search_request import Mode, SearchRequest
from core.types import Collection, CollectionSettings, Float64, SearchDefaults, Span
from evaluation.scorer import IrScorer
from tests.fakes import FAKE_INFO, FakeRewriter

MODES = ("hybrid", "dense", "lexical")
SEQ = 7


@dataclass
class RankedSearch:
    """Scores (queries, documents) of each side; the query is its number as text, document i is `d<i>`."""

    dense: Float64
    lexical: Float64
    batches: list[tuple[str, ...]] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    wanted: set[int] = field(default_factory=set)  # hits, of the candidates asked for
    asked: list[tuple[str, bool | None]] = field(default_factory=list)
    is_reranked: bool = False  # by default: from the last to the first

    def search_batch(self, name: str, requests: Sequence[SearchRequest]) -> list[SearchResult]:
        self.asked += dict.fromkeys((request.mode or "", request.rewrite) for request in requests)
        self.batches.append(tuple(request.mode or "" for request in requests))
        return [self._search(request) for request in requests]

    def candidates(self, name: str, texts: Sequence[str], wanted: int) -> list[Candidates]:
        self.texts += texts
        self.wanted.add(wanted)
        sides = [(_hits(self.dense[int(text)]), _hits(self.lexical[int(text)])) for text in texts]
        names = {i: f"d{i}" for i in range(self.dense.shape[1])}
        return [Candidates(Found(one), Found(other), names) for one, other in sides]

    def _search(self, request: SearchRequest) -> SearchResult:
        row = int(request.query or "")
        dense, lexical = _hits(self.dense[row]), _hits(self.lexical[row])
        found: Any = {"dense": dense, "lexical": lexical}.get(request.mode or "")
        if found is None:
            found = fuse(Found(dense), Found(lexical), Fusion())
        if self.is_reranked if request.rerank is None else request.rerank:
            found = found[::-1]
        hits = tuple(
            Hit(
                PassageRow(hit.passage_id, f"d{hit.document_id}", "", "", Span(0, 0), {}), hit.score, rank, ()
            )
            for rank, hit in enumerate(found[: request.k], start=1)
        )
        return SearchResult(hits, 0.0, 0.0, 0.0, SEQ, Mode(request.mode or Mode.HYBRID))


def _hits(scores: Float64) -> list[IndexHit]:
    order = np.argsort(-scores, kind="stable").tolist()
    return [IndexHit(i, i, float(scores[i])) for i in order]


@dataclass
class JudgedWorld:
    """Stands in for the collection's store, its judgements, its index and the notifier."""

    search: RankedSearch
    queries: list[JudgedQuery]
    collection: Collection = field(
        default_factory=lambda: Collection(
            1, "u", "news", "", FAKE_INFO, CollectionSettings(), SEQ, 0, datetime.now(UTC)
        )
    )
    told: list[tuple[int, int]] = field(default_factory=list)
    rewriter: FakeRewriter = field(default_factory=FakeRewriter)

    def judged_search(self, modes: tuple[str, ...] = MODES) -> JudgedSearch:
        here: Any = self
        return JudgedSearch(here, here, self.search, here, IrScorer(), modes, self.rewriter)

    def open(self, name: str) -> Collection:
        return self.collection

    def change(self, name: str, description: str | None, search: SearchDefaults | None) -> Collection:
        self.collection = replace(self.collection, search=search or self.collection.search)
        return self.collection

    def publish(self, collection_id: int, seq: int) -> None:
        self.told.append((collection_id, seq))

    def stats(self, collection: Collection) -> IndexStats:
        return IndexStats("Flat", 0, 0, 0, 0, None, SEQ)

    def counts(self, collection_id: int) -> JudgementCounts:
        judged = sum(len(query.relevance) for query in self.queries)
        return JudgementCounts(len(self.queries) + 2, judged + 3, len(self.queries), 3, ("lost",))

    def sample(self, collection_id: int, limit: int, seed: int) -> list[JudgedQuery]:
        return self.queries[:limit]

    def page(self, collection_id: int, limit: int, after: int | None) -> JudgedPage:
        return JudgedPage(tuple(self.queries[:limit]), None)


def mixed_world(queries: int, weight: float, noise: float = 0.02, documents: int = 60) -> JudgedWorld:
    """The three relevant documents of each query are those of the greatest weighted sum, but for noise."""
    rng = np.random.default_rng(0)
    dense, lexical = rng.random((2, queries, documents))
    truth = weight * dense + (1 - weight) * lexical + noise * rng.normal(size=dense.shape)
    judged = [
        JudgedQuery(str(i), {f"d{j}": 1 for j in np.argsort(-truth[i])[:3].tolist()}) for i in range(queries)
    ]
    return JudgedWorld(RankedSearch(dense, lexical), judged)
