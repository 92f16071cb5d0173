"""What can be asked of a search, and its limits."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from core.documents import check_text
from core.errors import InvalidInput
from core.filters import Filter
from core.fusion import Fusion


class Mode(StrEnum):
    """By what documents are ranked: vectors, words (BM25), or both."""

    HYBRID = "hybrid"
    DENSE = "dense"
    LEXICAL = "lexical"


MODES = tuple(mode.value for mode in Mode)


@dataclass(frozen=True, slots=True)
class SearchLimits:
    max_k: int = 1000
    max_window: int = 10_000
    max_explained: int = 100
    max_reranked: int = 50
    max_rewritten: int = 100
    max_diversified: int = 100
    max_query_bytes: int = 32_768
    max_queries: int = 16
    max_weight: float = 100.0
    max_like: int = 100
    max_facets: int = 32
    max_searches: int = 256
    max_batch_hits: int = 25_600
    min_seq_timeout_s: float = 5.0


@dataclass(frozen=True, slots=True)
class WeightedQuery:
    """One of several texts of a search; a negative weight pushes away from it."""

    text: str
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class SearchRequest:
    """Exactly one of `query`, `queries` and `like` says what is looked for.

    None for `mode`, `fusion`, `rerank` and `rewrite` leaves the choice to the collection. `diversity` is 0 to
    1, the weight of being unlike the hits before (0 = relevance alone).
    """

    query: str | None = None
    k: int = 10
    offset: int = 0
    mode: str | None = None
    highlight: bool = True
    min_seq: int | None = None
    explain: bool = False
    queries: tuple[WeightedQuery, ...] = ()
    like: tuple[str, ...] = ()
    filter: Filter | None = None
    facets: tuple[str, ...] = ()
    fusion: Fusion | None = None
    rerank: bool | None = None
    rewrite: bool | None = None
    score_threshold: float | None = None
    diversity: float = 0.0

    @property
    def texts(self) -> tuple[WeightedQuery, ...]:
        """The texts looked for with their weights; none for `like`."""
        return self.queries if self.query is None else (WeightedQuery(self.query),)

    @property
    def words(self) -> str:
        """The texts that hits should be near to, as one."""
        return " ".join(one.text for one in self.texts if one.weight > 0)


def check_request(request: SearchRequest, limits: SearchLimits) -> None:
    """Raises InvalidInput that says what was found and what is allowed."""
    _check_page(request, limits)
    _check_subject(request, limits)
    _check_options(request, limits)


def check_batch(requests: Sequence[SearchRequest], limits: SearchLimits) -> None:
    """Raises InvalidInput when the searches of one call ask for too many hits together."""
    # What is out of its own bounds is refused by check_request, which names the search.
    hits = sum(min(max(0, request.k), limits.max_k) for request in requests)
    if hits > limits.max_batch_hits:
        raise InvalidInput(
            f"The k of the {len(requests)} searches add up to {hits:,}; the limit is"
            f" {limits.max_batch_hits:,}. Send them in several calls."
        )


def _check_page(request: SearchRequest, limits: SearchLimits) -> None:
    if not 1 <= request.k <= limits.max_k:
        raise InvalidInput(f"k is {request.k}; it must be 1 to {limits.max_k}.")
    if request.explain and request.k > limits.max_explained:
        raise InvalidInput(f"k is {request.k}; with explain it must be 1 to {limits.max_explained}.")
    if request.offset < 0 or request.offset + request.k > limits.max_window:
        raise InvalidInput(
            f"offset is {request.offset}; it must be 0 or more, and offset + k at most {limits.max_window}."
        )
    for name, is_on, most in (
        ("rerank", request.rerank, limits.max_reranked),
        ("rewrite", request.rewrite, limits.max_rewritten),
        ("diversity", request.diversity, limits.max_diversified),
    ):
        if is_on and request.offset + request.k > most:
            raise InvalidInput(
                f"offset + k is {request.offset + request.k}; with {name} it must be at most {most}."
            )


def _check_subject(request: SearchRequest, limits: SearchLimits) -> None:
    given = [
        name
        for name, is_given in (
            ("query", request.query is not None),
            ("queries", request.queries),
            ("like", request.like),
        )
        if is_given
    ]
    if len(given) != 1:
        found = " and ".join(map(repr, given)) or "none of them"
        raise InvalidInput(f"A search has exactly one of 'query', 'queries' and 'like'; found {found}.")
    if len(request.queries) > limits.max_queries:
        raise InvalidInput(f"'queries' has {len(request.queries)} items; the limit is {limits.max_queries}.")
    if len(request.like) > limits.max_like:
        raise InvalidInput(f"'like' has {len(request.like)} ids; the limit is {limits.max_like}.")
    for i, one in enumerate(request.texts):
        place = "query" if request.query is not None else f"queries[{i}].text"
        _check_text(one.text, place, limits)
        if not (math.isfinite(one.weight) and 0 < abs(one.weight) <= limits.max_weight):
            raise InvalidInput(
                f"queries[{i}].weight is {one.weight}; it must not be 0, and be at most"
                f" {limits.max_weight:g} either way."
            )
    if request.queries and all(one.weight < 0 for one in request.queries):
        raise InvalidInput("All weights of 'queries' are negative; at least one must be positive.")
    for name in request.like:
        check_text(name, "an id in 'like'")


def _check_text(text: str, place: str, limits: SearchLimits) -> None:
    size = len(check_text(text, f"'{place}'"))
    if not text.strip():
        raise InvalidInput(f"'{place}' is empty; say what to search for.")
    if size > limits.max_query_bytes:
        raise InvalidInput(f"'{place}' has {size:,} bytes; the limit is {limits.max_query_bytes:,}.")


def _check_options(request: SearchRequest, limits: SearchLimits) -> None:
    if request.mode is not None and request.mode not in MODES:
        raise InvalidInput(f"mode {request.mode!r} is not known; use {', '.join(MODES)}.")
    if request.like and request.mode not in (None, Mode.DENSE):
        raise InvalidInput(f"'like' compares vectors, so mode must be dense, not {request.mode}.")
    if request.rewrite and request.diversity:
        raise InvalidInput("rewrite and diversity do not go together; leave one of them out.")
    for name, is_on in (
        ("explain", request.explain),
        ("rerank", request.rerank),
        ("rewrite", request.rewrite),
    ):
        if is_on and request.query is None:
            raise InvalidInput(f"{name} needs a 'query'; 'queries' and 'like' have no single text.")
    if len(request.facets) > limits.max_facets:
        raise InvalidInput(f"'facets' has {len(request.facets)} fields; the limit is {limits.max_facets}.")
    if not 0 <= request.diversity <= 1:
        raise InvalidInput(f"diversity is {request.diversity}; it must be 0 to 1.")
    if request.score_threshold is not None and not math.isfinite(request.score_threshold):
        raise InvalidInput(f"score_threshold is {request.score_threshold}; it must be a finite number.")
