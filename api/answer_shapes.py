"""What answers hold, for the OpenAPI document alone: they are written as plain dicts, unchecked."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

from pydantic import BaseModel, Field

from core.job_types import JobState
from core.types import DocumentState


class Shape(BaseModel):
    """An optional field is left out where it says nothing; one that may be null is always there."""


class EncoderShape(Shape):
    id: str
    fingerprint: str
    dim: int


class CountsShape(Shape):
    """total = searchable + pending + failed."""

    total: int
    searchable: int
    pending: int
    failed: int


class ChunkingShape(Shape):
    max_tokens: int
    overlap_tokens: int


class BeyondLimitsShape(Shape):
    documents: int
    max_fields: int
    max_name_bytes: int


class IndexShape(Shape):
    kind: str
    bytes: int
    recall_at_10: float | None
    effort: float
    is_below_recall_target: bool
    built: float | None = Field(description="Share, while it is being built.")
    applied_seq: int
    seq: int


class CollectionAnswer(Shape):
    name: str
    description: str
    encoder: EncoderShape
    language: str
    chunking: ChunkingShape
    attributes: dict[str, str]
    fields: dict[str, str]
    unindexed: dict[str, int]
    fields_beyond_limits: BeyondLimitsShape
    search: dict[str, Any]
    documents: CountsShape
    updates_pending: int
    passages: int
    index: IndexShape
    created_at: datetime


class CollectionsAnswer(Shape):
    collections: list[CollectionAnswer]


class DocumentAnswer(Shape):
    id: str
    title: str
    text: str
    metadata: dict[str, Any]
    state: DocumentState
    update_pending: bool
    reason: str | None
    seq: int
    job: str | None
    updated_at: datetime


class DocumentsAnswer(Shape):
    documents: list[DocumentAnswer]
    next: str | None


class DeletedAnswer(Shape):
    deleted: int
    seq: int


class JobErrorShape(Shape):
    id: str | None = Field(description="Of the document; null where that is what is wrong.")
    reason: str


class JobAnswer(Shape):
    """total = done + failed + still to do."""

    id: str
    kind: str
    collection: str
    state: JobState
    total: int
    done: int
    failed: int
    rate_per_s: float | None
    eta_s: float | None
    seq: int
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    fields: dict[str, Any] | None
    backup: str = ""
    classifier: str = ""
    errors: list[JobErrorShape]


class AcceptedAnswer(Shape):
    job: JobAnswer


# For the routes that answer with a job.
ACCEPTED: Final[dict[int | str, dict[str, Any]]] = {202: {"model": AcceptedAnswer}}


class JobsAnswer(Shape):
    jobs: list[JobAnswer]


class SpanShape(Shape):
    start: int
    end: int


class PassageShape(SpanShape):
    text: str


class ScoreShape(Shape):
    score: float
    rank: int


class ScoresShape(Shape):
    dense: ScoreShape | None = None
    lexical: ScoreShape | None = None
    rerank: ScoreShape | None = None


class WordingScoreShape(ScoreShape):
    wording: int


class ContributionShape(SpanShape):
    text: str
    field: str
    contribution: float


class ExplanationShape(Shape):
    """Each list adds up to the score."""

    score: float
    tokens: list[ContributionShape]
    words: list[ContributionShape]
    sentences: list[ContributionShape]
    query_tokens: list[ContributionShape]
    sentence: ContributionShape | None
    truncated: bool


class HitShape(Shape):
    id: str
    score: float
    title: str
    passage: PassageShape
    metadata: dict[str, Any]
    highlights: list[SpanShape]
    scores: ScoresShape
    by_wording: list[WordingScoreShape] = []
    explanation: ExplanationShape | None = None


class TookShape(Shape):
    """Milliseconds."""

    encode: float
    search: float
    fetch: float
    total: float


class FacetValueShape(Shape):
    value: str | bool | int | float
    count: int


class FacetShape(Shape):
    values: list[FacetValueShape]
    distinct: int
    min: int | float | None = None
    max: int | float | None = None


class WordingShape(Shape):
    text: str
    task: str | None


class SearchAnswer(Shape):
    hits: list[HitShape]
    took_ms: TookShape
    seq: int
    mode: str
    truncated: bool
    rewrites: list[WordingShape] = []
    rewrite_problem: str = ""
    facets: dict[str, FacetShape] = {}


class SearchBatchAnswer(Shape):
    results: list[SearchAnswer]
