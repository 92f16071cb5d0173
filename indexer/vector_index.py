"""An immutable view of one collection's vectors: main + delta, without the rows that are dead."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Protocol

import numpy as np

from core.document_set import DocumentSet
from core.errors import EncoderMismatch, InvalidInput
from core.fusion import WINDOW
from core.index_types import IndexHit, PassageVectors
from core.types import Float16, Float32, Int64
from indexer.document_rows import DocumentRows
from indexer.exact import Alive
from indexer.quick_search import QuickSearch

# From here on one exact pass over all rows is cheaper than fetching ever more candidates.
SCAN_FETCH = 1_024
READ_ROWS = 4_096
# Passages a document beyond the first, on average, from which a graph is searched the further the more of
# them are fetched.
CROWDED = 0.5
FLOAT32 = np.dtype(np.float32)
# So few candidates are sorted faster as Python tuples than as arrays.
FEW = 256
# Sets of documents whose rows a view remembers; a filter is often used for several pages and searches.
REMEMBERED_SETS = 4


class Rows(Protocol):
    """Rows of one part of a view: m vectors with the passage and the document of each."""

    @property
    def passage_ids(self) -> Int64: ...

    @property
    def document_ids(self) -> Int64: ...

    @property
    def vectors(self) -> Float32 | Float16: ...

    @property
    def by_document(self) -> DocumentRows: ...

    @property
    def is_exact(self) -> bool: ...

    def search(self, xq: Float32, fetch: int, alive: Alive, breadth: int = 0) -> tuple[Float32, Int64]:
        """Scores and rows, both (n, fetch), best first, of at most `alive.count` living rows.

        `breadth`: how many near rows a graph is to find, where that is more than usual.
        """
        ...

    def score_rows(self, query: Float32, rows: Int64) -> Float32:
        """(m,) exact scores of the given rows (m,)."""
        ...

    def enough(self, k: int) -> int:
        """How many rows to fetch at first, so that k documents are likely to be among them; more than k."""
        ...

    @property
    def is_steady(self) -> bool:
        """Whether a search for few rows finds the first of those that one for 50 documents finds."""
        ...


@dataclass(frozen=True, slots=True)
class Segment:
    """One part of a view, and which of its rows live."""

    rows: Rows
    alive: Alive

    def only(self, allowed: DocumentSet) -> Segment:
        """The same rows, of which only those of the given documents may be returned."""
        return Segment(self.rows, self.alive.only(allowed.mask(self.rows.document_ids)))

    def living(self, document_ids: Int64) -> Int64:
        """(m,) living rows of the given documents, which must be different."""
        rows = self.rows.by_document.find(document_ids)
        return rows[self.alive.mask[rows]]


@dataclass(frozen=True, slots=True)
class _Candidates:
    """Found passages of n queries, each (n, f).

    No passage left out scores above `bound` (n,) if the index found the best; None when all were found.
    `is_falling` says that no score follows a lower one.
    """

    scores: Float32
    passage_ids: Int64
    document_ids: Int64
    bound: Float32 | None
    is_falling: bool = False


class View:
    """The vectors of a `SearchView`. Safe to search from any number of threads at once.

    Exact when the main part is; documents of equal score are ordered by passage id.
    """

    def __init__(self, seq: int, d: int, segments: tuple[Segment, ...]) -> None:
        self._seq = seq
        self._d = d
        self._segments = tuple(segment for segment in segments if segment.alive.count)
        self._is_exact = all(segment.rows.is_exact for segment in self._segments)
        self._narrowed: tuple[tuple[DocumentSet, tuple[Segment, ...]], ...] = ()
        lone = self._segments[0] if len(self._segments) == 1 else None
        self._quick = None if lone is None else QuickSearch.of(lone.rows, lone.alive)
        parts = [segment.rows for segment in self._segments if not segment.rows.is_exact]
        # A part that is not exact has many passages a document.
        self._is_crowded = any(rows.by_document.crowding >= CROWDED for rows in parts)
        # Of several passages of a document not the best may be found: often in codes, hardly ever in a graph.
        self._is_by_best = self._is_crowded or any(
            rows.by_document.crowding > 0 for rows in parts if not rows.is_steady
        )
        # Whether a search for fewer than 50 documents finds the first of those that one for 50 does.
        self._is_steady = not self._is_crowded and all(one.rows.is_steady for one in self._segments)

    @property
    def seq(self) -> int:
        return self._seq

    @property
    def passages(self) -> int:
        """Living passages."""
        return sum(segment.alive.count for segment in self._segments)

    def search(self, xq: Float32, k: int, allowed: DocumentSet | None = None) -> list[list[IndexHit]]:
        """For each row of `xq` (n, d): at most k documents, best first, each with its best passage.

        Only documents of `allowed` come back, if it is given; fewer come back only if the view holds fewer,
        or fewer that are allowed. A longer list continues a shorter one; in one that is not exact, scores
        fall up to the 50th hit, from there to the 100th, the 200th and so on. Raises EncoderMismatch for
        another d, InvalidInput for k < 1 or numbers that are not finite.
        """
        xq = self._checked(xq, k)
        if k > WINDOW and not self._is_exact:
            return [self._settled(query[None], k, allowed) for query in xq]
        wanted = k if self._is_steady else WINDOW
        if allowed is None and self._quick is not None and len(xq) == 1 and not self._is_crowded:
            quick = self._quick.search(xq, k, wanted)
            if quick is not None:
                return [quick]
        return [hits[:k] for hits in self._search(xq, wanted, allowed)]

    def _settled(self, xq: Float32, k: int, allowed: DocumentSet | None) -> list[IndexHit]:
        """The k best for one query (1, d), where a search for more may find others among the best.

        The first 50 are those of a search for 50, those up to the 100th come from one for 200, up to the
        200th from one for 400, and so on.
        """
        (found,) = self._search(xq, WINDOW, allowed)
        settled, end = {hit.document_id: hit for hit in found}, WINDOW
        while end < k and len(found) >= end:
            end *= 2
            (found,) = self._search(xq, 2 * end, allowed)
            new = (hit for hit in found if hit.document_id not in settled)
            settled |= {hit.document_id: hit for hit in islice(new, end - len(settled))}
        return list(islice(settled.values(), k))

    def _search(self, xq: Float32, k: int, allowed: DocumentSet | None) -> list[list[IndexHit]]:
        """As `search`, of a checked `xq`: candidates are fetched until k documents are certain.

        Up to 50 of them a graph is searched as far for few as for many, so that all find the same, unless
        documents have so many passages that this finds too few of them.
        """
        is_broad = k > WINDOW or self._is_crowded
        segments = self._segments if allowed is None else self._only(allowed)
        passages = sum(segment.alive.count for segment in segments)
        hits: list[list[IndexHit]] = [[] for _ in xq]
        pending = list(range(len(xq))) if segments else []
        fetch = max(segment.rows.enough(k) for segment in segments) if segments else 0
        while pending and fetch <= max(4 * k, SCAN_FETCH):
            some = xq if len(pending) == len(xq) else xq[pending]
            found = _candidates(segments, some, min(fetch, passages), fetch if is_broad else 0)
            unsure = []
            for row, query in enumerate(pending):
                hits[query], is_sure = _collapse(found, row, k)
                if not is_sure:
                    unsure.append(query)
            pending, fetch = unsure, 2 * fetch
        for query in pending:
            rows = [segment.alive.rows for segment in segments]
            hits[query], _ = _collapse(_scored(segments, rows, xq[query]), 0, k)
        return [self._by_best(*one) for one in zip(xq, hits, strict=True)] if self._is_by_best else hits

    def _by_best(self, query: Float32, hits: list[IndexHit]) -> list[IndexHit]:
        """The hits by the best passages of their documents, which may be missed where others are found."""
        return self.score(query, np.array([hit.document_id for hit in hits], dtype=np.int64))

    def score(self, query: Float32, document_ids: Int64) -> list[IndexHit]:
        """The best passage of each of the documents that is in the view, exactly, best first.

        `query` is (d,), `document_ids` (n,). Raises as `search` does.
        """
        (query,) = self._checked(query[None], 1)
        document_ids = np.unique(document_ids)
        rows = [segment.living(document_ids) for segment in self._segments]
        if not sum(map(len, rows)):
            return []
        return _collapse(_scored(self._segments, rows, query), 0, len(document_ids))[0]

    def document_ids(self) -> Int64:
        """(n,) ids of the documents of living passages, ascending."""
        living = (segment.rows.document_ids[segment.alive.rows] for segment in self._segments)
        return np.unique(np.concatenate([np.empty(0, dtype=np.int64), *living]))

    def vectors(self, document_ids: Int64) -> PassageVectors:
        """The vectors of all passages of the documents (n,) that are in the view, by passage id."""
        document_ids = np.unique(document_ids)
        places = [(segment.rows, segment.living(document_ids)) for segment in self._segments]
        none = np.empty(0, dtype=np.int64)
        documents = np.concatenate([none, *(part.document_ids[rows] for part, rows in places)])
        passages = np.concatenate([none, *(part.passage_ids[rows] for part, rows in places)])
        vectors = [np.empty((0, self._d), np.float32), *(part.vectors[rows] for part, rows in places)]
        order = np.argsort(passages)
        return PassageVectors(
            documents[order], passages[order], np.concatenate(vectors, dtype=np.float32)[order]
        )

    def _only(self, allowed: DocumentSet) -> tuple[Segment, ...]:
        """The segments of allowed documents; the last few sets asked for are remembered.

        Two threads that ask at once may forget what the other has remembered, which costs time alone.
        """
        for known, segments in self._narrowed:
            if known is allowed:
                return segments
        narrowed = [segment.only(allowed) for segment in self._segments]
        segments = tuple(segment for segment in narrowed if segment.alive.count)
        self._narrowed = ((allowed, segments), *self._narrowed[: REMEMBERED_SETS - 1])
        return segments

    def _checked(self, xq: Float32, k: int) -> Float32:
        if k < 1:
            raise InvalidInput(f"k is {k}; it must be at least 1")
        if xq.dtype is not FLOAT32 or not xq.flags.c_contiguous:
            xq = np.ascontiguousarray(xq, dtype=np.float32)
        if xq.ndim != 2 or xq.shape[1] != self._d:
            raise EncoderMismatch(
                f"Query vectors have shape {xq.shape}, but this index holds vectors of d={self._d}; "
                "encode the query with the collection's encoder"
            )
        numbers = xq.reshape(-1)
        if not (math.isfinite(numbers.dot(numbers)) or np.isfinite(xq).all()):  # the first is faster
            raise InvalidInput("A query vector holds NaN or infinity; every number must be finite")
        return xq


def _candidates(segments: Sequence[Segment], xq: Float32, fetch: int, breadth: int) -> _Candidates:
    parts = [_search_segment(segment, xq, fetch, breadth) for segment in segments]
    if len(parts) == 1:
        return parts[0]
    bounds = [part.bound for part in parts if part.bound is not None]
    return _Candidates(
        np.hstack([part.scores for part in parts]),
        np.hstack([part.passage_ids for part in parts]),
        np.hstack([part.document_ids for part in parts]),
        np.max(bounds, axis=0) if bounds else None,
    )


def _search_segment(segment: Segment, xq: Float32, fetch: int, breadth: int) -> _Candidates:
    fetch = min(fetch, segment.alive.count)
    scores, rows = segment.rows.search(xq, fetch, segment.alive, breadth)
    bound = scores[:, -1] if fetch < segment.alive.count else None
    return _Candidates(scores, segment.rows.passage_ids[rows], segment.rows.document_ids[rows], bound, True)


def _scored(segments: Sequence[Segment], rows: Sequence[Int64], query: Float32) -> _Candidates:
    """The given rows of each segment, scored exactly, for one query (d,)."""
    parts = [segment.rows for segment in segments]
    return _Candidates(
        np.hstack([part.score_rows(query, places) for part, places in zip(parts, rows, strict=True)])[None],
        np.hstack([part.passage_ids[places] for part, places in zip(parts, rows, strict=True)])[None],
        np.hstack([part.document_ids[places] for part, places in zip(parts, rows, strict=True)])[None],
        None,
    )


def _collapse(found: _Candidates, row: int, k: int) -> tuple[list[IndexHit], bool]:
    """The k best documents among the candidates of one query, and whether no other could belong there."""
    if found.is_falling and (hits := _plain(found, row)):
        return hits[:k], len(hits) > k or found.bound is None
    return _collapsed(found, row, k)


def _plain(found: _Candidates, row: int) -> list[IndexHit]:
    """All candidates of one query, if no score and no document is there twice; else none."""
    scores, documents = found.scores[row].tolist(), found.document_ids[row].tolist()
    if not len(set(scores)) == len(set(documents)) == len(scores):
        return []
    return list(map(IndexHit, documents, found.passage_ids[row].tolist(), scores))


def _collapsed(found: _Candidates, row: int, k: int) -> tuple[list[IndexHit], bool]:
    """As `_collapse`, of candidates in any order: those of equal score by passage id."""
    hits: list[IndexHit] = []
    seen: set[int] = set()
    bound = -math.inf if found.bound is None else float(found.bound[row])
    for negated, passage, document in _ordered(found, row):
        if document in seen:
            continue
        seen.add(document)
        hits.append(IndexHit(document, passage, -negated))
        if len(hits) == k:
            return hits, -negated > bound
    return hits, found.bound is None


def _ordered(found: _Candidates, row: int) -> Iterable[tuple[float, int, int]]:
    """Negated score, passage and document of the candidates of one query, best first."""
    negated, passages, documents = -found.scores[row], found.passage_ids[row], found.document_ids[row]
    if len(negated) <= FEW:
        return sorted(zip(negated.tolist(), passages.tolist(), documents.tolist(), strict=True))
    return _sorted_in_parts(negated, passages, documents)


def _sorted_in_parts(negated: Float32, passages: Int64, documents: Int64) -> Iterator[tuple[float, int, int]]:
    """Sorted all at once, made into Python numbers only as far as they are wanted."""
    order = np.lexsort((passages, negated))
    for start in range(0, len(order), READ_ROWS):
        part = order[start : start + READ_ROWS]
        yield from zip(negated[part].tolist(), passages[part].tolist(), documents[part].tolist(), strict=True)
