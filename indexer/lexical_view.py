"""An immutable view of one collection's words: BM25 over passages, collapsed to documents."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from heapq import nsmallest
from typing import Final

import numpy as np
import tantivy

from core.document_set import DocumentSet
from core.errors import InvalidInput
from core.index_types import IndexHit
from core.types import Float64, Int64
from indexer.lexical_analyzer import Analyzer
from indexer.lexical_store import SCHEMA

MAX_QUERY_TERMS: Final = 512
MAX_QUERY_CHARACTERS: Final = 100_000
MIN_FETCH: Final = 32
# Up to here fetching without the filter costs less than a clause of the allowed documents: measured.
FREE_FETCH: Final = 4_000
# tantivy adds a passage's terms up in any order, so that equal passages differ in the last bits.
TIE: Final = 2e-6


@dataclass(frozen=True, slots=True)
class _Found:
    """Passages, best first, as columns (n,). None left out scores above `bound`; -inf: none was left out."""

    scores: Float64
    passage_ids: Int64
    document_ids: Int64
    bound: float

    def kept(self, allowed: DocumentSet) -> _Found:
        keep = allowed.mask(self.document_ids)
        return _Found(self.scores[keep], self.passage_ids[keep], self.document_ids[keep], self.bound)


class LexicalView:
    """Safe to search from any number of threads at once, which do not wait for one another.

    Scores are BM25 (Robertson and Zaragoza 2009, "The probabilistic relevance framework", section 3.4) with
    k1 = 1.2, b = 0.75 and idf = ln(1 + (N - n + 0.5) / (n + 0.5)); a word that is repeated counts as often.
    Lengths of passages over 40 words are rounded down a little (tantivy's field norms). N, n and the average
    length count deleted passages until they are merged away.
    Query text is never parsed: it becomes terms by the analyzer that made the passages' terms. The first
    100,000 characters are read, and of more than 512 distinct terms the rarest are searched.
    """

    def __init__(self, searcher: tantivy.Searcher, analyzer: Analyzer, dead: int) -> None:
        """`dead` passages are deleted but not yet merged away."""
        self.searcher = searcher
        self._analyzer = analyzer
        self._counted = searcher.num_docs + dead  # N

    @property
    def passages(self) -> int:
        """Living passages."""
        return self.searcher.num_docs

    def search(self, text: str, k: int, allowed: DocumentSet | None = None) -> list[IndexHit]:
        """At most k documents, best first, each with its best passage; equal scores by passage id.

        Fewer come back only if fewer (of the allowed ones) hold a word of the text. Raises InvalidInput for
        k < 1.
        """
        if k < 1:
            raise InvalidInput(f"k is {k}; it must be at least 1")
        query = self._query(text)
        if query is None:
            return []
        if allowed is None:
            return self._best(query, k)
        count = allowed.count
        return self._filtered(query, k, allowed, count) if count else []

    def score(self, text: str, document_ids: Int64) -> tuple[Float64, Int64]:
        """Of documents (n,), different and ascending: their scores as by `search` (n,), their passages (n,).

        0 and -1 for one that holds no word of the text.
        """
        scores = np.zeros(len(document_ids))
        passages = np.full(len(document_ids), -1, dtype=np.int64)
        query = self._query(text)
        if query is not None and len(document_ids):
            found = self._every(_restricted(query, document_ids), 2 * len(document_ids))
            levels, best = _best_passages(found)
            places = np.searchsorted(document_ids, found.document_ids[best])
            scores[places], passages[places] = levels[best], found.passage_ids[best]
        return scores, passages

    def worth(self, text: str) -> dict[str, float]:
        """The idf of each term of the text times its count there; terms of no passage are the rarest."""
        return {term: count * self._idf(term) for term, count in self._terms(text).items()}

    def _idf(self, term: str) -> float:
        n = self.searcher.doc_freq("text", term)
        return math.log1p(max(self._counted - n + 0.5, 0.5) / (n + 0.5))  # n > N if merged away meanwhile

    def _filtered(self, query: tantivy.Query, k: int, allowed: DocumentSet, count: int) -> list[IndexHit]:
        """Fetches more and keeps the allowed while that is cheaper than to search only the allowed ones."""
        fetch = max(MIN_FETCH, 2 * k * self.passages // count)
        while fetch <= FREE_FETCH + 2 * count:
            found = self._fetch(query, fetch)
            hits, is_sure = _collapse(found.kept(allowed), k)
            if is_sure:
                return hits
            fetch *= 4
        return self._best(_restricted(query, allowed.ids()), k)

    def _best(self, query: tantivy.Query, k: int) -> list[IndexHit]:
        fetch = max(MIN_FETCH, 2 * k)
        while True:
            hits, is_sure = _collapse(self._fetch(query, fetch), k)
            if is_sure:
                return hits
            fetch *= 4

    def _every(self, query: tantivy.Query, likely: int) -> _Found:
        """All passages that match; `likely` is how many they may be."""
        fetch = max(MIN_FETCH, likely)
        while (found := self._fetch(query, fetch)).bound > -np.inf:
            fetch *= 4
        return found

    def _fetch(self, query: tantivy.Query, limit: int) -> _Found:
        limit = max(1, min(limit, self.passages))
        hits = self.searcher.search(query, limit, count=False).hits
        places = [place for _, place in hits]
        scores = np.array([score for score, _ in hits], dtype=np.float64)
        is_all = len(hits) < limit or limit >= self.passages
        return _Found(
            scores,
            np.array(self.searcher.fast_field_values("passage_id", places), dtype=np.int64),
            np.array(self.searcher.fast_field_values("document_id", places), dtype=np.int64),
            -np.inf if is_all else float(scores[-1]),
        )

    def _query(self, text: str) -> tantivy.Query | None:
        terms = self._terms(text)
        if not terms or not self.passages:
            return None
        clauses = [(tantivy.Occur.Should, _term_query(term, count)) for term, count in terms.items()]
        return tantivy.Query.boolean_query(clauses)

    def _terms(self, text: str) -> dict[str, int]:
        """The terms to search, and how often each occurs in the text."""
        counts = Counter(self._analyzer.terms(text[:MAX_QUERY_CHARACTERS]))
        if len(counts) <= MAX_QUERY_TERMS:
            return counts
        return {term: counts[term] for term in self._rarest(list(counts))}

    def _rarest(self, terms: Sequence[str]) -> list[str]:
        counts = ((self.searcher.doc_freq("text", term), term) for term in terms)
        return [term for _, term in nsmallest(MAX_QUERY_TERMS, (pair for pair in counts if pair[0]))]


def _term_query(term: str, count: int) -> tantivy.Query:
    query = tantivy.Query.term_query(SCHEMA, "text", term, "freq")
    return query if count == 1 else tantivy.Query.boost_query(query, float(count))


def _restricted(query: tantivy.Query, document_ids: Int64) -> tantivy.Query:
    """The query over these documents alone; that they are members adds nothing to a score."""
    members = tantivy.Query.term_set_query(SCHEMA, "document_id", document_ids.tolist())
    must = tantivy.Occur.Must
    return tantivy.Query.boolean_query([(must, query), (must, tantivy.Query.const_score_query(members, 0.0))])


def _collapse(found: _Found, k: int) -> tuple[list[IndexHit], bool]:
    """The k best documents among the found, and whether no passage left out could belong there."""
    scores, best = _best_passages(found)
    best = best[:k]
    hits = [
        IndexHit(document, passage, score)
        for document, passage, score in zip(
            found.document_ids[best].tolist(),
            found.passage_ids[best].tolist(),
            scores[best].tolist(),
            strict=True,
        )
    ]
    is_all = found.bound == -np.inf
    return hits, is_all or (len(hits) == k and hits[-1].score * (1 - TIE) > found.bound)


def _best_passages(found: _Found) -> tuple[Float64, Int64]:
    """The levelled scores (n,), and the places of the best passage of each document, best first."""
    scores = _levelled(found.scores)
    order = np.lexsort((found.passage_ids, -scores))
    _, first = np.unique(found.document_ids[order], return_index=True)
    return scores, order[np.sort(first)]


def _levelled(scores: Float64) -> Float64:
    """Descending scores (n,), those that follow each other within rounding made equal."""
    starts = np.ones(len(scores), dtype=np.bool_)
    starts[1:] = scores[1:] < scores[:-1] * (1 - TIE)
    levels: Float64 = scores[starts][np.cumsum(starts) - 1]
    return levels
