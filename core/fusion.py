"""Fusion: one ranking made of what the dense and the lexical index found for a query."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import isfinite
from typing import Literal

from core.errors import InvalidInput
from core.types import IndexHit

Method = Literal["convex", "rrf"]
Score = Callable[[int], float]  # of a document
METHODS: tuple[Method, ...] = ("convex", "rrf")
DENSE_WEIGHT = 0.8
RRF_K = 60
WINDOW = 100


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

    def until(self, depth: int) -> Found:
        """The same with only the best `depth` hits ranked, and the others scored."""
        return replace(self, ranked=self.ranked[:depth], scored=(*self.scored, *self.ranked[depth:]))


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


def fuse(dense: Found, lexical: Found, fusion: Fusion) -> list[FusedHit]:
    """All documents ranked by either index, best first; equal scores by document id.

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
    settled: dict[int, FusedHit] = {}
    longest = max(len(dense.ranked), len(lexical.ranked))
    for depth in _depths(longest):
        for hit in _fuse_within(dense.until(depth), lexical.until(depth), fusion):
            if len(settled) >= depth // 2 and depth < longest:
                break
            settled.setdefault(hit.document_id, hit)
    return list(settled.values())


def _depths(longest: int) -> Iterator[int]:
    """Windows up to the first that holds `longest` hits."""
    depth = WINDOW
    while depth < longest:
        yield depth
        depth *= 2
    yield depth


def _fuse_within(dense: Found, lexical: Found, fusion: Fusion) -> list[FusedHit]:
    of_dense, of_lexical = _components(dense), _components(lexical)
    passages = {
        hit.document_id: hit.passage_id
        for found in (lexical, dense)  # the dense passage goes before the lexical one
        for hit in (*found.scored, *found.ranked)
    }
    score = _reciprocal(of_dense, of_lexical) if fusion.method == "rrf" else _convex(dense, lexical, fusion)
    ranked = {hit.document_id for found in (dense, lexical) for hit in found.ranked}
    scores = {document: score(document) for document in ranked}
    return [
        FusedHit(
            document, passages[document], scores[document], of_dense.get(document), of_lexical.get(document)
        )
        for document in sorted(ranked, key=lambda document: (-scores[document], document))
    ]


def _components(found: Found) -> dict[int, Component]:
    ranked = {hit.document_id: Component(hit.score, rank) for rank, hit in enumerate(found.ranked, start=1)}
    return {hit.document_id: Component(hit.score, None) for hit in found.scored} | ranked


def _convex(dense: Found, lexical: Found, fusion: Fusion) -> Score:
    of_dense, of_lexical, weight = _shares(dense), _shares(lexical), fusion.dense_weight
    return lambda document: (
        weight * of_dense.get(document, 0.0) + (1 - weight) * of_lexical.get(document, 0.0)
    )


def _shares(found: Found) -> dict[int, float]:
    """Scores by document as shares of the perfect one; none where there is none: a query without words."""
    if found.perfect <= 0:
        return {}
    return {hit.document_id: hit.score / found.perfect for hit in (*found.scored, *found.ranked)}


def _reciprocal(*components: Mapping[int, Component]) -> Score:
    def score(document: int) -> float:
        found = (of.get(document) for of in components)
        return sum(1 / (RRF_K + one.rank) for one in found if one and one.rank is not None)

    return score
