"""Use case search: encode the query, ask the index, read what is shown from the database."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from core.collections import CollectionService
from core.documents import check_text
from core.errors import InvalidInput, Unavailable
from core.explain import ExplainService, Explanation, highlights_of
from core.lengths import truncated
from core.ports import DocumentStore, Encoder, IndexRegistry, IndexView
from core.types import Collection, Float32, IndexHit, PassageRow, PassageText, Span

MODES = ("dense",)
QUERY_WORD = re.compile(r"\w{3,}")


@dataclass(frozen=True, slots=True)
class SearchLimits:
    max_k: int = 1000
    max_window: int = 10_000
    max_explained: int = 100
    max_query_bytes: int = 32_768
    max_searches: int = 256
    min_seq_timeout_s: float = 5.0


@dataclass(frozen=True, slots=True)
class SearchRequest:
    query: str
    k: int = 10
    offset: int = 0
    mode: str = "dense"
    highlight: bool = True
    min_seq: int | None = None
    explain: bool = False


@dataclass(frozen=True, slots=True)
class Hit:
    """One document by its best passage; `rank` counts from 1 over all pages."""

    passage: PassageRow
    score: float
    rank: int
    highlights: tuple[Span, ...]
    explanation: Explanation | None = None


@dataclass(frozen=True, slots=True)
class SearchResult:
    """Hits, best first; times in milliseconds; `seq` of the log the index had applied.

    `is_truncated` says that the encoder read only the start of the query.
    """

    hits: tuple[Hit, ...]
    encode_ms: float
    search_ms: float
    fetch_ms: float
    seq: int
    is_truncated: bool = False


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
    limits: SearchLimits
    _seen: dict[str, Collection] = field(default_factory=dict)

    def search(self, name: str, request: SearchRequest) -> SearchResult:
        return self.search_batch(name, [request])[0]

    def search_batch(self, name: str, requests: Sequence[SearchRequest]) -> list[SearchResult]:
        """Results in the order of the requests, which are encoded together.

        Raises NotFound, EncoderMismatch, InvalidInput, or Unavailable when `min_seq` is not reached in time.
        """
        for request in requests:
            self._check(request)
        seq = max((request.min_seq or 0 for request in requests), default=0)
        seen = self._seen.get(name)
        if seen is None or seq > seen.seq:
            return self._search_all(self._open(name), requests, seq)
        results = self._search_all(seen, requests, seq)
        is_full = all(len(r.hits) == request.k for r, request in zip(results, requests, strict=True))
        if is_full or (present := self._open(name)).id == seen.id:
            return results
        return self._search_all(present, requests, seq)

    def _open(self, name: str) -> Collection:
        self._seen.pop(name, None)
        collection = self._seen[name] = self.collections.open(name)
        return collection

    def _search_all(
        self, collection: Collection, requests: Sequence[SearchRequest], seq: int
    ) -> list[SearchResult]:
        self._wait_for_seq(collection, seq)
        started = time.perf_counter()
        vectors = self.encoder.encode_queries([request.query for request in requests])  # (n, d)
        encode_ms = (time.perf_counter() - started) * 1000 / max(len(requests), 1)
        return [
            self._search_one(collection, request, vectors[i : i + 1], encode_ms)
            for i, request in enumerate(requests)
        ]

    def _search_one(
        self, collection: Collection, request: SearchRequest, vector: Float32, encode_ms: float
    ) -> SearchResult:
        started = time.perf_counter()
        view = self.indexes.view(collection)
        hits, rows, search_s = self._live_hits(collection, view, vector, request.offset + request.k)
        page = hits[request.offset : request.offset + request.k]
        words = query_words(request.query) if request.highlight else frozenset()
        shown = tuple(
            Hit(row, hit.score, rank, highlights(row.text, words))
            for rank, hit in enumerate(page, start=request.offset + 1)
            if (row := rows[hit.passage_id])
        )
        fetch_s = time.perf_counter() - started - search_s
        if request.explain:
            shown = self._explained(request, shown)
        (is_truncated,) = truncated(self.encoder, [request.query])
        return SearchResult(shown, encode_ms, search_s * 1000, fetch_s * 1000, view.seq, is_truncated)

    def _explained(self, request: SearchRequest, hits: tuple[Hit, ...]) -> tuple[Hit, ...]:
        """The hits with their explanations, from which their highlights are then taken."""
        passages = [PassageText(hit.passage.title, hit.passage.text) for hit in hits]
        scores = [hit.score for hit in hits]
        explanations = self.explain.explain_passages(request.query, passages, scores)
        return tuple(
            replace(hit, explanation=e, highlights=highlights_of(e) if request.highlight else ())
            for hit, e in zip(hits, explanations, strict=True)
        )

    def _live_hits(
        self, collection: Collection, view: IndexView, vector: Float32, wanted: int
    ) -> tuple[list[IndexHit], dict[int, PassageRow], float]:
        """At most `wanted` hits that the database shows now, their rows, and seconds in the index.

        The view may be a moment behind: a document replaced since is shown by its present passages; one
        deleted since is dropped, and more hits are asked for until enough are live or the view is exhausted.
        """
        asked, search_s = wanted, 0.0
        while True:
            started = time.perf_counter()
            hits = view.search(vector, asked)[0]
            search_s += time.perf_counter() - started
            rows = self.documents.passages(collection.id, [hit.passage_id for hit in hits])
            live = [hit for hit in hits if hit.passage_id in rows]
            if len(live) < len(hits):
                gone = [hit.document_id for hit in hits if hit.passage_id not in rows]
                live = sorted([*live, *self._replaced(collection, vector, gone, rows)], key=_best_first)
            if len(live) >= wanted or len(hits) < asked:
                return live[:wanted], rows, search_s
            asked = wanted + 2 * (asked - len(live))

    def _replaced(
        self,
        collection: Collection,
        vector: Float32,
        document_ids: Sequence[int],
        rows: dict[int, PassageRow],
    ) -> list[IndexHit]:
        """Hits of documents by the best of their present passages, whose rows are added to `rows`."""
        hits = []
        present = self.documents.replacements(collection.id, document_ids)
        for document_id, (passages, vectors) in present.items():
            scores = vectors.astype(np.float32) @ vector[0]  # (passages,)
            best = passages[int(scores.argmax())]
            rows[best.passage_id] = best
            hits.append(IndexHit(document_id, best.passage_id, float(scores.max())))
        return hits

    def _check(self, request: SearchRequest) -> None:
        limits = self.limits
        if request.mode not in MODES:
            raise InvalidInput(f"mode {request.mode!r} is not available; use {' or '.join(MODES)}.")
        if not 1 <= request.k <= limits.max_k:
            raise InvalidInput(f"k is {request.k}; it must be 1 to {limits.max_k}.")
        if request.explain and request.k > limits.max_explained:
            raise InvalidInput(f"k is {request.k}; with explain it must be 1 to {limits.max_explained}.")
        if request.offset < 0 or request.offset + request.k > limits.max_window:
            raise InvalidInput(
                f"offset is {request.offset}; it must be 0 or more, and offset + k at most"
                f" {limits.max_window}."
            )
        size = len(check_text(request.query, "'query'"))
        if not request.query.strip():
            raise InvalidInput("'query' is empty; say what to search for.")
        if size > limits.max_query_bytes:
            raise InvalidInput(f"'query' has {size:,} bytes; the limit is {limits.max_query_bytes:,}.")

    def _wait_for_seq(self, collection: Collection, seq: int) -> None:
        if seq > collection.seq:
            raise InvalidInput(f"min_seq is {seq}, but the collection's newest change is {collection.seq}.")
        if seq and not self.indexes.wait_for(collection, seq, self.limits.min_seq_timeout_s):
            raise Unavailable(
                f"The index has not reached seq {seq} in {self.limits.min_seq_timeout_s} s; retry."
            )


def _best_first(hit: IndexHit) -> tuple[float, int]:
    return -hit.score, hit.passage_id


def query_words(query: str) -> frozenset[str]:
    """Lower-case words of three letters or more."""
    return frozenset(QUERY_WORD.findall(query.lower()))


def highlights(text: str, words: frozenset[str]) -> tuple[Span, ...]:
    """Where words of the query stand in the passage, as character offsets into the passage."""
    lowered = text.lower()
    if len(lowered) != len(text):  # some letters become two; those are left as they are
        lowered = "".join(low if len(low := letter.lower()) == 1 else letter for letter in text)
    spans = [span for word in words for span in _occurrences(word, lowered)]
    return tuple(sorted(spans, key=lambda span: span.start))


def _occurrences(word: str, text: str) -> Iterator[Span]:
    """Where the word stands in the text as a whole word; faster than a search for all words of the text."""
    start = text.find(word)
    while start >= 0:
        end = start + len(word)
        if not (_is_in_word(text[start - 1 : start]) or _is_in_word(text[end : end + 1])):
            yield Span(start, end)
        start = text.find(word, end)


def _is_in_word(letter: str) -> bool:
    return letter.isalnum() or letter == "_"
