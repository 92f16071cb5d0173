"""Queries with the documents that are right for them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class JudgedQuery:
    """A query and the documents judged for it: external id -> relevance, where 0 is judged not relevant."""

    text: str
    relevance: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class JudgementCounts:
    """What a collection's judgements hold.

    `measurable` queries have a relevant document that is searchable now; `not_found` of the judged
    documents are not searchable now, and `examples` names the first of them.
    """

    queries: int
    judgements: int
    measurable: int
    not_found: int
    examples: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class JudgedPage:
    """Judged queries in the order in which they were sent; `following` continues, None ends."""

    queries: tuple[JudgedQuery, ...]
    following: int | None
