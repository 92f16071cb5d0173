"""An immutable view of one collection's vectors: main + delta, without the rows that are dead."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from core.errors import EncoderMismatch, InvalidInput
from core.types import Float32, IndexHit, Int64
from indexer.exact import Alive

MIN_FETCH = 16
# From here on one exact pass over all rows is cheaper than fetching ever more candidates.
SCAN_FETCH = 1_024
READ_ROWS = 4_096


class Rows(Protocol):
    """Rows of one part of a view: m vectors with the passage and the document of each."""

    @property
    def passage_ids(self) -> Int64: ...

    @property
    def document_ids(self) -> Int64: ...

    def search(self, xq: Float32, fetch: int, alive: Alive) -> tuple[Float32, Int64]:
        """Scores and rows, both (n, fetch), best first; missing places have row -1."""
        ...

    def score_all(self, query: Float32) -> Float32: ...


@dataclass(frozen=True, slots=True)
class Segment:
    """One part of a view, and which of its rows live."""

    rows: Rows
    alive: Alive


@dataclass(frozen=True, slots=True)
class _Candidates:
    """Found passages of n queries, each (n, f); dead places have document -1.

    No passage left out scores above `bound` (n,): -inf when all were found, +inf when that is not known.
    """

    scores: Float32
    passage_ids: Int64
    document_ids: Int64
    bound: Float32


class View:
    """Implements `core.ports.IndexView`. Safe to search from any number of threads at once.

    Exact when the main part is; documents of equal score are ordered by passage id.
    """

    def __init__(self, seq: int, d: int, segments: tuple[Segment, ...]) -> None:
        self._seq = seq
        self._d = d
        self._segments = tuple(segment for segment in segments if segment.alive.count)

    @property
    def seq(self) -> int:
        return self._seq

    @property
    def passages(self) -> int:
        """Living passages."""
        return sum(segment.alive.count for segment in self._segments)

    def search(self, xq: Float32, k: int) -> list[list[IndexHit]]:
        """For each row of `xq` (n, d): at most k documents, best first, each with its best passage.

        Candidates are fetched until k documents are certain; fewer come back only if the view holds fewer.
        Raises EncoderMismatch for another d, InvalidInput for k < 1 or numbers that are not finite.
        """
        xq = self._checked(xq, k)
        hits: list[list[IndexHit]] = [[] for _ in xq]
        pending = list(range(len(xq))) if self._segments else []
        fetch = max(2 * k, MIN_FETCH)
        while pending and fetch <= max(4 * k, SCAN_FETCH):
            found = self._candidates(xq[pending], min(fetch, self.passages))
            unsure = []
            for row, query in enumerate(pending):
                hits[query], is_sure = _collapse(found, row, k)
                if not is_sure:
                    unsure.append(query)
            pending, fetch = unsure, 2 * fetch
        for query in pending:
            hits[query], _ = _collapse(self._all(xq[query]), 0, k)
        return hits

    def _checked(self, xq: Float32, k: int) -> Float32:
        if k < 1:
            raise InvalidInput(f"k is {k}; it must be at least 1")
        xq = np.ascontiguousarray(xq, dtype=np.float32)
        if xq.ndim != 2 or xq.shape[1] != self._d:
            raise EncoderMismatch(
                f"Query vectors have shape {xq.shape}, but this index holds vectors of d={self._d}; "
                "encode the query with the collection's encoder"
            )
        if not np.isfinite(xq).all():
            raise InvalidInput("A query vector holds NaN or infinity; every number must be finite")
        return xq

    def _candidates(self, xq: Float32, fetch: int) -> _Candidates:
        parts = [_search_segment(segment, xq, fetch) for segment in self._segments]
        if len(parts) == 1:
            return parts[0]
        return _Candidates(
            np.hstack([part.scores for part in parts]),
            np.hstack([part.passage_ids for part in parts]),
            np.hstack([part.document_ids for part in parts]),
            np.max([part.bound for part in parts], axis=0),
        )

    def _all(self, query: Float32) -> _Candidates:
        """Every living passage, scored exactly, for one query (d,)."""
        masks = [segment.alive.mask for segment in self._segments]
        rows = [segment.rows for segment in self._segments]
        return _Candidates(
            np.hstack([part.score_all(query)[m] for part, m in zip(rows, masks, strict=True)])[None],
            np.hstack([part.passage_ids[m] for part, m in zip(rows, masks, strict=True)])[None],
            np.hstack([part.document_ids[m] for part, m in zip(rows, masks, strict=True)])[None],
            np.full(1, -np.inf, dtype=np.float32),
        )


def _search_segment(segment: Segment, xq: Float32, fetch: int) -> _Candidates:
    fetch = min(fetch, segment.alive.count)
    scores, rows = segment.rows.search(xq, fetch, segment.alive)
    bound = np.full(len(xq), -np.inf, dtype=np.float32)
    if fetch < segment.alive.count:
        bound[:] = scores[:, -1]
    missing = rows < 0
    if missing.any():
        bound[missing.any(axis=1)] = np.inf
        documents = np.where(missing, -1, segment.rows.document_ids[rows])
    else:
        documents = segment.rows.document_ids[rows]
    return _Candidates(scores, segment.rows.passage_ids[rows], documents, bound)


def _collapse(found: _Candidates, row: int, k: int) -> tuple[list[IndexHit], bool]:
    """The k best documents among the candidates of one query, and whether no other could belong there."""
    hits: list[IndexHit] = []
    seen: set[int] = set()
    bound = float(found.bound[row])
    for score, passage, document in _ordered(found, row):
        if document in seen or document < 0:
            continue
        seen.add(document)
        hits.append(IndexHit(document, passage, score))
        if len(hits) == k:
            return hits, score > bound
    return hits, bound == -np.inf


def _ordered(found: _Candidates, row: int) -> Iterator[tuple[float, int, int]]:
    scores, passages, documents = found.scores[row], found.passage_ids[row], found.document_ids[row]
    order = np.lexsort((passages, -scores))
    for start in range(0, len(order), READ_ROWS):
        part = order[start : start + READ_ROWS]
        yield from zip(scores[part].tolist(), passages[part].tolist(), documents[part].tolist(), strict=True)
