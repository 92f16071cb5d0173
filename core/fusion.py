"""Fusion: one ranking made of what the dense and the lexical index found for a query."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from math import isfinite
from typing import Literal

from core.errors import InvalidInput
from core.index_types import IndexHit

Method = Literal["convex", "rrf"]
METHODS: tuple[Method, ...] = ("convex", "rrf")
DENSE_WEIGHT = 0.8
RRF_K = 60
WINDOW = 50


@dataclass(frozen=True, slots=True)
class Fusion:
    """How to fuse. `dense_weight`, 0 to 1, is the share of the dense side in `convex`; `rrf` has no weight.

    Raises InvalidInput for an unknown method and for a weight outside 0 to 1.
    """

    method: Method = "convex"
    dense_weight: float = DENSE_WEIGHT

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise InvalidInput(f"fusion method {self.method!r} is unknown; use {' or '.join(METHODS)}.")
        if not isfinite(self.dense_weight) or not 0 <= self.dense_weight <= 1:
            raise InvalidInput(f"dense_weight is {self.dense_weight}; it must be 0 to 1.")


@dataclass(frozen=True, slots=True)
class Found:
    """What one index tells of a query: one hit a document in both lists, no document in both.

    `ranked` are its best hits, best first. `scored` are documents that only the other index ranked, with the
    score that this one gives them; a document left out of both has the score 0.

    `perfect` is the score that counts as 1: 1 for cosines and for shares of a query, for BM25 the score of a
    passage that holds all words of the query as often as one likes.
    """

    ranked: Sequence[IndexHit]
    scored: Sequence[IndexHit] = ()
    perfect: float = 1.0


@dataclass(frozen=True, slots=True)
class Component:
    """A document's score in one index, and its rank from 1; None when it was scored but not ranked there."""

    score: float
    rank: int | None


@dataclass(frozen=True, slots=True)
class FusedHit:
    """One document by its best dense passage, or else its best lexical one; `score` is the fused score."""

    document_id: int
    passage_id: int
    score: float
    dense: Component | None
    lexical: Component | None


def window(wanted: int) -> int:
    """How many hits of each index to fuse when the best `wanted` (offset + k) fused ones are to be shown.

    `WINDOW`, doubled until it is twice `wanted` or more.
    """
    depth = WINDOW
    while depth < 2 * wanted:
        depth *= 2
    return depth


def missing(hits: Sequence[IndexHit], others: Sequence[IndexHit]) -> list[int]:
    """Documents of `others` that `hits` do not hold, in their order: those to be scored."""
    known = {hit.document_id for hit in hits}
    return [hit.document_id for hit in others if hit.document_id not in known]


def fuse(dense: Found, lexical: Found, fusion: Fusion, limit: int | None = None) -> list[FusedHit]:
    """All documents ranked by either index, best first, or the first `limit`; equal scores by document id.

    `convex` (Bruch, Gai, Ingber 2023, "An analysis of fusion functions for hybrid retrieval", section 3) with
    the theoretical instead of the observed maximum, so that a score depends on the query and its document
    alone, never on the other candidates:

        score = w * dense / dense.perfect + (1 - w) * lexical / lexical.perfect

    `rrf` (Cormack, Clarke, Buettcher 2009, "Reciprocal rank fusion outperforms Condorcet and individual rank
    learning methods", k = 60), the sum over the indexes that rank the document:

        score = sum 1 / (60 + rank)

    Longer lists only add to the end: the first half of a window's documents is settled by the hits within
    that window (100, 200, 400, ... of each index), the next documents by those of the next. So pages continue
    one another, whatever window each was made with, and scores fall within each half.
    """
    sides = _Side.of(dense), _Side.of(lexical)
    settled: dict[int, tuple[float, int]] = {}
    longest = max(len(dense.ranked), len(lexical.ranked))
    for depth in _depths(longest):
        for negated, document in _within(sides, depth, fusion):
            if len(settled) >= depth // 2 and depth < longest:
                break
            settled.setdefault(document, (-negated, depth))
    return [_hit(document, *found, *sides) for document, found in islice(settled.items(), limit)]


@dataclass(frozen=True, slots=True)
class _Side:
    """What one index tells, by document."""

    scores: Mapping[int, float]
    ranks: Mapping[int, int]
    passages: Mapping[int, int]
    perfect: float

    @classmethod
    def of(cls, found: Found) -> _Side:
        every = (*found.scored, *found.ranked)
        return cls(
            {hit.document_id: hit.score for hit in every},
            {hit.document_id: rank for rank, hit in enumerate(found.ranked, start=1)},
            {hit.document_id: hit.passage_id for hit in every},
            found.perfect,
        )

    def component(self, document: int, depth: int) -> Component | None:
        """Its score, and its rank if that is within `depth`."""
        if document not in self.scores:
            return None
        rank = self.ranks.get(document)
        return Component(self.scores[document], rank if rank is not None and rank <= depth else None)


def _hit(document: int, score: float, depth: int, dense: _Side, lexical: _Side) -> FusedHit:
    """By the dense passage if there is one."""
    passage = dense.passages.get(document, lexical.passages.get(document, -1))
    return FusedHit(
        document, passage, score, dense.component(document, depth), lexical.component(document, depth)
    )


def _depths(longest: int) -> Iterator[int]:
    """Windows up to the first that holds `longest` hits."""
    depth = WINDOW
    while depth < longest:
        yield depth
        depth *= 2
    yield depth


def _within(sides: tuple[_Side, _Side], depth: int, fusion: Fusion) -> list[tuple[float, int]]:
    """Negated fused score and document of all that one side ranks within `depth`, in order."""
    ranked = {document for side in sides for document, rank in side.ranks.items() if rank <= depth}
    if fusion.method == "rrf":
        return sorted((-_reciprocal(document, sides, depth), document) for document in ranked)
    weights = fusion.dense_weight, 1 - fusion.dense_weight
    # A perfect score of 0 is that of a query without words: it has no share in the fused score.
    one, other = (
        w / side.perfect if side.perfect > 0 else 0.0 for w, side in zip(weights, sides, strict=True)
    )
    of_dense, of_lexical = (side.scores for side in sides)
    return sorted(
        (-(one * of_dense.get(document, 0.0) + other * of_lexical.get(document, 0.0)), document)
        for document in ranked
    )


def _reciprocal(document: int, sides: tuple[_Side, _Side], depth: int) -> float:
    ranks = (side.ranks.get(document) for side in sides)
    return sum(1 / (RRF_K + rank) for rank in ranks if rank is not None and rank <= depth)
