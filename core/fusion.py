"""Fusion: one ranking made of what the dense and the lexical index found for a query."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Literal

from core.errors import InvalidInput
from core.types import IndexHit

Method = Literal["convex", "rrf"]
Score = Callable[["Component | None", "Component | None"], float]
METHODS: tuple[Method, ...] = ("convex", "rrf")
DENSE_WEIGHT = 0.7
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
    score that this one gives them; a document left out of both has the score 0. `perfect` is the score that
    counts as 1: 1 for cosines, for BM25 that of a passage with all words of the query as often as one likes.
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

    The same number for all pages within the first `WINDOW` hits, so that their candidates are the same.
    """
    return max(WINDOW, wanted)


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
    learning methods", eta = 60), the sum over the indexes that rank the document:

        score = sum 1 / (60 + rank)
    """
    of_dense, of_lexical = _components(dense), _components(lexical)
    passages = {
        hit.document_id: hit.passage_id
        for found in (lexical, dense)  # the dense passage goes before the lexical one
        for hit in (*found.ranked, *found.scored)
    }
    score = _reciprocal if fusion.method == "rrf" else _convex(dense, lexical, fusion.dense_weight)
    ranked = {hit.document_id for found in (dense, lexical) for hit in found.ranked}
    hits = [
        FusedHit(document, passages[document], score(one, other), one, other)
        for document in ranked
        for one, other in [(of_dense.get(document), of_lexical.get(document))]
    ]
    return sorted(hits, key=lambda hit: (-hit.score, hit.document_id))


def _components(found: Found) -> dict[int, Component]:
    ranked = {hit.document_id: Component(hit.score, rank) for rank, hit in enumerate(found.ranked, start=1)}
    return {hit.document_id: Component(hit.score, None) for hit in found.scored} | ranked


def _convex(dense: Found, lexical: Found, weight: float) -> Score:
    def score(of_dense: Component | None, of_lexical: Component | None) -> float:
        return weight * _share(of_dense, dense) + (1 - weight) * _share(of_lexical, lexical)

    return score


def _share(component: Component | None, found: Found) -> float:
    """A score as a share of the perfect one; 0 where there is none, as for a query without words."""
    return component.score / found.perfect if component and found.perfect > 0 else 0.0


def _reciprocal(*components: Component | None) -> float:
    return sum(1 / (RRF_K + one.rank) for one in components if one and one.rank is not None)
