"""What dense and lexical search find for judged queries, before the two lists are fused."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from core.fusion import WINDOW, Found
from core.judged_search import JudgedSearch, JudgedSet
from core.search import SearchResult
from core.types import IndexHit


@dataclass(frozen=True, slots=True)
class Candidates:
    """What both indexes tell of one query, and the external ids of all documents in it."""

    dense: Found
    lexical: Found
    external_ids: Mapping[int, str]


class CandidateSource(Protocol):
    def candidates(self, judged: JudgedSet) -> list[Candidates]:
        """Those of each query, in their order."""
        ...


@dataclass(frozen=True, slots=True)
class SearchedCandidates:
    """Implements CandidateSource: each query is searched twice, in mode dense and in mode lexical.

    The numbers of documents are of one query alone. A document that only one mode finds counts 0 in the
    other, and the best score that lexical search gives a query is taken as its perfect one.
    """

    judged_search: JudgedSearch

    def candidates(self, judged: JudgedSet) -> list[Candidates]:
        """Those of each query, in their order."""
        dense = self.judged_search.results(judged, "dense", WINDOW)
        lexical = self.judged_search.results(judged, "lexical", WINDOW)
        return [_candidates(*pair) for pair in zip(dense, lexical, strict=True)]


def _candidates(dense: SearchResult, lexical: SearchResult) -> Candidates:
    numbers: dict[str, int] = {}
    of_dense, of_lexical = _hits(dense, numbers), _hits(lexical, numbers)
    return Candidates(
        Found(of_dense),
        Found(of_lexical, perfect=of_lexical[0].score if of_lexical else 0.0),
        {number: external_id for external_id, number in numbers.items()},
    )


def _hits(result: SearchResult, numbers: dict[str, int]) -> tuple[IndexHit, ...]:
    """The hits by numbers of documents, which are given out to new ones."""
    return tuple(
        IndexHit(numbers.setdefault(hit.passage.external_id, len(numbers)), hit.passage.passage_id, hit.score)
        for hit in result.hits
    )
